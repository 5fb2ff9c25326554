"""What sampling costs and how well it sees the ticks of energy counters: ours beside plain loops, zeus and codecarbon.

    python tools/bench/sampler.py [--seconds 30] [--zeus PYTHON] [--codecarbon PYTHON] [--spread] [--memory SECONDS]

Eight GPUs (the NVML stand-in under the real pynvml, counters ticking every 100 ms) and two RAPL packages. Each sampler
is a child process; its CPU time is what the kernel counted for it and its children after the first two seconds: without
the interpreter's start, and for ours without learning when the ticks come, which are told below the table. A knot is
where a tick is put: of a plain loop, halfway between the last read of the old value and the first of the new one; of
ours, where attribution puts it (`ipw.energy.knots`). `--spread` gives each GPU a phase of its own. Then ours again
while its parent computes without a pause. zeus and codecarbon run in interpreters that have them; codecarbon keeps no
readings, so only its cost is told. The last column is CPU beside that of ours. `--memory` instead watches the memory of
ours for so long.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
import numpy.typing as npt
import psutil
from doubles.nvml import FIELDS, GAUGES, NOT_SUPPORTED, POWER_AVERAGE, POWER_INSTANT, POWER_USAGE, FakeNvml
from doubles.powercap import Powercap

from ipw.energy.knots import ticks_of, usable
from ipw.profilers.sampler.handle import Sampler
from ipw.runs.readings import READINGS, RECORD_FIELDS

GPUS, PERIOD_NS, SETTLE_S = 8, 100_000_000, 2.0
LOOP = """
import struct, sys, time, pynvml
pynvml.nvmlInit()
handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
print("ready", flush=True)
period, end, rows = float(sys.argv[2]), time.monotonic() + float(sys.argv[3]), []
while time.monotonic() < end:
    for i, handle in enumerate(handles):
        rows.append((time.monotonic_ns(), pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, i))
    time.sleep(period)
with open(sys.argv[1], "wb") as file:
    file.writelines(struct.pack("<qdHHI", t, value, i, 0, 0) for t, value, i in rows)
"""
ZEUS = """
import struct, sys, time
from zeus.monitor.power import PowerMonitor
if __name__ == "__main__":
    monitor = PowerMonitor(**({} if sys.argv[2] == "0" else {"update_period": float(sys.argv[2])}))
    print("ready", flush=True)
    time.sleep(float(sys.argv[3]))
    offset = time.monotonic() - time.time()
    with open(sys.argv[1], "wb") as file:
        for i, timeline in monitor.get_power_timeline("device_instant").items():
            file.writelines(struct.pack("<qdHHI", int((t + offset) * 1e9), watts, i, 0, 0) for t, watts in timeline)
    monitor.stop()
"""
CODECARBON = """
import sys, time
from codecarbon import OfflineEmissionsTracker
tracker = OfflineEmissionsTracker(
    country_iso_code="DEU", save_to_file=False, log_level="error", measure_power_secs=float(sys.argv[2])
)
tracker.start()
print("ready", flush=True)
time.sleep(float(sys.argv[3]))
tracker.stop()
if not tracker.final_emissions_data.gpu_energy > 0:
    sys.exit("it measured no GPU")
