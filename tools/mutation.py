"""Small changes that a test should notice: every place of a file where one can be made."""

from __future__ import annotations

import ast
import bisect
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SWAPS: dict[type, list[str]] = {
    ast.Lt: ["<=", ">="], ast.LtE: ["<", ">"], ast.Gt: [">=", "<="], ast.GtE: [">", "<"], ast.Eq: ["!="],
    ast.NotEq: ["=="], ast.Is: ["is not"], ast.IsNot: ["is"], ast.In: ["not in"], ast.NotIn: ["in"],
    ast.Add: ["-"], ast.Sub: ["+"], ast.Mult: ["/"], ast.Div: ["*"], ast.FloorDiv: ["/"], ast.Mod: ["*"],
    ast.Pow: ["*"], ast.BitAnd: ["|"], ast.BitOr: ["&"], ast.LShift: [">>"], ast.RShift: ["<<"],
    ast.And: ["or"], ast.Or: ["and"],
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}
STYLE = {"strict", "frozen", "slots", "kw_only", "encoding", "indent", "stacklevel", "help", "hint", "title"}
"""Keywords that no result hangs on."""


class Mutant(NamedTuple):
    """One change: the text from `start` to `end` (offsets in the file's bytes) becomes `new`."""

    file: str
    at_import: bool
    """Whether it takes effect as the module is imported: a constant, a default."""
    lines: frozenset[int]
    """Lines that run when the changed text does."""
    start: int
    end: int
    old: str
    new: str
    becomes: str
    """Its line (of several, the first), once changed."""

    @property
    def line(self) -> int:
        """Where it begins."""
        return min(self.lines)

    def into(self, text: bytes) -> bytes:
        """Change the file's text; later lines stay where they are."""
        lost = text[self.start : self.end].count(b"\n") - self.new.count("\n")
        return text[: self.start] + self.new.encode() + b"\n" * lost + text[self.end :]


def mutants_of(path: Path, root: Path) -> Iterator[Mutant]:
    """Every change that is tried in one file. Docstrings, annotations, messages and decorators are left alone."""
    text = path.read_bytes()
    offsets = [0]
    for line in text.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))

    def span(node: Any) -> tuple[int, int]:
        start = offsets[node.lineno - 1] + node.col_offset
        return start, offsets[node.end_lineno - 1] + node.end_col_offset

    def change(node: Any, at_import: bool, start: int, end: int, new: str) -> Mutant:
        first, last = bisect.bisect(offsets, start), bisect.bisect(offsets, end)
        changed = text[offsets[first - 1] : start] + new.encode() + text[end : offsets[last]]
        becomes = changed.decode().splitlines()[0].strip()
        lines = frozenset({node.lineno, first})
        return Mutant(str(path.relative_to(root)), at_import, lines, start, end, text[start:end].decode(), new, becomes)

    def between(node: Any, at_import: bool, left: Any, right: Any, kind: type) -> Iterator[Mutant]:
        """Swap the operator that stands between two operands, brackets around them or not."""
        start, end = span(left)[1], span(right)[0]
        gap = text[start:end].decode()
        said = gap.strip(" ()\n\\")
        if said in {"is not", "not in"} or (said and " " not in said and "#" not in gap):
            at = start + gap.index(said)
            for new in SWAPS.get(kind, []):
                yield change(node, at_import, at, at + len(said), new)

    def visit(node: ast.AST, at_import: bool) -> Iterator[Mutant]:  # noqa: PLR0912 - a case a kind
        match node:
            case ast.JoinedStr() | ast.Raise() | ast.Assert() | ast.Import() | ast.ImportFrom():
                return
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
                    yield from visit(default, True)
                for statement in node.body:
                    yield from visit(statement, False)
                return
            case ast.ClassDef():
                for statement in node.body:
                    yield from visit(statement, at_import)
                return
            case ast.AnnAssign():
                if node.value:
                    yield from visit(node.value, at_import)
                return
            case ast.Lambda():
                yield from visit(node.body, False)
                return
            case ast.Call(func=ast.Attribute(attr="reshape") as func):
                yield from visit(func, at_import)  # numpy takes any negative number for the -1 that most are
                return
            case ast.keyword(arg=name) if name in STYLE:
                return
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                return
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for one, op, other in zip([left, *comparators], ops, comparators, strict=False):
                    yield from between(node, at_import, one, other, type(op))
            case ast.BinOp(left=left, op=op, right=right):
                if not any(isinstance(side, ast.JoinedStr) or _is_text(side) for side in (left, right)):
                    yield from between(node, at_import, left, right, type(op))
            case ast.BoolOp(op=op, values=values):
                for one, other in itertools.pairwise(values):
                    yield from between(node, at_import, one, other, type(op))
            case ast.UnaryOp(op=ast.Not() | ast.USub() as op):
                start = span(node)[0]
                yield change(node, at_import, start, start + (3 if isinstance(op, ast.Not) else 1), "")
            case ast.Constant(value=bool(value)):
                yield change(node, at_import, *span(node), str(not value))
            case ast.Constant(value=int(value)):
                yield change(node, at_import, *span(node), str(value + 1 if value < 1000 else 2 * value))
            case ast.Constant(value=float(value)):
                yield change(node, at_import, *span(node), repr(value * 2 or 1.0))
            case ast.Return(value=value) if value and not isinstance(value, ast.Constant):
                yield change(node, at_import, *span(value), "None")
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name) as func) if name in NAMES:
                end = span(func)[1]
                yield change(node, at_import, end - len(name), end, NAMES[name])
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import)

    yield from visit(ast.parse(text), True)


def places(path: Path) -> dict[int, tuple[str, int]]:
    """Tell of each line in which function or method it stands, and how far down: no change above moves it."""
    found: dict[int, tuple[str, int]] = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min((d.lineno for d in child.decorator_list), default=child.lineno)
                for line in range(first, (child.end_lineno or first) + 1):
                    found[line] = f"{name}{child.name}", line - first
            elif isinstance(child, ast.ClassDef):
                visit(child, f"{name}{child.name}.")

    visit(ast.parse(path.read_bytes()), "")
    return found


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
