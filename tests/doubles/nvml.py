"""The NVML stand-in: builds doubles/nvml.c, and sets what its GPUs draw, show and suffer.

In a child process: `subprocess.run(…, env=os.environ | fake.environment())`; the real pynvml finds the library through
LD_LIBRARY_PATH. In the test's own process: `fake.preload()` before pynvml loads, since a library is looked up by its
soname among those already loaded; call `pynvml.nvmlShutdown()` before the next fake, as one is read by `nvmlInit`.
Any process that knows the folder may `FakeNvml(folder).set_power(…)`: a stand-in server sets power as it works.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

MAX_GPUS, MAX_MIGS, MAX_FAULTS, MAX_PIDS, RING = 16, 7, 8, 8, 119
ANY, ENERGY, POWER_USAGE, POWER_INSTANT, POWER_AVERAGE, FIELDS, GAUGES, PROCESSES, SAMPLES = range(9)
HANDLE, NAME, UUID, PCI, LIMITS, UTILISATION = range(9, 15)
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST, VERSION_MISMATCH, NOT_READY = 3, 4, 9, 15, 18, 27
FOREVER = 2**62
REST_W, LONG_BEFORE_NS = 30.0, 2_000_000_000
"""No GPU draws nothing, and a sensor that says so is not believed."""
RECORD = struct.Struct("<qqd")


class _Fault(ctypes.Structure):
    _fields_ = (
        ("from_ns", ctypes.c_int64),
        ("until_ns", ctypes.c_int64),
        ("call", ctypes.c_uint32),
        ("error", ctypes.c_uint32),
    )


class Gpu(ctypes.Structure):
    """One GPU's settings, in memory shared with the library: an assignment takes effect at once."""

    _fields_ = (
        ("uuid", ctypes.c_char * 80),
        ("bus_id", ctypes.c_char * 32),
        ("name", ctypes.c_char * 96),
        ("mig_uuid", (ctypes.c_char * 80) * MAX_MIGS),
        ("counter_period_ns", ctypes.c_int64),
        ("counter_phase_ns", ctypes.c_int64),
        ("counter_jitter_ns", ctypes.c_int64),
        ("counter_window_ns", ctypes.c_int64),
        ("reset_ns", ctypes.c_int64),
        ("counter_start_j", ctypes.c_double),
        ("power_period_ns", ctypes.c_int64),
        ("power_phase_ns", ctypes.c_int64),
        ("instant_window_ns", ctypes.c_int64),
        ("average_window_ns", ctypes.c_int64),
        ("samples_period_ns", ctypes.c_int64),
        ("samples_window_ns", ctypes.c_int64),
        ("gain", ctypes.c_double),
        ("noise_rel", ctypes.c_double),
        ("gpu_share", ctypes.c_double),
        ("module_share", ctypes.c_double),
        ("memory_share", ctypes.c_double),
        ("latency_ns", ctypes.c_int64),
        ("energy_latency_ns", ctypes.c_int64),
        ("event_reasons", ctypes.c_uint64),
        ("thermal_slowdown_ns", ctypes.c_uint64),
        ("power_capped_ns", ctypes.c_uint64),
        ("power_limit_mw", ctypes.c_uint32),
        ("temperature_c", ctypes.c_uint32),
        ("sm_mhz", ctypes.c_uint32),
        ("memory_mhz", ctypes.c_uint32),
        ("mig_mode", ctypes.c_uint32),
        ("persistence", ctypes.c_uint32),
        ("pids", ctypes.c_uint32 * MAX_PIDS),
        ("sm", ctypes.c_uint32 * MAX_PIDS),
        ("faults", _Fault * MAX_FAULTS),
        ("energy_calls", ctypes.c_uint64),
        ("power_calls", ctypes.c_uint64),
        ("sample_calls", ctypes.c_uint64),
        ("field_type", ctypes.c_uint32),
        ("no_limit", ctypes.c_uint32),
    )


class _State(ctypes.Structure):
    _fields_ = (
        ("gpu_count", ctypes.c_uint32),
        ("init_error", ctypes.c_uint32),
        ("start_ns", ctypes.c_int64),
        ("driver", ctypes.c_char * 80),
        ("gpus", Gpu * MAX_GPUS),
        ("set_ns", ctypes.c_int64),
    )


def build(folder: Path, driver: str = "") -> Path:
    """Compile the library into this folder, and return the folder; `driver` is `OLD_DRIVER`, `DRIVER_2020` or new."""
    source = Path(__file__).with_name("nvml.c")
    flags = ["-O1", "-Wall", "-Wextra", "-D_GNU_SOURCE", *([f"-D{driver}"] if driver else [])]
    target = ["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1", "-o", str(folder / "libnvidia-ml.so.1")]
    subprocess.run(["cc", *flags, *target, str(source)], check=True)
    return folder


