"""What sampling costs and how well it sees the ticks of energy counters: ours beside plain loops and zeus.

    python tools/bench/sampler.py [--seconds 30] [--spread]

Eight GPUs (the NVML stand-in under the real pynvml, counters ticking every 100 ms) and two RAPL packages. Each sampler
is a child process; its CPU time is what the kernel counted for it and its children after the first two seconds. A knot
is where a sampler puts a tick: halfway between the last read of the old value and the first of the new one. `--spread`
gives each GPU a phase of its own. Then ours again while its parent computes without a pause, and its memory.
"""

from __future__ import annotations

import argparse
import importlib.util
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

from ipw.profilers.sampling import Sampler
from ipw.rundir import READINGS, RECORD_FIELDS

GPUS, PERIOD_NS, SETTLE_S = 8, 100_000_000, 2.0
LOOP = """
import struct, sys, time, pynvml
pynvml.nvmlInit()
handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
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
    time.sleep(float(sys.argv[3]))
    offset = time.monotonic() - time.time()
    with open(sys.argv[1], "wb") as file:
        for i, timeline in monitor.get_power_timeline("device_instant").items():
            file.writelines(struct.pack("<qdHHI", int((t + offset) * 1e9), watts, i, 0, 0) for t, watts in timeline)
    monitor.stop()
"""
Readings = npt.NDArray[np.void]


class Result(NamedTuple):
    """What one sampler cost and saw."""

    cpu_percent: float
    readings: Readings
    """With the GPU's number as the channel."""
    start_ns: int
    end_ns: int


def cpu_s(pid: int) -> float:
    """CPU seconds of a process with its threads and children, to the nanosecond."""
    total = 0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def watched(pid: int, seconds: float, load: Callable[[float], None] = time.sleep) -> tuple[float, int, int]:
    """CPU, in per cent of one core, of a process over some seconds, and the window."""
    start_ns, before = time.monotonic_ns(), cpu_s(pid)
    load(seconds)
    end_ns, after = time.monotonic_ns(), cpu_s(pid)
    return 100 * (after - before) / ((end_ns - start_ns) / 1e9), start_ns, end_ns


def program(source: str, period_s: float, seconds: float) -> Result:
    """Run one of the programs above in a child."""
    with tempfile.TemporaryDirectory() as folder:
        script, out = Path(folder) / "loop.py", Path(folder) / "out.bin"
        script.write_text(source)
        settle_s = 10.0 if source is ZEUS else SETTLE_S  # it imports pandas, in two processes
        command = [sys.executable, str(script), str(out), str(period_s), str(seconds + settle_s + 1)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(settle_s)
            cost = watched(process.pid, seconds)
            process.wait()
        return Result(cost[0], np.fromfile(out, np.dtype(RECORD_FIELDS)), *cost[1:])


def ours(seconds: float, load: Callable[[float], None] = time.sleep) -> tuple[Result, dict[str, float]]:
    """Run our sampler; also what it said of itself, and how its memory grew."""
    with tempfile.TemporaryDirectory() as folder:
        sampler = Sampler.start(Path(folder), "nvml,rapl")
        time.sleep(SETTLE_S)
        resident = psutil.Process(sampler.pid).memory_info().rss
        cost = watched(sampler.pid, seconds, load)
        grown = psutil.Process(sampler.pid).memory_info().rss - resident
        stats = sampler.stop()
        readings = np.fromfile(Path(folder) / READINGS, np.dtype(RECORD_FIELDS))
        index = {c["index"]: int(c["name"][-1]) for c in sampler.channels if c["ticks"] and "index" in c}
        readings = readings[np.isin(readings["channel"], list(index))]
        readings["channel"] = [index[number] for number in readings["channel"]]
        told = {f"{key}/s": stats[key] / stats["wall_s"] for key in ("reads", "wakeups", "records")}
        told |= {key: stats[key] for key in ("ticks_missed", "late_wakeups", "max_late_s")}
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


def knot_errors_ms(result: Result, fake: FakeNvml, *, at_reads: bool) -> tuple[float, list[float]]:
    """Share of the true ticks that were seen, and how far off each knot is."""
    seen, errors = 0, []
    for i in range(GPUS):
        mine = result.readings[result.readings["channel"] == i]
        new = np.flatnonzero(np.diff(mine["value"]) != 0) + 1
        new = new[(mine["t_ns"][new] > result.start_ns) & (mine["t_ns"][new] <= result.end_ns)]
        after = mine["t_ns"][new]
        knots = after if at_reads else (mine["t_ns"][new - 1] + after) / 2
        phase = fake._state.start_ns + fake.gpu(i).counter_phase_ns  # noqa: SLF001 - the truth is in the stand-in
        truth = (after - phase) // PERIOD_NS * PERIOD_NS + phase
        seen += np.unique(truth).size
        errors += (np.abs(knots - truth) / 1e6).tolist()
    return seen / (GPUS * (result.end_ns - result.start_ns) / PERIOD_NS), errors


def show(name: str, result: Result, fake: FakeNvml, *, at_reads: bool = False) -> None:
    """Print one row."""
    seen, errors = knot_errors_ms(result, fake, at_reads=at_reads)
    p50, p95, p99 = np.percentile(errors, [50, 95, 99]) if errors else [np.nan] * 3
    print(f"{name:34}{result.cpu_percent:8.2f}{100 * seen:9.1f}{p50:9.2f}{p95:8.2f}{p99:8.2f}", flush=True)


def compute(seconds: float) -> None:
    """Keep this interpreter from doing anything else."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(20_000_000))


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
        os.environ |= fake.environment() | {"IPW_POWERCAP": str(tree.root)}
        with tree.drawing({f"intel-rapl:{k}": 200.0 for k in (0, 1)}, period_s=0.05):
            yield fake


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each sampler")
    parser.add_argument("--spread", action="store_true", help="give each GPU a phase of its own")
    asked = parser.parse_args()
    with hardware(spread=asked.spread) as fake:
        print(f"{'sampler':34}{'CPU %':>8}{'seen %':>9}{'knot p50':>9}{'p95':>8}{'p99 ms':>8}")
        show("ipw, counters of GPUs and RAPL", counters_alone(fake, asked.seconds), fake)
        result, told = ours(asked.seconds)
        show("ipw, all channels", result, fake)
        show("pynvml loop, 5 ms", program(LOOP, 0.005, asked.seconds), fake)
        show("pynvml loop, 50 ms", program(LOOP, 0.05, asked.seconds), fake)
        if importlib.util.find_spec("zeus"):
            show("zeus PowerMonitor(0.1)", program(ZEUS, 0.1, asked.seconds), fake, at_reads=True)
            show("zeus PowerMonitor()", program(ZEUS, 0, asked.seconds), fake, at_reads=True)
        busy, _ = ours(10.0, compute)
        show("ipw, its parent computing for 10 s", busy, fake)
        print("\nipw: " + ", ".join(f"{name} {value:.4g}" for name, value in told.items()))


if __name__ == "__main__":
    main()
