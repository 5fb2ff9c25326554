from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ipw.errors import UsageError
from ipw.runs import tables
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


def test_many_rows_in_few_bytes_are_believed_as_far_as_they_can_be_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1] * 50_000}), path)
    size = path.stat().st_size
    assert size < 5_000
    for few, a_byte, told in (
        (50_000, 0, False), (49_999, 0, True), (0, 50_000 // size + 1, False), (0, 50_000 // size - 1, True)
    ):  # fmt: skip
        monkeypatch.setattr(tables, "FEW_ROWS", few)
        monkeypatch.setattr(tables, "MOST_ROWS_A_BYTE", a_byte)
        if told:
            with pytest.raises(UsageError, match="promises 50,000 rows, which cannot be in it"), tables.opened(path):
                pass
        else:
            with tables.opened(path) as file:
                assert file.metadata.num_rows == 50_000
