"""Which places of a file are changed, to what, and that a change moves no other line."""

from __future__ import annotations

from pathlib import Path

from mutants import TESTS
from mutation import Mutant, mutants_of, places
from mutation_tests import Tests, asked

TEXT = '''LIMIT = 3


def least(a: int, b: int = 2) -> list[int]:
    """Docstrings stay."""
    if a < b and not a:
        raise ValueError("messages stay" + str(1))
    return [
        a + 1,
        min(a, b),
    ]


class Kept:
    def shape(self, x):
        return x.reshape(-1, 2)
'''


def made(folder: Path) -> list[Mutant]:
    (folder / "code.py").write_text(TEXT)
    return list(mutants_of(folder / "code.py", folder))


def test_operators_numbers_returns_and_extremes_are_changed_and_texts_and_shapes_are_not(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert sorted(mutant.becomes for mutant in found) == sorted([
        "LIMIT = 4",
        "def least(a: int, b: int = 3) -> list[int]:",
        "if a <= b and not a:",
        "if a >= b and not a:",
        "if a < b or not a:",
        "if a < b and  a:",
        "return None",
        "a - 1,",
        "a + 2,",
        "max(a, b),",
        "return None",
    ])  # fmt: skip
    assert [mutant.becomes for mutant in found if mutant.at_import] == [
        "LIMIT = 4",
        "def least(a: int, b: int = 3) -> list[int]:",
    ]


def test_a_change_of_several_lines_moves_none_behind_it(tmp_path: Path) -> None:
    for mutant in made(tmp_path):
        changed = mutant.into(TEXT.encode()).decode()
        assert changed != TEXT
        assert len(changed.splitlines()) == len(TEXT.splitlines())
        compile(changed, "code.py", "exec")


def test_a_line_is_known_by_its_function_so_that_changes_above_do_not_move_it(tmp_path: Path) -> None:
    made(tmp_path)
    before = places(tmp_path / "code.py")
    (tmp_path / "code.py").write_text("import math\n\n" + TEXT)
    after = places(tmp_path / "code.py")
    assert sorted(before.values()) == sorted(after.values())
    assert before[6] == after[8] == ("least", 2)
    assert ("Kept.shape", 1) in before.values()


def test_tests_of_the_line_are_asked_first_then_those_of_its_function_and_of_a_constant_all_that_concern_the_file(
    tmp_path: Path,
) -> None:
    found = made(tmp_path)

    def told(seconds: float, lines: list[int], *, ok: bool = True, file: str = "code.py") -> dict[str, object]:
        return {"s": seconds, "ok": ok, "lines": {file: {"least": lines}} if lines else {}}

    tests: Tests = {
        "a.py::slow": told(1.0, [2]),
        "a.py::quick": told(0.1, [2]),
        "a.py::fails": told(0.1, [2], ok=False),
        "a.py::too slow": told(100.0, [2]),
        "a.py::another line": told(0.1, [5]),
        "a.py::looks only": told(0.2, []),
        "b.py::elsewhere": told(0.1, [2], file="other.py"),
    }
    compared, constant, sum_of = (
        next(mutant for mutant in found if mutant.becomes.startswith(text)) for text in ("if a <=", "LIMIT", "a - 1")
    )
    assert asked(compared, tests, tmp_path) == ["a.py::quick", "a.py::slow", "a.py::another line"]
    assert asked(sum_of, tests, tmp_path) == ["a.py::another line", "a.py::quick", "a.py::slow"]
    assert asked(constant, tests, tmp_path) == [
        "a.py::quick",
        "a.py::another line",
        "a.py::looks only",
        "a.py::slow",
    ]


def test_every_test_that_mutants_are_shown_to_is_there() -> None:
    root = Path(__file__).parents[2]
    assert not [pattern for patterns in TESTS.values() for pattern in patterns if not any(root.glob(pattern))]
