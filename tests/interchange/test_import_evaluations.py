"""`ipw import` of evaluations by lm-eval and Inspect: what was right, and why the rest is not told."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from interchange.peer_files import LM_EVAL, imported, inspect_log, ipw, reason, values, written

from ipw.errors import UsageError


def test_tasks_of_lm_eval_have_their_accuracy_and_say_what_is_none(tmp_path: Path) -> None:
    one, two, words = imported(written(tmp_path / "results.json", LM_EVAL))
    accuracy = one["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["n"]) == (0.5, 100)
    assert (accuracy["low"], accuracy["high"]) == pytest.approx((0.402, 0.598), abs=1e-3)
    assert one["workload"]["parameters"] == {"dataset": "one", "scorer": "acc,none", "shots": 5, "limit": 100}
    assert two["metrics"]["accuracy"]["low"] is None
    assert "word_perplexity,none, none of which is a share" in reason(words, "accuracy")
    assert "--joules RUN" in reason(one, "energy_j")


def test_results_of_an_old_lm_eval_have_no_filters(tmp_path: Path) -> None:
    old = {"results": {"one": {"acc": 0.25, "acc_stderr": 0.05}}, "versions": {"one": 0}, "config": {"model": "hf"}}
    (told,) = imported(written(tmp_path / "old.json", old))
    assert values(told, "accuracy", "queries") == [0.25, None]
    assert told["metrics"]["accuracy"]["high"] > 0.3


def archive(path: Path, header: dict[str, Any], *, zstandard: bool) -> Path:
    """Write what Inspect does: members of Zstandard, which Python's own module cannot write before 3.14."""
    raw = json.dumps(header).encode()
    packed = pa.Codec("zstd").compress(raw, asbytes=True) if zstandard else raw
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if zstandard else zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", packed)
    if zstandard:
        content = bytearray(path.read_bytes())
        central = content.index(b"PK\x01\x02")
        struct.pack_into("<H", content, 8, 93)
        struct.pack_into("<H", content, central + 10, 93)
        for at in (22, central + 24):
            struct.pack_into("<I", content, at, len(raw))
            struct.pack_into("<I", content, at - 8, zlib.crc32(raw))
        path.write_bytes(content)
    return path


def test_logs_of_inspect_are_read_from_json_and_from_archives_of_either_kind(tmp_path: Path) -> None:
    paths = [
        written(tmp_path / "log.json", inspect_log()),
        archive(tmp_path / "deflated.eval", inspect_log(), zstandard=False),
        archive(tmp_path / "zstandard.eval", inspect_log(), zstandard=True),
    ]
    for path in paths:
        (told,) = imported(path)
        assert values(told, "accuracy", "queries", "duration_s") == [0.8, 20, 9]
        assert told["workload"]["parameters"]["scorer"] == "match/accuracy"
        assert told["valid"]


@pytest.mark.parametrize("zstandard", [False, True])
def test_a_damaged_archive_is_refused_in_one_line(zstandard: bool, tmp_path: Path) -> None:
    whole = archive(tmp_path / "log.eval", inspect_log(), zstandard=zstandard).read_bytes()
    for at in range(40, len(whole) - 100, 17):
        (tmp_path / "log.eval").write_bytes(whole[:at] + b"\xff\x00" + whole[at + 2 :])
        result = ipw("import", tmp_path / "log.eval", "--out", tmp_path / "runs")
        assert result.exception is None or isinstance(result.exception, UsageError), at
        if result.exception is not None:
            assert "\n" not in result.exception.message


def test_an_evaluation_that_ended_early_is_not_valid(tmp_path: Path) -> None:
    (told,) = imported(written(tmp_path / "log.json", inspect_log("cancelled", done=5)))
    assert not told["valid"]
    assert "its status is cancelled" in told["validity"][0]["detail"]
