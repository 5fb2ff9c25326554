"""Intelligence per watt: how much a local model gets right for the power that it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipw.api.measure import Measurement, Meter, Run, load_run, load_runs, measure, measured
    from ipw.api.task import task

__version__ = "0.1.0"
__all__ = ["Measurement", "Meter", "Run", "__version__", "load_run", "load_runs", "measure", "measured", "task"]


def __getattr__(name: str) -> Any:
    """Load the public functions when they are first asked for, so that `import ipw` costs nothing."""
    if name == "task":
        from ipw.api.task import task

        return task
    if name in __all__:
        from ipw.api import measure

        return getattr(measure, name)
    raise AttributeError(f"module 'ipw' has no attribute {name!r}")
