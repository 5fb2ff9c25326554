"""Many runs as one data frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ipw.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

Paths = str | Path | Iterable[str | Path] | Mapping[str, str | Path]


def load_runs(paths: Paths) -> pd.DataFrame:
    """Read runs into a data frame: a row a run (of training, a method), a column a setting or a metric.

    `paths` are runs, folders of runs or of studies, or runs by the names that they shall have. The columns are those of
    `ipw report --table csv`, in its order. What was never derived is derived. Raises UsageError where a path is no run.
    """
    import pandas as pd

    from ipw.metrics.summary import called, stored_summary
    from ipw.pipeline import derive
    from ipw.reports.tables.written import records
    from ipw.studies.chosen import Chosen, chosen

    if isinstance(paths, Mapping):
        found = [Chosen(Path(path), name) for name, path in paths.items()]
    else:
        found = chosen([Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)])
    if not found:
        raise UsageError("no run was named", 'ipw.load_runs("runs")')
    runs = [each.open() for each in found]
    return pd.DataFrame(records([stored_summary(run) or called(derive(run), run) for run in runs]))
