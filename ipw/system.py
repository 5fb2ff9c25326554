"""What the system tells of itself and of its processes. Every fact is optional: what is not told is `None`.

psutil is asked here and nowhere else. It raises errors of many kinds where /proc or /sys is not as on a usual machine:
in containers and sandboxes, on telephones, as a user whom nobody knows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
CPU = Path("/proc/cpuinfo")


def told(ask: Callable[[], T]) -> T | None:
    """Ask; whatever goes wrong, the answer is absent."""
    try:
        return ask()
    except Exception:  # noqa: BLE001 - no fact of the host is worth a run
        return None


def cpu_count(*, logical: bool = True) -> int | None:
    """Count the CPUs, or the cores."""
    return _positive(told(lambda: _psutil().cpu_count(logical=logical)) or (os.cpu_count() if logical else None))


def cpu_field(field: str) -> str | None:
    """Give a field of Linux's /proc/cpuinfo, such as `flags`, as the first CPU has it."""

    def ask() -> str | None:
        with CPU.open(encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)

    return told(ask)


def in_virtual_machine() -> bool:
    """Whether the CPU says that a hypervisor runs it."""
    return "hypervisor" in (cpu_field("flags") or "")


def memory_bytes() -> int | None:
    """How much memory the machine has."""
    return _positive(told(lambda: _psutil().virtual_memory().total))


def busy_cpu_s() -> float | None:
    """CPU seconds that all CPUs together have worked since the system started."""
    times = told(lambda: _psutil().cpu_times())
    if times is None:
        return None
    return float(sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq")))


def busy_share(seconds: float) -> float | None:
    """Share of all CPUs that is busy, watched for so long."""
    percent = told(lambda: float(_psutil().cpu_percent(seconds)))
    return None if percent is None else percent / 100


def load_average() -> float | None:
    """Tasks that ran or waited to run, over the last minute."""
    return told(lambda: os.getloadavg()[0])


def on_mains() -> bool | None:
    """Whether a charger is connected, as psutil knows it; `None` without a battery."""
    return told(lambda: bool(_psutil().sensors_battery().power_plugged))


def networks() -> list[tuple[str, str, str]]:
    """List the interfaces' addresses with their masks: `("docker0", "172.17.0.1", "255.255.0.0")`."""
    interfaces = told(lambda: dict(_psutil().net_if_addrs())) or {}
    return [(name, str(own.address), str(own.netmask)) for name, all_of_it in interfaces.items() for own in all_of_it]


def process_created_s(pid: int) -> float | None:
    """When a process began, in seconds since 1970; `None` where there is none, or the system does not tell."""
    return told(lambda: float(_psutil().Process(pid).create_time()))


def process_name(pid: int) -> str | None:
    """Name the program of a process; `None` where it is gone, or in another container."""
    return told(lambda: str(_psutil().Process(pid).name()))


def own_processes() -> set[int]:
    """List this process and what it and its children started, as far as the system tells."""
    children = told(lambda: [child.pid for child in _psutil().Process().children(recursive=True)])
    return {os.getpid(), *(children or [])}


def tree_cpu_s(pids: Iterable[int]) -> float | None:
    """CPU seconds of these processes and of all that they started; `None` where the system does not tell.

    One that is gone adds nothing. Slow: it asks for all processes of the machine.
    """

    def ask() -> float:
        found: dict[int, Any] = {}
        for pid in pids:
            root = told(partial(_psutil().Process, pid))
            family = [root, *(told(partial(root.children, recursive=True)) or [])] if root else []
            found |= {process.pid: process for process in family}
        times = [told(process.cpu_times) for process in found.values()]
        kinds = ("user", "system", "children_user", "children_system")
        return sum(float(getattr(each, kind, 0.0)) for each in times for kind in kinds)

    return told(ask)


def command_line(pid: int) -> list[str]:
    """Give a process's program and arguments; nothing where the system does not tell."""
    return told(lambda: [str(word) for word in _psutil().Process(pid).cmdline()]) or []


def processes() -> Iterator[int]:
    """List the ids of all processes that are seen from here."""
    yield from told(lambda: list(_psutil().pids())) or []


def await_end(pid: int, seconds: float) -> None:
    """Wait for the end of a process, at most so long."""
    told(lambda: _psutil().Process(pid).wait(seconds))


def children() -> set[int]:
    """List the children of this process, as far as the system tells."""
    return set(told(lambda: [each.pid for each in _psutil().Process().children()]) or [])


def signal_descendants(number: int, wait_s: float, spared: Collection[int] = ()) -> None:
    """Send a signal to every living descendant of this process and wait for their ends, at most `wait_s`.

    Children that are `spared` are left alone, with theirs.
    """
    mine = [each for each in told(lambda: list(_psutil().Process().children())) or [] if each.pid not in spared]
    family = [each for child in mine for each in (child, *(told(partial(child.children, recursive=True)) or []))]
    living = [each for each in family if told(each.status) not in {None, _psutil().STATUS_ZOMBIE}]
    for each in living:
        told(partial(each.send_signal, number))
    told(lambda: _psutil().wait_procs(living, wait_s))


def _positive(number: int | None) -> int | None:
    return number if isinstance(number, int) and number > 0 else None


def _psutil() -> Any:
    import psutil

    return psutil
