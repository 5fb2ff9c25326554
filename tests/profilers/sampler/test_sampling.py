"""The parent's side: the sampler starts, is ready, stops, and says why where it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from doubles import plugin
from doubles.full_disk import room_for
from doubles.patience import wait_for

from ipw.errors import IpwError, UsageError
from ipw.profilers.sampler.handle import Sampler
from ipw.runs.readings import RECORD

Install = Callable[[str], None]
CONSTANT = "return Made([channel()], lambda index: timed(lambda: 5.0))"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Have a sensor called `made-up` whose `open_sensor` has this body."""

    def have(body: str) -> None:
        for variable, value in plugin.install(tmp_path / "site", body).items():
            monkeypatch.setenv(variable, value)

    return have


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    return run


def records(folder: Path) -> list[tuple[int, float, int, int, int]]:
    data = (folder / "power.bin").read_bytes()
    assert len(data) % RECORD.size == 0, "the file ends with a torn record"
    return list(RECORD.iter_unpack(data))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_it_reads_until_it_is_stopped_and_says_what_that_cost(install: Install, folder: Path) -> None:
    install(CONSTANT)
    before = time.monotonic_ns()
    sampler = Sampler.start(folder, "made-up")
    assert sampler.alive()
    (channel,) = sampler.channels
    assert (channel["name"], channel["index"], channel["status"]) == ("made-up/one", 0, "ok")
    assert records(folder)[0][1:4] == (5.0, 0, 0), "every channel has a reading when it is ready"
    wait_for(lambda: len(records(folder)) > 10)
    asked = time.monotonic_ns()
    stats = sampler.stop()
    after = time.monotonic_ns()
    times = [t for t, *_ in records(folder)]
    assert before <= times[0]
    assert times[-1] >= asked
    assert stats["reads"] == stats["records"] == len(times)
    assert 0 < stats["cpu_s"] <= stats["wall_s"] <= (after - before) / 1e9
    assert stats["startup_cpu_s"] > 0
    assert stats["failures"] == []
    assert "died" not in stats
    assert not sampler.alive()
    assert sampler.stop() == stats
    assert [path.name for path in folder.iterdir()] == ["power.bin"]


def test_channels_that_cannot_be_read_are_told_and_have_no_index(install: Install, folder: Path) -> None:
    install("""
        shut = channel("made-up/shut", status="permission", reason="root only", hint="chmod")
        return Made([shut, channel()], lambda index: timed(lambda: 1.0))
    """)
    sampler = Sampler.start(folder, "made-up")
    sampler.stop()
    shut, good = sampler.channels
    assert (shut["status"], shut["reason"], shut["hint"]) == ("permission", "root only", "chmod")
    assert "index" not in shut
    assert good["index"] == 0


def test_a_sensor_that_nobody_knows_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(UsageError, match="unknown sensor: sundial") as raised:
        Sampler.start(folder, "sundial")
    assert "nvml" in str(raised.value.hint)


def test_a_sampler_that_cannot_write_says_so(install: Install, tmp_path: Path) -> None:
    install(CONSTANT)
    (tmp_path / "run" / "power.bin").mkdir(parents=True)
    with pytest.raises(IpwError, match=r"cannot write .*power\.bin"):
        Sampler.start(tmp_path / "run", "made-up")


def test_a_sampler_that_dies_at_the_start_is_told_with_its_last_words(install: Install, folder: Path) -> None:
    install("""
        print("the driver is on fire", file=sys.stderr, flush=True)
        os._exit(9)
    """)
    with pytest.raises(IpwError, match="ended with code 9: the driver is on fire"):
        Sampler.start(folder, "made-up")
    assert (folder / "sampler.log").read_text() == "the driver is on fire\n"


def test_what_a_sensor_prints_does_not_get_between_the_lines(install: Install, folder: Path) -> None:
    install("""
        print("loading the driver", flush=True)
        os.system("echo done")
        return Made([channel()], lambda index: timed(lambda: 1.0))
    """)
    sampler = Sampler.start(folder, "made-up")
    assert "died" not in sampler.stop()
    assert (folder / "sampler.log").read_text() == "loading the driver\ndone\n"


