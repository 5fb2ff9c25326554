"""Text that other programs wrote is read whatever its encoding, and JSON is found among lines of logs."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.foreign_text import decoded, json_values

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
    max_leaves=10,
)
OBJECT = st.dictionaries(st.text(), JSON, max_size=4)
LOG = ["", "ggml_cuda_init: found 1 device", "[INFO] loading", "[2026-01-01 10:00] ready", "{not json}", "main: done."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff\0"), min_size=1))
def test_text_is_the_same_in_every_encoding_that_has_a_mark(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_told_by_its_zeros(encoding: str) -> None:
    assert decoded('[{"model": "größe"}]\n'.encode(encoding)) == '[{"model": "größe"}]\n'


def test_bytes_that_are_no_text_do_not_raise() -> None:
    assert "�" in decoded(b"name,\xff\xfe\xfd,3")


@given(values=st.lists(OBJECT | st.lists(OBJECT, min_size=1, max_size=3), max_size=4),
       logs=st.lists(st.sampled_from(LOG), min_size=1), indent=st.sampled_from([None, 2]))  # fmt: skip
def test_values_among_log_lines_come_out_in_order(values: list[object], logs: list[str], indent: int | None) -> None:
    lines = [line for value in values for line in (*logs, json.dumps(value, indent=indent))]
    assert list(json_values("\n".join([*lines, *logs]))) == values


@pytest.mark.parametrize("text", ['[\n {"a": 1},\n', '{"a": 1}\n{"a": \n', '[{"a": [1, 2}]'])
def test_a_value_that_breaks_off_is_an_error_and_not_what_is_left_of_it(text: str) -> None:
    with pytest.raises(ValueError, match="Expecting"):
        list(json_values(text))
