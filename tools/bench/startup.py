"""How long programs take until they could begin: ours beside others, each in an environment of its own.

    python tools/bench/startup.py [--repeats 7] [--codecarbon PYTHON] [--zeus PYTHON] [--guidellm PROGRAM]
                                  [--aiperf PROGRAM]

A block is the import, the sensors on, a block of nothing, and the sensors off, in a new interpreter; ours also writes
and derives its run. Eight GPUs (the NVML stand-in) are there to be found. Whole programs are asked for their version
and for their help. Programs take turns; the time is processor time of all that was started, which another process on
the machine changes little, as a median.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tools")]

from bench.sampler import with_nvidia_smi
from doubles.nvml import FakeNvml

GPUS = 8
IPW = """
import ipw
with ipw.measure("block", sensors="nvml") as measured:
    pass
assert len(measured.energy.channels) >= 8
"""
CODECARBON = """
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(country_iso_code="DEU", save_to_file=False, log_level="error")
tracker.start()
tracker.stop()
assert tracker.final_emissions_data.gpu_count == 8
"""
ZEUS = """
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor()
monitor.begin_window("block", sync_execution=False)
measured = monitor.end_window("block", sync_execution=False)
assert len(measured.gpu_energy) == 8
"""


def groups(given: argparse.Namespace) -> Iterator[tuple[str, dict[str, Sequence[str]]]]:
    """Yield what is compared: a title, and commands by name, ours first."""
    ipw = [sys.executable, "-m", "ipw.cli"]
    blocks: dict[str, Sequence[str]] = {"ipw": [sys.executable, "-c", IPW]}
    blocks |= {"codecarbon": [given.codecarbon, "-c", CODECARBON]} if given.codecarbon else {}
    blocks |= {"zeus": [given.zeus, "-c", ZEUS]} if given.zeus else {}
    yield "a block of nothing", blocks
    peers = {name: path for name in ("guidellm", "aiperf") if (path := getattr(given, name))}
    yield "--version", {"ipw": [*ipw, "--version"]} | {name: [path, "--version"] for name, path in peers.items()}
    yield "--help", {"ipw": [*ipw, "--help"]} | {name: [path, "--help"] for name, path in peers.items()}


def took(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Processor time and wall time of a command to its end, in seconds. Raises SubprocessError with what it said."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise subprocess.SubprocessError((done.stderr.strip().splitlines() or [""])[-1][:300])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    for name in ("codecarbon", "zeus"):
        parser.add_argument(f"--{name}", metavar="PYTHON", help="an interpreter that has it")
    for name in ("guidellm", "aiperf"):
        parser.add_argument(f"--{name}", metavar="PROGRAM")
    given = parser.parse_args()
    for name in ("codecarbon", "zeus", "guidellm", "aiperf"):  # they are started in a folder of their own
        if getattr(given, name):
            setattr(given, name, str(Path(getattr(given, name)).absolute()))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environment = FakeNvml.create(folder / "nvml", GPUS).environment()
        os.environ |= environment | {"PATH": with_nvidia_smi(folder)}
        print(f"{'':20}{'':12}{'CPU s':>8}{'wall s':>8}{'CPU, times ipw':>16}")
        for title, commands in groups(given):
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
            failed: dict[str, str] = {}
            for _ in range(given.repeats + 1):
                for name in [name for name in commands if name not in failed]:
                    try:
                        found[name].append(took(commands[name], folder))
                    except subprocess.SubprocessError as error:
                        failed[name] = str(error)
            # The first time of each also writes byte code, and is left out.
            cpu = {name: median(cpu for cpu, _ in found[name][1:]) for name in commands.keys() - failed.keys()}
            for name in commands:
                if name in failed:
                    print(f"{title:20}{name:12}failed: {failed[name]}", flush=True)
                else:
                    wall = median(wall for _, wall in found[name][1:])
                    times = f"{cpu[name] / cpu['ipw']:.1f}" if "ipw" in cpu else "-"
                    print(f"{title:20}{name:12}{cpu[name]:8.2f}{wall:8.2f}{times:>16}", flush=True)


if __name__ == "__main__":
    main()