open(sys.argv[1], "wb").close()
"""
Readings = npt.NDArray[np.void]
Placing = Callable[[Readings], tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]]


class Result(NamedTuple):
    """What one sampler cost and saw."""

    cpu_percent: float
    readings: Readings
    """With the GPU's number as the channel."""
    start_ns: int
    end_ns: int


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children with all their threads, those that ended too, to the nanosecond."""
    processes = (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))
    # Linux's clock of another process's CPU time, as clock_getcpuclockid(3) makes it.
    return sum(time.clock_gettime((~process.pid << 3) | 2) for process in processes)


def watched(pid: int, seconds: float, load: Callable[[float], None] = time.sleep) -> tuple[float, int, int]:
    """CPU, in per cent of one core, of a process over some seconds, and the window."""
    start_ns, before = time.monotonic_ns(), cpu_s(pid)
    load(seconds)
    end_ns, after = time.monotonic_ns(), cpu_s(pid)
    return 100 * (after - before) / ((end_ns - start_ns) / 1e9), start_ns, end_ns


def program(source: str, period_s: float, seconds: float, python: str = sys.executable) -> Result:
    """Run one of the programs above in a child."""
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder) / "loop.py", Path(folder) / "out.bin"
        script.write_text(source)
        settle_s = 5.0 if source == ZEUS else SETTLE_S  # another process of its imports pandas, and is not waited for
        command = [python, str(script), str(out), str(period_s), str(seconds + settle_s + 1)]
        said = Path(folder) / "said.txt"
        with said.open("w") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process:
            assert process.stdout is not None
            while "ready" not in (line := process.stdout.readline()) and line:
                pass
            time.sleep(settle_s)
            cost = watched(process.pid, seconds)
            process.stdout.read()
            if process.wait():
                raise subprocess.SubprocessError((said.read_text().strip().splitlines() or [""])[-1][:300])
        return Result(cost[0], np.fromfile(out, np.dtype(RECORD_FIELDS)), *cost[1:])


def ours(seconds: float, load: Callable[[float], None] = time.sleep) -> tuple[Result, dict[str, float]]:
    """Run our sampler; also what it said of itself, and how its memory grew."""
    with tempfile.TemporaryDirectory() as folder:
        sampler = Sampler.start(Path(folder), "nvml,rapl")
        started_s = cpu_s(sampler.pid)
        time.sleep(SETTLE_S)
        learned_s = cpu_s(sampler.pid) - started_s
        resident = psutil.Process(sampler.pid).memory_info().rss
        cost = watched(sampler.pid, seconds, load)
        grown = psutil.Process(sampler.pid).memory_info().rss - resident
        stats = sampler.stop()
        readings = np.fromfile(Path(folder) / READINGS, np.dtype(RECORD_FIELDS))
        index = {c["index"]: int(c["name"][-1]) for c in sampler.channels if c["ticks"] and "index" in c}
        readings = readings[np.isin(readings["channel"], list(index))]
        readings["channel"] = [index[number] for number in readings["channel"]]
        told = {f"{key}/s": stats[key] / stats["wall_s"] for key in ("reads", "wakeups", "records")}
        told |= {key: stats[key] for key in ("ticks", "ticks_watched", "ticks_missed", "late_wakeups", "max_late_s")}
        told |= {"cpu_until_ready_s": started_s, f"cpu_of_the_next_{SETTLE_S:.0f}_s": learned_s}
        return Result(cost[0], readings, *cost[1:]), told | {"grown_kib": grown / 1024, "rss_mib": resident / 2**20}


def counters_alone(fake: FakeNvml, seconds: float) -> Result:
    """Run our sampler on GPUs that tell nothing but their energy, which is all that the loops below read."""
    for i in range(GPUS):
        for call in (POWER_USAGE, POWER_INSTANT, POWER_AVERAGE, FIELDS, GAUGES):
            fake.fail(i, call, NOT_SUPPORTED)
    result, _ = ours(seconds)
    for i in range(GPUS):
        fake.mend(i)
    return result


def halfway(mine: Readings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Of each change: when it was first read, the middle between that and the read before, and half of the time."""
    new = np.flatnonzero(np.diff(mine["value"]) != 0) + 1
    after, before = mine["t_ns"][new], mine["t_ns"][new - 1]
    return after, (after + before) // 2, (after - before) / 2


def on_their_grid(mine: Readings) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Of each change: when it was first read, where `ipw.energy.knots` puts it, and how far off that may be."""
    t, value, half, _ = usable(mine["t_ns"], mine["value"], mine["status"], mine["uncertainty_ns"])
    at, shown, err = ticks_of(t, value, half)
    first = {joules: moment for moment, joules in zip(t[::-1].tolist(), value[::-1].tolist(), strict=True)}
    return np.array([first[joules] for joules in shown.tolist()]), at, err


def knots(result: Result, fake: FakeNvml, place: Placing) -> tuple[float, list[float], float]:
    """Share of the true ticks that were seen, how far off each knot is in ms, and the share as near as told."""
    seen, ticks, errors, kept = 0, 0, [], []
    for i in range(GPUS):
        after, at, err = place(result.readings[result.readings["channel"] == i])
        phase = fake._state.start_ns + fake.gpu(i).counter_phase_ns  # noqa: SLF001 - the truth is in the stand-in
        truth = (after - phase) // PERIOD_NS * PERIOD_NS + phase
        inside = (truth > result.start_ns) & (truth <= result.end_ns)
        truth, at, err = truth[inside], at[inside], err[inside]
        seen += np.unique(truth).size
        ticks += (result.end_ns - phase) // PERIOD_NS - (result.start_ns - phase) // PERIOD_NS
        errors += (np.abs(at - truth) / 1e6).tolist()
        kept += (np.abs(at - truth) <= err + 1e4).tolist()
    return seen / ticks, errors, float(np.mean(kept or [np.nan]))


def show(name: str, result: Result, fake: FakeNvml, ours: Result, place: Placing = halfway) -> None:
    """Print one row."""
    figures = f"{result.cpu_percent:8.2f}"
    if result.readings.size:
        seen, errors, kept = knots(result, fake, place)
        p50, p95, p99 = np.percentile(errors, [50, 95, 99]) if errors else [np.nan] * 3
        figures += f"{100 * seen:9.1f}{p50:9.2f}{p95:8.2f}{p99:8.2f}{100 * kept:10.1f}"
    else:
        figures += f"{'-':>9}{'-':>9}{'-':>8}{'-':>8}{'-':>10}"
    print(f"{name:34}{figures}{result.cpu_percent / ours.cpu_percent:12.2f}", flush=True)


def memory(seconds: float) -> None:
    """Print how much memory ours holds, at ten moments."""
    with tempfile.TemporaryDirectory() as folder:
        sampler = Sampler.start(Path(folder), "nvml,rapl")
        for _ in range(10):
            time.sleep(seconds / 10)
            written = (Path(folder) / READINGS).stat().st_size
            resident = psutil.Process(sampler.pid).memory_info().rss
            print(f"resident {resident / 1024:8.0f} KiB, written {written / 1024:8.0f} KiB", flush=True)
        sampler.stop()


def compute(seconds: float) -> None:
    """Keep this interpreter from doing anything else."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(20_000_000))


