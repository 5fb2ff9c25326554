"""`ipw.measure`, `ipw.measured`, `ipw.load_run`: what people write into their own programs."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, overload

from ipw.api import given
from ipw.api.run import Run
from ipw.api.runs import load_runs
from ipw.api.session import Measurement, Meter, lock, running
from ipw.errors import IpwError, UsageError

__all__ = ["Measurement", "Meter", "Run", "load_run", "load_runs", "measure", "measured"]

P = ParamSpec("P")
T = TypeVar("T")

_users: dict[Meter, int] = {}
"""Meters that `measure` opened, and how many blocks use each."""


class _Block:
    """What `measure` returns: joins the meter that runs, or starts one, when the block begins."""

    __slots__ = ("_block", "_meter", "_name", "_options")

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self._name, self._options = name, options

    def __enter__(self) -> Measurement:
        self._meter, first = _join(self._name, self._options)
        try:
            self._block = self._meter.whole() if first else self._meter.measure(self._name)
            self._block.begin()
        except BaseException as error:
            _leave(self._meter, error)
            raise
        return self._block

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            try:
                self._block.end(error)
            finally:
                _leave(self._meter, error)
        except IpwError:
            if error is None:  # else the block's own error is what matters
                raise


def measure(
    name: str = "block", *, sensors: str = "auto", idle_s: float = 0.0, out: str | Path = "runs"
) -> AbstractContextManager[Measurement]:
    """Measure the code inside: `with ipw.measure("work") as m: work()`, then `m.energy_j` and `m.summary`.

    The outermost block starts the sensors, which takes about a second, and saves a run below `out`. Blocks within it,
    in whatever thread, and those within an open `ipw.Meter`, are parts of that run, cost microseconds, and ignore the
    options. What PyTorch has given to a GPU is waited for at both ends.
    """
    return _Block(name, {"sensors": sensors, "idle_s": idle_s, "out": out})


@overload
def measured(function: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def measured(
    label: str | None = None, /, *, name: str | None = None, sensors: str = "auto", out: str | Path = "runs"
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def measured(function: Callable[P, Any] | str | None = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Measure every call of a function, plain, `async` or a generator: `@ipw.measured`, `@ipw.measured("step")`.

    Each call is a block of `ipw.measure`, so keep an `ipw.Meter` open around many of them. A call that starts the
    sensors itself says on standard error what it drew. Raises UsageError for an asynchronous generator.
    """
    if function is None or isinstance(function, str):
        return functools.partial(measured, name=function or name, **options)
    if not callable(function):
        raise UsageError(
            f"a function is measured, not {type(function).__name__}", '@ipw.measured, or @ipw.measured("step")'
        )
    label = str(name or getattr(function, "__qualname__", type(function).__qualname__))
    if inspect.isasyncgenfunction(function):
        raise UsageError(f"{label} is an asynchronous generator", "put `with ipw.measure()` inside it")
    call: Callable[..., Any]
    if inspect.iscoroutinefunction(function):

        async def call(*args: Any, **kwargs: Any) -> Any:
            with _shown(label, options):
                return await function(*args, **kwargs)

    elif inspect.isgeneratorfunction(function):

        def call(*args: Any, **kwargs: Any) -> Any:
            with _shown(label, options):
                return (yield from function(*args, **kwargs))

    else:

        def call(*args: Any, **kwargs: Any) -> Any:
            with _shown(label, options):
                return function(*args, **kwargs)

    return functools.wraps(function)(call)


@contextmanager
def _shown(label: str, options: dict[str, Any]) -> Iterator[None]:
    """Measure a call; one that nothing else measures says what it drew."""
    alone = not running
    block: Measurement | None = None
    try:
        with measure(label, **options) as block:
            yield
    finally:
        if alone and block is not None:
            from ipw.api.notebook import block_text

            sys.stderr.write(f"ipw: {block_text(block).strip('<>')}, in {block.path}\n")


def load_run(path: str | Path) -> Run:
    """Open a run directory. Raises UsageError where there is none; warns where its record cannot be believed."""
    given.path(path, "a run", 'ipw.load_run("runs/a")')
    return Run(Path(path))


def _join(name: str, options: dict[str, Any]) -> tuple[Meter, bool]:
    """Give the meter that runs, or start one; and whether it was started."""
    with lock:
        if running:
            meter = running[-1]
            if meter in _users:
                _users[meter] += 1
        else:
            meter = Meter(name, **options)
            _users[meter] = 1
            return meter, True
        return meter, False


def _leave(meter: Meter, failure: BaseException | None) -> None:
    """Close a meter that `measure` opened when its last block has ended."""
    with lock:
        if meter not in _users:
            return
        _users[meter] -= 1
        if _users[meter]:
            return
        del _users[meter]
    meter.close(failure)
