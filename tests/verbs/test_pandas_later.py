from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LATER = "import sys\nfrom ipw.verbs.common.pandas_later import use_pandas_later\nuse_pandas_later()\n"


def python(program: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_run_is_measured_and_its_tables_and_page_are_written_without_pandas(tmp_path: Path) -> None:
    code = (
        "import atexit, sys\nfrom ipw.cli import main\natexit.register(lambda: print('pandas' in sys.modules))\nmain()"
    )
    measured = ["measure", "--sensors", "estimate", "--idle", "0", "--out", str(tmp_path), "--", "true"]
    assert python(code, *measured)[-1] == "False"
    (run,) = tmp_path.iterdir()
    assert {"spans.parquet", "report.html"} <= {path.name for path in run.rglob("*")}


def test_columns_of_pandas_become_arrays_as_ever_once_somebody_imports_pandas() -> None:
    column = "pa.array(pd.Series(pd.to_datetime(['2020-01-01', None])))"  # without its ways, pyarrow refuses NaT
    code = f"import pyarrow as pa\npa.array([1.5]).to_numpy()\nimport pandas as pd\nprint({column}.null_count)"
    assert python(LATER + code) == python(code) == ["1"]


def test_a_table_becomes_a_data_frame_as_ever() -> None:
    assert python(LATER + "import pyarrow as pa\nprint(pa.table({'a': [1.5, None]}).to_pandas()['a'].sum())") == ["1.5"]