def with_nvidia_smi(folder: Path) -> str:
    """Put a program of that name, which says nothing, on the PATH: codecarbon looks for GPUs where there is one."""
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@contextmanager
def hardware(*, spread: bool) -> Iterator[FakeNvml]:
    """Eight GPUs, each of whose readings differs from the last, and two packages whose counters run."""
    with tempfile.TemporaryDirectory() as folder:
        fake = FakeNvml.create(Path(folder) / "nvml", GPUS)
        for i in range(GPUS):
            fake.set_power(i, 300.0 + 10 * i)
            fake.gpu(i).noise_rel = 0.01
            if spread:
                fake.gpu(i).counter_phase_ns = fake.gpu(i).power_phase_ns = i * PERIOD_NS // GPUS
        tree = Powercap.server(Path(folder) / "powercap")
        os.environ |= fake.environment() | {"IPW_POWERCAP": str(tree.root), "PATH": with_nvidia_smi(Path(folder))}
        with tree.drawing({f"intel-rapl:{k}": 200.0 for k in (0, 1)}, period_s=0.05):
            yield fake


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each sampler")
    parser.add_argument("--zeus", metavar="PYTHON", help="an interpreter that has it")
    parser.add_argument("--codecarbon", metavar="PYTHON", help="likewise")
    parser.add_argument("--spread", action="store_true", help="give each GPU a phase of its own")
    parser.add_argument("--memory", type=float, metavar="SECONDS", help="watch the memory of ours, and nothing else")
    asked = parser.parse_args()
    with hardware(spread=asked.spread) as fake:
        if asked.memory:
            memory(asked.memory)
            return
        heads = f"{'CPU %':>8}{'seen %':>9}{'knot p50':>9}{'p95':>8}{'p99 ms':>8}{'as told %':>10}{'CPU, times':>12}"
        print(f"{'sampler':34}{heads}")
        counters = counters_alone(fake, asked.seconds)
        show("ipw, counters of GPUs and RAPL", counters, fake, counters, on_their_grid)
        result, told = ours(asked.seconds)
        show("ipw, all channels", result, fake, counters, on_their_grid)
        show("pynvml loop, 5 ms", program(LOOP, 0.005, asked.seconds), fake, counters)
        show("pynvml loop, 50 ms", program(LOOP, 0.05, asked.seconds), fake, counters)
        for name, source, period_s, python in (
            ("zeus PowerMonitor(0.1)", ZEUS, 0.1, asked.zeus),
            ("zeus PowerMonitor()", ZEUS, 0, asked.zeus),
            ("codecarbon, every 1 s", CODECARBON, 1, asked.codecarbon),
            ("codecarbon, every 15 s", CODECARBON, 15, asked.codecarbon),
        ):
            if python:
                try:
                    seconds = max(asked.seconds, 2 * period_s)  # else what reads seldom would read nothing
                    show(name, program(source, period_s, seconds, python), fake, counters)
                except subprocess.SubprocessError as error:
                    print(f"{name:34}failed: {error}", flush=True)
        busy, _ = ours(10.0, compute)
        show("ipw, its parent computing for 10 s", busy, fake, counters, on_their_grid)
        print("\nipw: " + ", ".join(f"{name} {value:.4g}" for name, value in told.items()))


if __name__ == "__main__":
    main()