def test_a_working_directory_full_of_traps_does_no_harm(
    install: Install, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(CONSTANT)
    for module in ("json", "signal", "select", "argparse"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('a trap')")
    monkeypatch.chdir(tmp_path)
    assert "died" not in Sampler.start(folder, "made-up").stop()


def test_a_killed_sampler_leaves_whole_records_and_its_parent_learns_of_it(install: Install, folder: Path) -> None:
    install("""
        many = [channel(f"made-up/{k}", poll_s=0.001) for k in range(50)]
        return Made(many, lambda index: timed(time.monotonic))
    """)
    sampler = Sampler.start(folder, "made-up")
    wait_for(lambda: (folder / "power.bin").stat().st_size > 100_000)
    os.kill(sampler.pid, signal.SIGKILL)
    wait_for(lambda: not sampler.alive())
    assert sampler.stop() == {"died": "it was killed by SIGKILL"}
    assert len(records(folder)) > 4_000


def test_it_ends_when_its_parent_is_killed_though_a_sister_holds_its_stdin(install: Install, folder: Path) -> None:
    install(CONSTANT)
    program = f"""
import os, pathlib, time
from ipw.profilers.sampler.handle import Sampler
sampler = Sampler.start(pathlib.Path({str(folder)!r}), "made-up")
sister = os.fork()
if sister:
    print(sampler.pid, sister, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        sampler, sister = map(int, parent.stdout.readline().split())
        parent.kill()
        parent.wait()
        wait_for(lambda: gone(sampler))
        os.kill(sister, signal.SIGKILL)
    assert records(folder)


def test_ctrl_c_in_the_terminal_does_not_reach_it(install: Install, folder: Path) -> None:
    install(CONSTANT)
    sampler = Sampler.start(folder, "made-up")
    assert os.getpgid(sampler.pid) != os.getpgid(0)
    assert "died" not in sampler.stop()


def test_sigterm_ends_it_in_good_order(install: Install, folder: Path) -> None:
    install(CONSTANT)
    sampler = Sampler.start(folder, "made-up")
    os.kill(sampler.pid, signal.SIGTERM)
    wait_for(lambda: not sampler.alive())
    stats = sampler.stop()
    assert stats["records"] == len(records(folder))
    assert "died" not in stats


def test_a_full_disk_ends_it_with_whole_records_and_the_reason(install: Install, folder: Path) -> None:
    install("return Made([channel(poll_s=0.001)], lambda index: timed(time.monotonic))")
    with room_for(20 * RECORD.size + 7):
        sampler = Sampler.start(folder, "made-up")
    wait_for(lambda: not sampler.alive())
    stats = sampler.stop()
    assert stats["died"] == f"cannot write {folder / 'power.bin'}: File too large"
    assert len(records(folder)) == stats["records"] == 20


def test_it_keeps_its_cadence_while_the_interpreter_of_its_parent_is_busy(install: Install, folder: Path) -> None:
    install(CONSTANT)
    sampler = Sampler.start(folder, "made-up")

    def busy_ns() -> tuple[int, int]:
        start = time.monotonic_ns()
        sum(range(20_000_000))  # one long call that never lets another thread run
        return start, time.monotonic_ns()

    calls: list[tuple[int, int]] = []

    def read_within_a_call() -> bool:
        calls.append(busy_ns())
        times = [t for t, *_ in records(folder)]
        return any(sum(start < t < end for t in times) >= 10 for start, end in calls)

    wait_for(read_within_a_call, "a call within which it read")
    sampler.stop()


def test_its_memory_does_not_grow_with_what_it_reads(install: Install, folder: Path) -> None:
    install("""
        def read(index):
            if int(time.monotonic() * 10) % 2:
                raise SensorError("lost", f"it comes and goes: {time.monotonic()}")
            return timed(time.monotonic)
        many = [channel(f"made-up/{k}", poll_s=0.002) for k in range(100)]
        return Made(many, lambda index: timed(time.monotonic) if index else read(index))
    """)

    def resident_kib() -> int:
        status = Path(f"/proc/{sampler.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def written_kib() -> float:
        return (folder / "power.bin").stat().st_size / 1024

    sampler = Sampler.start(folder, "made-up")
    wait_for(lambda: written_kib() > 600)
    before_kib, start_kib = resident_kib(), written_kib()
    wait_for(lambda: written_kib() > start_kib + 1200)
    grown_kib, more_kib = resident_kib() - before_kib, written_kib() - start_kib
    sampler.stop()
    assert grown_kib < 0.3 * more_kib


@pytest.mark.parametrize("told", ["", ", update_period_s=0.8"])
def test_a_counter_in_batches_is_read_until_its_batches_surround_the_run_told_or_not(
    install: Install, folder: Path, told: str
) -> None:
    install(f"""
        began = time.monotonic()
        batch = lambda: (time.monotonic() - began) // 0.8
        return Made([channel(poll_s=0.1{told})], lambda index: timed(lambda: 80.0 * batch()))
    """)
    sampler = Sampler.start(folder, "made-up")
    start_ns = time.monotonic_ns()
    time.sleep(0.1)
    end_ns = time.monotonic_ns()
    sampler.stop()
    mine = [(t_ns, value) for t_ns, value, index, _, _ in records(folder) if index == 0]
    changed = [after[0] for before, after in pairwise(mine) if after[1] != before[1]]
    assert max(changed) >= end_ns
    assert min(changed) <= start_ns
