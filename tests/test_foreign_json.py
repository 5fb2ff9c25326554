from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.errors import UsageError
from ipw.foreign_json import MOST_DEEP, parsed, read_json
from ipw.foreign_toml import read_toml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_was_written_is_read(value: object) -> None:
    assert parsed(json.dumps(value)) == value
    assert parsed(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")) == value


@given(st.binary())
def test_any_bytes_are_a_value_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        parsed(raw)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e400", "9" * 400, "9" * 5000])
def test_a_number_that_no_floating_point_number_holds_is_absent(number: str) -> None:
    assert parsed(f'{{"a": {number}, "b": 1}}') == {"a": None, "b": 1}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 200 + "]" * 200])
def test_what_is_nested_deep_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=f"nested more than {MOST_DEEP} deep"):
        parsed(text)


def test_what_has_many_brackets_and_is_not_deep_is_read() -> None:
    assert len(parsed(json.dumps([[{}]] * 1000))) == 1000
    deepest = "[" * MOST_DEEP + "1" + "]" * MOST_DEEP
    assert json.dumps(parsed(deepest)) == deepest


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe\xfa", b"{", b"\x80{}", b"[1,]", b"\x00" * 10])
def test_a_file_that_is_no_json_is_one_line_with_its_name(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=r"a\.json cannot be read: ") as caught:
        read_json(path)
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_there_or_too_large_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UsageError, match="Is a directory"):
        read_json(tmp_path)
    (tmp_path / "large.json").write_bytes(b"[" + b"1," * (1 << 20) + b"1]")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_json(tmp_path / "large.json", most_bytes=1 << 20)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"a = " + b"[" * 50_000, "nested too deep"),
        (b"a = \xff", "is not valid TOML"),
        (b"= 1", "is not valid TOML"),
        (b"a = 1\na = 2", "is not valid TOML"),
        (b"\x00", "is not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_one_line_with_its_name(raw: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(raw)
    with pytest.raises(UsageError, match=told) as caught:
        read_toml(path)
    assert str(path) in caught.value.message
