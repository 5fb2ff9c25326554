"""Pyarrow without pandas for as long as nobody else asks for pandas: a fifth of a second of each command.

Pyarrow imports pandas, where it is installed, at the first array that it makes of anything, to see whether that is a
column of pandas. Commands make no array of such columns. Libraries that they call may: from the moment that one
imports pandas, pyarrow is asked to look again.
"""

from __future__ import annotations

import sys
from contextlib import suppress


class _Later:
    """A finder that finds no pandas while pyarrow asks, and lets others find it."""

    pyarrow_asks = True

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name != "pandas":
            return
        if self.pyarrow_asks:
            raise ModuleNotFoundError(name=name)
        import pyarrow as pa

        sys.meta_path.remove(self)
        with suppress(AttributeError):  # a pyarrow without it has no such memory either
            pa.lib._pandas_api.__init__()  # noqa: SLF001 - it forgets that there was no pandas


def use_pandas_later() -> None:
    """Let pyarrow find no pandas now. Only for a process of our own, and before it has threads."""
    if "pandas" in sys.modules or any(isinstance(finder, _Later) for finder in sys.meta_path):
        return
    import pyarrow as pa

    finder = _Later()
    sys.meta_path.insert(0, finder)
    pa.array([0])
    finder.pyarrow_asks = False
