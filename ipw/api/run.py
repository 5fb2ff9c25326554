"""A stored run as people look at it: data frames, metrics, and a table in a notebook."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipw.errors import UsageError
from ipw.runs.directory import RunDir

if TYPE_CHECKING:
    import pandas as pd


class Run:
    """One run directory. Tables are read when they are asked for, and need pandas."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises UsageError where there is none, or one of a newer ipw.

        Warns where its record cannot be believed: files are gone, damaged, or of another run.
        """
        self._run = RunDir.open(path)
        self.path = path
        for fault in _faults(self._run):
            warnings.warn(f"{path} is not valid: {fault}", stacklevel=3)

    @property
    def manifest(self) -> dict[str, Any]:
        """What was run, on what, by which sensors."""
        return self._run.manifest()

    @property
    def summary(self) -> dict[str, Any]:
        """Metrics, validity and where the joules come from. Raises UsageError where none was derived."""
        from ipw.metrics.summary import stored_summary

        summary = stored_summary(self._run)
        if summary is None:
            raise UsageError(f"{self.path} holds no summary", f"ipw report {self.path} --recompute")
        return summary

    @property
    def metrics(self) -> pd.DataFrame:
        """Each metric: value, low and high (95 %), unit, n, method, and the reason where there is no value."""
        return _pandas().DataFrame.from_dict(self.summary["metrics"], orient="index")

    @property
    def spans(self) -> pd.DataFrame:
        """Every marked interval with its joules."""
        return self._frame("spans")

    @property
    def queries(self) -> pd.DataFrame:
        """Every query of a language-model run."""
        return self._frame("queries")

    @property
    def steps(self) -> pd.DataFrame:
        """Every step of a training run."""
        return self._frame("steps")

    @property
    def tasks(self) -> pd.DataFrame:
        """Every task of an agent's run, with its turns, tools, tokens, joules and score."""
        return self._frame("tasks")

    @property
    def tools(self) -> pd.DataFrame:
        """Every call of a tool in an agent's run, with its joules."""
        return self._frame("tools")

    def _frame(self, name: str) -> pd.DataFrame:
        _pandas()
        table = self._run.read_table(name)
        if table is None:
            raise UsageError(f"{self.path} holds no {name}", f"it is a run of kind {self._kind()!r}")
        return table.to_pandas()

    def _kind(self) -> str:
        return str((self.manifest.get("workload") or {}).get("kind"))

    def __repr__(self) -> str:
        return f"<ipw.Run {self.path}: {self._kind()}, {self.manifest.get('status')}>"

    def _repr_html_(self) -> str:
        from ipw.api.notebook import run_html

        return run_html(self._run)


def _faults(run: RunDir) -> list[str]:
    from ipw.metrics.summary import stored_summary
    from ipw.metrics.validity.record import record_faults

    try:
        return record_faults(stored_summary(run) or {})
    except UsageError as error:
        return [error.message]


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise UsageError("tables as data frames need pandas, which is not installed", "pip install pandas") from None
    return pd