@cache
def library(driver: str = "") -> Path:
    """Return the folder of the library, built once a process."""
    folder = Path(tempfile.mkdtemp(prefix="ipw-nvml-"))
    atexit.register(shutil.rmtree, folder)
    return build(folder, driver)


class FakeNvml:
    """A host's NVIDIA GPUs with a known power schedule."""

    def __init__(self, folder: Path, *, driver: str = "") -> None:
        """Attach to the state in `folder`, from any process; `create` makes one."""
        self.folder, self._driver = folder, driver
        with (folder / "state.bin").open("r+b") as file:
            self._state = _State.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(_State)))
        self._log = os.open(folder / "power.log", os.O_WRONLY | os.O_APPEND)

    @classmethod
    def create(cls, folder: Path, gpus: int = 1, *, name: str = "NVIDIA Test 80GB", driver: str = "") -> FakeNvml:
        """Make `gpus` alike GPUs at rest: counter each 100 ms, power of the last 25 of 100 ms, samples each 20 ms."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.bin").write_bytes(bytes(ctypes.sizeof(_State)))
        (folder / "power.log").write_bytes(b"")
        fake = cls(folder, driver=driver)
        fake._state.gpu_count = gpus
        fake._state.start_ns = time.monotonic_ns()
        fake._state.driver = b"580.95.05"
        for i in range(gpus):
            gpu = fake.gpu(i)
            gpu.uuid = f"GPU-{i:08x}-1111-2222-3333-444444444444".encode()
            gpu.bus_id = f"00000000:{0x10 + 0x10 * i:02X}:00.0".encode()
            gpu.name = name.encode()
            gpu.counter_period_ns = gpu.power_period_ns = 100_000_000
            gpu.instant_window_ns, gpu.average_window_ns = 25_000_000, 1_000_000_000
            gpu.samples_period_ns, gpu.samples_window_ns = 20_000_000, 25_000_000
            gpu.counter_start_j, gpu.gain, gpu.gpu_share = 1000.0, 1.0, 1.0
            gpu.power_limit_mw, gpu.temperature_c, gpu.sm_mhz, gpu.memory_mhz = 700_000, 45, 1980, 2619
            gpu.persistence = 1
            fake.set_power(i, REST_W, fake._state.start_ns - LONG_BEFORE_NS)
        return fake

    def gpu(self, i: int) -> Gpu:
        """Live settings of GPU `i`."""
        gpu: Gpu = self._state.gpus[i]
        return gpu

    def uuid(self, i: int) -> str:
        """UUID of GPU `i`."""
        return bytes(self.gpu(i).uuid).decode()

    def fail_init(self, error: int) -> None:
        """Let `nvmlInit` answer with this error; 0 mends it."""
        self._state.init_error = error

    def fail(self, i: int, call: int, error: int, from_ns: int = 0, until_ns: int = FOREVER) -> None:
        """Let calls of one kind (`ANY`, `ENERGY`, …) on GPU `i` answer with an NVML error between two times."""
        free = next(fault for fault in self.gpu(i).faults if not fault.error)
        free.from_ns, free.until_ns, free.call, free.error = from_ns, until_ns, call, error

    def mend(self, i: int) -> None:
        """Take every fault of GPU `i` away."""
        for fault in self.gpu(i).faults:
            fault.error = 0

    def set_power(self, i: int, watts: float, t_ns: int | None = None) -> int:
        """From `t_ns` (now) on, GPU `i` draws this much. Times of one GPU must not go backwards. Returns the time."""
        at = (self._state.set_ns or time.monotonic_ns()) if t_ns is None else t_ns
        os.write(self._log, RECORD.pack(at, i, watts))
        return at

    def set_clock(self, t_ns: int) -> None:
        """Let it be this time for all GPUs, until the next call; 0 lets the system's clock go on."""
        self._state.set_ns = t_ns

    def energy_j(self, i: int, start_ns: int, end_ns: int) -> float:
        """What GPU `i` truly drew between two times: the exact integral of its schedule."""
        steps = [(t, w) for t, gpu, w in RECORD.iter_unpack((self.folder / "power.log").read_bytes()) if gpu == i]
        ends = [t for t, _ in steps[1:]] + [FOREVER]
        pairs = zip(steps, ends, strict=True)
        return float(sum(w * max(0, min(end, end_ns) - max(t, start_ns)) * 1e-9 for (t, w), end in pairs))

    def environment(self) -> dict[str, str]:
        """What a child process needs to find these GPUs."""
        paths = [str(library(self._driver)), os.environ.get("LD_LIBRARY_PATH", "")]
        return {"IPW_FAKE_NVML": str(self.folder), "LD_LIBRARY_PATH": ":".join(filter(None, paths))}

    def preload(self) -> None:
        """Make these GPUs the ones that this process's pynvml finds, if no NVML is loaded yet."""
        os.environ["IPW_FAKE_NVML"] = str(self.folder)
        ctypes.CDLL(str(library() / "libnvidia-ml.so.1"), mode=ctypes.RTLD_GLOBAL)
