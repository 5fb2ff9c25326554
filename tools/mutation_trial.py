"""Tries a mutant in a fork that holds all imports and all collected tests already: what it costs is its tests alone."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from mutation import Mutant
from mutation_tests import QUIET, NoShrinking

MOST_S, MOST_BYTES = 120.0, 8 << 30
"""On the clock, since others may use the machine; and of address space."""

PLAIN = (int, float, str, tuple, list, dict, set, frozenset, slice)
Trial = tuple[Mutant, list[str], float]
"""What is changed, the tests to ask, and their seconds of CPU."""


def forked(job: Callable[[], int], cpu_s: float, most_s: float = MOST_S) -> int | None:
    """Run a job in a fork, unheard; its exit code, or None past its seconds of CPU or on the clock."""
    child = os.fork()
    if not child:
        told = os.dup(2)
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(cpu_s), math.ceil(cpu_s) + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        code = 70
        try:
            code = job()
        except Exception:  # noqa: BLE001 - a fork that goes on would run the caller's rest a second time
            os.write(told, traceback.format_exc().encode())
        os._exit(code)
    until, ended, status = time.monotonic() + most_s, 0, 0
    while not ended and time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0 if ended else 0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # and what its tests left running
    if not ended:
        os.waitpid(child, 0)
        return None
    code = os.waitstatus_to_exitcode(status)
    return None if code in {-signal.SIGXCPU, -signal.SIGKILL} else code


def run_pytest(arguments: Sequence[str], plugin: object | None = None) -> int:
    """Run pytest in this process."""
    import pytest

    return int(pytest.main([*QUIET, *arguments], plugins=[NoShrinking(), *([plugin] if plugin else [])]))


def end_of(code: int | None) -> str:
    """Name how a mutant ends: killed, broke (nothing could even be imported), out of time, or SURVIVED."""
    return {0: "SURVIVED", 1: "killed", None: "out of time"}.get(code, "broke")


class Trials:
    """A pytest plugin that runs no session: it tries mutants one by one, each in a fork, once all is collected."""

    def __init__(self, trials: Sequence[Trial], copy: Path, tell: Callable[[Mutant, str], bool]) -> None:
        self._trials, self._copy, self._tell = trials, copy, tell

    def pytest_runtestloop(self, session: Any) -> bool:
        """Stand in for the loop over all tests."""
        items = {item.nodeid: item for item in session.items}
        functions: dict[str, list[FunctionType]] = {}
        for each in gc.get_objects():
            if type(each) is FunctionType:  # no look at `__class__`, which some lazy objects warn of
                functions.setdefault(each.__code__.co_filename, []).append(each)
        gc.freeze()  # so that no fork copies the memory that it shares only to look through it
        for mutant, names, cpu_s in self._trials:
            path = self._copy / mutant.file
            text = path.read_bytes()
            changed = mutant.into(text)
            path.write_bytes(changed)  # for what is imported later, and by other processes
            try:
                chosen, theirs = [items[name] for name in names], functions.get(str(path), [])
                code = forked(lambda c=chosen, p=path, t=changed, f=theirs: _run(c, p, t, f), cpu_s)  # type: ignore[misc]
            finally:
                path.write_bytes(text)
            if self._tell(mutant, end_of(code)):
                break
        return True


def _run(items: Sequence[Any], path: Path, changed: bytes, functions: Sequence[FunctionType]) -> int:
    """Run tests until one fails, with the mutant in place of what was imported."""
    from _pytest.runner import runtestprotocol

    _swap(path, changed, functions)
    for item, after in zip(items, [*items[1:], None], strict=True):
        if any(report.failed for report in runtestprotocol(item, log=False, nextitem=after)):
            return 1
    return 0


def _swap(path: Path, changed: bytes, functions: Sequence[FunctionType]) -> None:
    """Give every function of the file that is in memory the code and the defaults that it has in the changed text.

    Constants of the module change where they stand and wherever they were imported by name.
    """
    found: dict[tuple[str, int], CodeType] = {}
    whole = compile(changed, str(path), "exec", dont_inherit=True)
    waiting = [whole]
    while waiting:
        code = waiting.pop()
        found[code.co_qualname, code.co_firstlineno] = code
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    for function in functions:
        function.__code__ = found[function.__code__.co_qualname, function.__code__.co_firstlineno]
    module = next((each for each in list(sys.modules.values()) if getattr(each, "__file__", None) == str(path)), None)
    if module is None:
        return
    anew = ModuleType(module.__name__)
    anew.__dict__.update(__file__=str(path), __package__=module.__package__)
    exec(whole, anew.__dict__)  # noqa: S102 - what it makes of its constants now
    for name, value in list(module.__dict__.items()):
        other = anew.__dict__.get(name)
        if isinstance(value, FunctionType) and isinstance(other, FunctionType):
            value.__defaults__, value.__kwdefaults__ = other.__defaults__, other.__kwdefaults__
        elif isinstance(value, PLAIN) and repr(value) != repr(other):
            for holder in _holders(name, value, module):
                setattr(holder, name, other)


def _holders(name: str, value: object, owner: ModuleType) -> list[ModuleType]:
    """The module of a constant, and those that imported it by its name; one that makes its own is not among them."""
    own = re.compile(rf"^{name}\b[^=\n]*=", re.MULTILINE)
    others = [
        each
        for each in list(sys.modules.values())
        if each is not owner and getattr(each, "__dict__", {}).get(name) is value and getattr(each, "__file__", None)
    ]
    return [owner, *(each for each in others if not own.search(Path(str(each.__file__)).read_text("utf-8", "replace")))]
