"""What CI may skip (machines lack things, packages are installed), and what it tries again alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import again
import pytest
from skipped import skipped, unexpected

REPORT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_ran"/>
<testcase classname="tests.b" name="t"><skipped type="pytest.skip" message="no GPU">b.py:3: no GPU</skipped></testcase>
<testcase classname="" name="tests.c"><skipped type="pytest.skip" message="collection skipped">\
('c.py', 1, 'Skipped: the extra is not installed')</skipped></testcase>
</testsuite></testsuites>"""


def test_a_skip_for_a_reason_that_is_not_listed_is_named_whole_files_too(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    found = skipped(tmp_path / "report.xml")
    assert found == [("tests.b.t", "no GPU"), ("tests.c", "the extra is not installed")]
    assert unexpected(found, ["no GPU"]) == [("tests.c", "the extra is not installed")]


@pytest.mark.parametrize(
    ("failed", "code", "words"),
    [
        (["test_a.py::test_passes"], 0, "pass alone: test_a.py::test_passes"),
        (["test_a.py::test_passes", "test_a.py::test_fails"], 1, "fail alone too: test_a.py::test_fails"),
        (["test_a.py::test_gone"], 1, "fail alone too: test_a.py::test_gone"),
        ([f"test_a.py::test_{i}" for i in range(again.FEW + 1)], 1, "4 tests are on record as failed"),
        ([], 1, "0 tests are on record as failed"),
    ],
)
def test_a_few_that_failed_beside_others_are_tried_alone(
    tmp_path: Path, failed: list[str], code: int, words: str
) -> None:
    (tmp_path / "test_a.py").write_text("def test_passes(): ...\n\ndef test_fails(): assert False\n")
    record = tmp_path / again.FAILED
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(dict.fromkeys(failed, True)))
    tried = subprocess.run([sys.executable, again.__file__], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (tried.returncode, words in tried.stdout + tried.stderr) == (code, True), tried.stdout + tried.stderr
