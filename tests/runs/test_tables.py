from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ipw.errors import UsageError
from ipw.runs.directory import RunDir

FIRST = Path(__file__).parent / "version-1"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(Path(shutil.copytree(FIRST / "command", tmp_path / "run")))


def test_a_bit_that_flips_in_the_readings_is_told_or_changes_none(run: RunDir) -> None:
    before = run.readings()
    table = run.read_table("power")
    assert table is not None
    run.write_table("power", table, durable=True)
    path = run.path / "power.parquet"
    whole = path.read_bytes()
    told = 0
    for at in range(4, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        try:
            assert run.readings().tobytes() == before.tobytes()
        except UsageError:
            told += 1
    assert told > 10


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 100, b"x" * 1000])
def test_a_table_that_is_none_is_one_line(content: bytes, run: RunDir) -> None:
    (run.path / "power.parquet").write_bytes(content)
    with pytest.raises(UsageError, match=r"power\.parquet cannot be read: ") as caught:
        run.readings()
    assert "\n" not in caught.value.message


def test_a_column_that_is_gone_is_named(run: RunDir) -> None:
    table = run.read_table("power")
    assert table is not None
    run.write_table("power", table.drop_columns(["value"]))
    with pytest.raises(UsageError, match="has no column value"):
        run.readings()
