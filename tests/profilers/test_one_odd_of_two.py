"""Of two devices one is odd at opening, in every way and with every sensor that may have two: one verdict for all."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from doubles import modules
from doubles.nvml import ANY, ENERGY, GPU_IS_LOST, HANDLE, NO_PERMISSION, FakeNvml
from doubles.powercap import Powercap

from ipw.profilers.base import SensorError
from ipw.profilers.discovery import choose_basis, close, find
from ipw.profilers.linux.sysfs_power import number
from ipw.profilers.losses import losses

STILL, LOST, CLOSED, NO_TEXT = "stands still", "is lost", "is closed", "has a name that is no UTF-8"
Machine = Callable[[Path, pytest.MonkeyPatch, str], set[str]]
"""Two devices, the second odd in this way; returns the channels that would be the basis if both were well."""


def nvml(folder: Path, patch: pytest.MonkeyPatch, odd: str) -> set[str]:
    fake = FakeNvml.create(folder / "nvml", 2)
    patch.setenv("IPW_FAKE_NVML", str(fake.folder))
    fake.preload()
    if odd == STILL:
        fake.gpu(1).gain = 0.0
    elif odd == LOST:
        fake.fail(1, HANDLE, GPU_IS_LOST)
    elif odd == CLOSED:
        for call in (ANY, ENERGY):
            fake.fail(1, call, NO_PERMISSION)
    else:
        fake.gpu(1).name = b"\xff\xfe"
    return {"nvml/gpu0", "nvml/gpu1"}


def amd(folder: Path, patch: pytest.MonkeyPatch, odd: str) -> set[str]:
    patch.syspath_prepend(str(modules.write(folder / "modules", "amdsmi")))
    smi: Any = import_module("amdsmi")
    counted, told = smi.amdsmi_get_energy_count, {"asic_serial": "0x1", "market_name": "AMD \udcff"}

    def count(handle: int) -> Any:
        if handle and odd in {LOST, CLOSED}:
            raise smi.AmdSmiLibraryException("AMDSMI_STATUS_NO_PERM" if odd == CLOSED else "AMDSMI_STATUS_DRM_ERROR")
        return {"energy_accumulator": 7, "counter_resolution": 15.3} if handle and odd == STILL else counted(handle)

    patch.setattr(smi, "amdsmi_get_energy_count", count)
    patch.setattr(smi, "amdsmi_get_power_info", lambda _: {})
    if odd == NO_TEXT:
        patch.setattr(smi, "amdsmi_get_gpu_asic_info", lambda handle: told if handle else {"market_name": "AMD"})
    return {"amd/gpu0", "amd/gpu1"}


def files_that_run(*paths: Path) -> Callable[[], None]:
    """Let counters rise until the function that is returned is called."""
    stop, start = threading.Event(), time.monotonic()
    files = [path.open("wb", buffering=0) for path in paths]

    def write() -> None:
        while not stop.wait(0.002):
            for file in files:  # of one length: never read half written
                os.pwrite(file.fileno(), b"%-19d\n" % (100e6 * (time.monotonic() - start) + 1), 0)

    for file in files:
        os.pwrite(file.fileno(), b"%-19d\n" % 1, 0)
    thread = threading.Thread(target=write, daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()
        for file in files:
            file.close()

    return end


ENDS: list[Callable[[], None]] = []


def oddly(file: Path, name: Path, odd: str, patch: pytest.MonkeyPatch) -> None:
    """Make a file of the second device odd."""
    if odd == LOST:
        file.unlink()
    elif odd == CLOSED:
        closed(file, patch)
    elif odd == NO_TEXT:
        name.write_bytes(name.read_bytes().strip() + b"\xff\n")


def closed(file: Path, patch: pytest.MonkeyPatch) -> None:
    """Let nobody read a file, also root."""
    opening, reading = os.open, Path.read_bytes

    def open_it(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path) == str(file):
            raise PermissionError(13, "Permission denied", str(path))
        return opening(path, *arguments, **more)

    def read_it(path: Path) -> bytes:
        if path == file:
            raise PermissionError(13, "Permission denied", str(path))
        return reading(path)

    patch.setattr(os, "open", open_it)
    patch.setattr(Path, "read_bytes", read_it)


def rapl(folder: Path, patch: pytest.MonkeyPatch, odd: str) -> set[str]:
    tree = Powercap(folder / "powercap")
    zones = [tree.zone(f"intel-rapl:{n}", f"package-{n}", energy_uj=n + 1) for n in (0, 1)]
    patch.setenv("IPW_POWERCAP", str(tree.root))
    running = zones[:1] if odd != NO_TEXT else zones
    oddly(zones[1] / "energy_uj", zones[1] / "device", odd if odd != NO_TEXT else "", patch)
    ENDS.append(files_that_run(*(zone / "energy_uj" for zone in running)))
    return {"rapl/package-0", "rapl/package-1"}


def intel(folder: Path, patch: pytest.MonkeyPatch, odd: str) -> set[str]:
    cards = [folder / f"hwmon/hwmon{n}" for n in (0, 1)]
    for card in cards:
        card.mkdir(parents=True)
        (card / "name").write_text("xe\n")
        (card / "energy1_label").write_text("card\n")
        (card / "energy1_input").write_text("1")
    patch.setenv("IPW_HWMON", str(folder / "hwmon"))
    ENDS.append(files_that_run(*(card / "energy1_input" for card in (cards if odd == NO_TEXT else cards[:1]))))
    oddly(cards[1] / "energy1_input", cards[1] / "energy1_label", odd, patch)
    return {"hwmon/xe-0", "hwmon/xe-1"}


def acpi(folder: Path, patch: pytest.MonkeyPatch, odd: str) -> set[str]:
    for n in (0, 1):
        device = folder / f"hwmon/hwmon{n}/device"
        device.mkdir(parents=True)
        (device.parent / "name").write_text("power_meter\n")
        (device / "power1_oem_info").write_text(f"Module Power Socket {n}\n")
        (device / "power1_average").write_text("0\n" if n and odd == STILL else "200000000\n")
    patch.setenv("IPW_HWMON", str(folder / "hwmon"))
    oddly(device / "power1_average", device / "power1_oem_info", odd, patch)
    second = "module-power-socket-1"
    return {"hwmon/module-power-socket-0", f"hwmon/{second}"}


MACHINES: dict[str, Machine] = {"nvml": nvml, "amd": amd, "rapl": rapl, "intel": intel, "acpi": acpi}
SENSOR = {"intel": "hwmon", "acpi": "hwmon"}
SUMMED = {"nvml": "warning", "amd": "warning", "intel": "warning", "rapl": "error", "acpi": "error"}
"""A GPU that does not answer does no work either; a package or a module of two does. One that answers may well work."""


@contextmanager
def ended() -> Iterator[None]:
    try:
        yield
    finally:
        while ENDS:
            ENDS.pop()()
        sys.modules.pop("amdsmi", None)


@pytest.mark.parametrize("odd", [STILL, LOST, CLOSED])
@pytest.mark.parametrize("name", MACHINES)
def test_the_odd_one_is_listed_with_its_reason_and_the_other_goes_on(
    name: str, odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ended():
        both = MACHINES[name](tmp_path, monkeypatch, odd)
        sensors = find(SENSOR.get(name, name))
        channels = [channel for sensor in sensors for channel in sensor.channels]
        close(sensors)
    first, second = sorted(both)
    assert choose_basis(channels).channels == {first}
    listed = [c for c in channels if c.name == second]
    assert listed or (odd == LOST and name == "intel"), "what is not there at all is not listed"
    assert all(c.status != "ok" and c.reason for c in listed)
    found = {loss.channel: loss.level for loss in losses(channels)}
    level = "error" if odd == STILL else SUMMED[name]
    assert found == ({second: level} if any(c.status != "absent" for c in listed) else {})


@pytest.mark.parametrize("name", MACHINES)
def test_a_name_that_is_no_utf_8_costs_nothing_else(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ended():
        both = MACHINES[name](tmp_path, monkeypatch, NO_TEXT)
        sensors = find(SENSOR.get(name, name))
        channels = [channel for sensor in sensors for channel in sensor.channels]
        close(sensors)
    assert {name.rstrip("-\ufffd") for name in choose_basis(channels).channels} == both
    assert all(ord(c) < 0xD800 or ord(c) > 0xDFFF for channel in channels for c in channel.device + channel.name)


def test_a_number_that_is_none_is_a_reading_that_failed(tmp_path: Path) -> None:
    for content in (b"", b"N/A\n", b"\xff\xfe", b"1 2"):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(SensorError), suppress(UnicodeDecodeError):
            number(tmp_path / "file")
