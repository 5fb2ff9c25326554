"""Says which tests were skipped and why, and fails for a reason that tests/may_be_skipped.toml does not name.

python tools/skipped.py JUNIT_XML
"""

from __future__ import annotations

import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

LIST = Path(__file__).parents[1] / "tests/may_be_skipped.toml"


def skipped(report: Path) -> list[tuple[str, str]]:
    """Name and reason of each skipped test of a JUnit report."""
    cases = ET.parse(report).iter("testcase")  # noqa: S314 - pytest wrote it just now
    return [
        (f"{case.get('classname')}.{case.get('name')}".strip("."), _why(reason))
        for case in cases
        for reason in case.iter("skipped")
    ]


def _why(reason: ET.Element) -> str:
    """Why; where a whole file was skipped the message says only that, and the reason stands in the text."""
    message, text = reason.get("message") or "", reason.text or ""
    return text.rsplit("Skipped: ", 1)[-1].strip("'\")\n ") if message == "collection skipped" else message


def unexpected(found: list[tuple[str, str]], reasons: list[str]) -> list[tuple[str, str]]:
    """Those that were skipped for none of `reasons`."""
    return [(name, why) for name, why in found if why not in reasons]


def main() -> int:
    """Print all, and those that are not allowed on stderr; 1 where there are such."""
    found = skipped(Path(sys.argv[1]))
    for name, why in found:
        print(f"skipped: {name}: {why}")
    new = unexpected(found, tomllib.loads(LIST.read_text())["reasons"])
    for name, why in new:
        print(f"error: {name} was skipped: {why}. tests/may_be_skipped.toml does not allow this", file=sys.stderr)
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
