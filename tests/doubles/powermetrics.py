"""A stand-in for `powermetrics`, and for the `sudo` before it: programs on the PATH, as wayward as a test asks for.

Started as a program, this module is the stand-in: it streams property lists of constant power until it is ended.
"""

from __future__ import annotations

import json
import os
import plistlib
import stat
import sys
import time
from pathlib import Path
from typing import Any

WATTS = {"cpu": 2.0, "gpu": 5.0, "ane": 0.5}


def sample(shape: str, elapsed_ns: int, watts: dict[str, float] | None = None) -> dict[str, Any]:
    """One sample as macOS 13 on (`silicon`), macOS 12 (`monterey`) or an Intel Mac (`intel`) tell it.

    `combined` tells the power of the whole alone, `cpu` that of the CPU alone.
    """
    powers = {rail: power * 1e3 for rail, power in (watts or WATTS).items()}
    energies = {f"{rail}_energy": round(power * elapsed_ns / 1e9) for rail, power in powers.items()}
    common: dict[str, Any] = {"is_delta": True, "elapsed_ns": elapsed_ns, "hw_model": "Mac14,12"}
    if shape == "intel":
        return common | {"processor": {"package_watts": sum(powers.values()) / 1e3, "packages": []}}
    if shape == "monterey":
        whole = {"package_energy": sum(energies.values()) + 300, "dram_energy": 300}
        return common | {"processor": energies | whole}
    if shape == "combined":
        return common | {"processor": {"combined_power": sum(powers.values())}}
    if shape == "cpu":
        return common | {"processor": {"cpu_power": powers["cpu"]}}
    clusters = [{"name": "M0-Cluster", "freq_hz": 1.2e9}, {"name": "S-Cluster", "freq_hz": 3.6e9}]
    # Whole numbers are written as integers, others as reals.
    told = {f"{rail}_power": int(power) if power == int(power) else power for rail, power in powers.items()}
    processor = {"clusters": clusters, **energies, **told, "combined_power": sum(powers.values())}
    return common | {"processor": processor, "gpu": {"gpu_energy": energies["gpu_energy"] + 8}}


def document(shape: str, elapsed_ns: int, watts: dict[str, float] | None = None) -> bytes:
    """One sample as it is written: XML, ending in a newline."""
    return plistlib.dumps(sample(shape, elapsed_ns, watts))


def install(folder: Path, **behaviour: Any) -> Path:
    """Put `powermetrics` and `sudo` into a folder for the PATH.

    Behaviour: `shape`, `watts`, `interval_s` (instead of the one asked for), `unknown_sampler` (names), `sudo` (`free`
    or `password`), and, after so many samples: `dies_after`, `truncates_after`, `stalls_after`, `garbles_after` (one,
    or as many as `garbles` says). `late_rails` are told from the third sample on only.

    `recording` plays a file of samples once instead. `batches` renews the CPU in every so many-th sample only, which
    then has all its energy; 0 is never. `instead` writes this text in place of every sample, `before` ahead of the
    first, `complains` to stderr; `replaces` is pairs of texts (Latin-1): the second takes the place of the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "behaviour.json").write_text(json.dumps(behaviour))
    for name in ("powermetrics", "sudo"):
        program = folder / name
        program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -SE '{__file__}' {name} '{folder}' \"$@\"\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return folder


def _sudo(behaviour: dict[str, Any], arguments: list[str]) -> None:
    if arguments[0] != "-n":
        sys.exit("this stand-in would have asked for a password on the terminal")
    if behaviour.get("sudo") == "password":
        sys.exit("sudo: a password is required")
    os.execvp(arguments[1], arguments[1:])


def _powermetrics(behaviour: dict[str, Any], arguments: list[str]) -> None:
    unknown = behaviour.get("unknown_sampler")
    for name in arguments[arguments.index("--samplers") + 1].split(","):
        if unknown and name in unknown:
            sys.exit(f"powermetrics: unrecognized sampler: {name}")
    interval_s = behaviour.get("interval_s", int(arguments[arguments.index("-i") + 1]) / 1e3)
    last_ns, count = time.monotonic_ns(), 0
    out = sys.stdout.buffer
    sys.stderr.write(behaviour.get("complains", ""))
    sys.stderr.flush()
    out.write(behaviour.get("before", "").encode())
    if "recording" in behaviour:
        for text in Path(behaviour["recording"]).read_bytes().split(b"\0"):
            out.write(b"\0" + text)
            out.flush()
            time.sleep(interval_s)
        time.sleep(3600)
    while True:
        time.sleep(interval_s)
        behaviour |= json.loads((Path(_folder) / "behaviour.json").read_text())  # a test may change it meanwhile
        now_ns = time.monotonic_ns()
        watts, batches = dict(behaviour.get("watts") or WATTS), behaviour.get("batches")
        if batches is not None:
            watts["cpu"] *= batches if batches and (count + 1) % batches == 0 else 0
        late = behaviour.get("late_rails", []) if count < 2 else []
        watts = {rail: power for rail, power in watts.items() if rail not in late}
        text = document(behaviour.get("shape", "silicon"), now_ns - last_ns, watts)
        for old, new in behaviour.get("replaces", []):
            text = text.replace(old.encode("latin-1"), new.encode("latin-1"))
        text = behaviour.get("instead", "").encode() or text
        last_ns, count = now_ns, count + 1
        if count > behaviour.get("truncates_after", count):
            out.write(b"\0" + text[: len(text) // 2])
            out.flush()
            return
        if count > behaviour.get("dies_after", count):
            sys.exit("powermetrics: something went wrong")
        if count > behaviour.get("stalls_after", count):
            time.sleep(3600)
        if 0 < count - behaviour.get("garbles_after", count) <= behaviour.get("garbles", 1):
            text = text.replace(b"<integer>", b"<integer>x", 1)
        out.write(b"\0" * (count > 1) + text)
        out.flush()


if __name__ == "__main__":
    _program, _folder, *_arguments = sys.argv[1:]
    _behaviour = json.loads((Path(_folder) / "behaviour.json").read_text())
    {"sudo": _sudo, "powermetrics": _powermetrics}[_program](_behaviour, _arguments)
