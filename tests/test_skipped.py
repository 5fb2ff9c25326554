"""What CI may skip: machines lack things, packages are installed."""

from __future__ import annotations

from pathlib import Path

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
