"""Server-sent events as the standard has them (WHATWG HTML, section 9.2.6), and as servers send them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.lm.http.sse import EventStream


class Heard(EventStream):
    """Writes down what it is given. Data is understood where it starts with a brace and ends with one."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, ...]] = []

    def data(self, payload: bytes, t_ns: int) -> bool:
        understood = not payload or (payload[:1] == b"{" and payload[-1:] == b"}")
        if understood and payload:
            self.heard.append(("data", payload.decode()))
        return understood

    def named(self, name: str, payload: bytes, t_ns: int) -> None:
        self.heard.append(("named", name, payload.decode(errors="replace")))

    def error_field(self, payload: bytes) -> None:
        self.heard.append(("error", payload.decode()))

    def unframed(self, line: bytes, t_ns: int) -> bool:
        return self.data(line, t_ns)

    def document(self, body: bytes, t_ns: int) -> None:
        self.heard.append(("document", body.decode(errors="replace")))


def heard(*blocks: bytes) -> list[tuple[str, ...]]:
    stream = Heard()
    for t_ns, block in enumerate(blocks):
        stream.feed(block, t_ns)
    stream.close(len(blocks))
    return stream.heard


TWO = [("data", "{1}"), ("data", "{2}")]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("data: {1}|\n|data: {2}\n|\n", TWO),
        ("data:{1}\n\ndata:  {2} \n\n", TWO),
        ("data: {1}\ndata: {2}\n", TWO),
        (": a comment\n\ndata: {1}\n:\ndata: {2}\nid: 7\nretry: 3\n\n", TWO),
        ("data: {1}\n\ndata\n\ndata:\n\ndata: {2}\n\n", TWO),
        ("\ufeffdata: {1}\n\ndata: {2}", TWO),
        ("data: {1,\ndata: 2}\n\n", [("named", "", "{1,\n2}")]),
        ("data: {1,\ndata\ndata: 2}\n\n", [("named", "", "{1,\n\n2}")]),
        ("event: x\ndata: {1}\n\ndata: {2}\n\n", [("named", "x", "{1}"), ("data", "{2}")]),
        ("data: {1}\nevent: x\n\ndata: {2}\n\n", [("data", "{1}"), ("named", "x", ""), ("data", "{2}")]),
        ("event:x\ndata: a: b\n\n", [("named", "x", "a: b")]),
        ("event\ndata: {1}\n\ndata: {2}\n\n", TWO),
        ("error: no\n\ndata: {2}\n\n", [("error", "no"), ("data", "{2}")]),
        ("{1}\n{2}\n", TWO),
        ("  \n\n {1} \n{2}", TWO),
        ("{\n  1\n}\n", [("document", "{\n  1\n}")]),
        ("{\n{1}\n}", [("document", "{\n{1}\n}")]),
        ("<html>\n<body>no</body>", [("document", "<html>\n<body>no</body>")]),
        ("data: {1}\n\n{2}\n", TWO),
    ],
)
def test_events_are_what_the_standard_says_with_any_end_of_a_line(
    text: str, events: list[tuple[str, ...]], end: str
) -> None:
    data = text.replace("|", "").replace("\n", end).encode()
    assert heard(data) == events
    assert heard(*(data[i : i + 1] for i in range(len(data)))) == events


def test_a_byte_order_mark_counts_at_the_start_alone() -> None:
    mark = "\ufeff".encode()
    assert heard(mark + b"data: {1}\n\n" + mark + b"data: {2}\n\n")[0] == ("data", "{1}")
    assert ("data", "{2}") not in heard(b"data: {1}\n\n", mark + b"data: {2}\n\n")


@pytest.mark.parametrize("cut", [1, 2, 3, 8])
def test_a_body_of_one_line_without_an_end_may_begin_with_a_byte_order_mark(cut: int) -> None:
    body = "\ufeffdata: {1}".encode()
    assert heard(body) == heard(body[:cut], body[cut:]) == [("data", "{1}")]


@pytest.mark.parametrize("cut", [b"data: {1", b"data: ", b"dat", b"event: err", b"id: 3", b"data: {1}\ndata: [DO"])
def test_a_last_line_that_was_cut_off_is_nothing(cut: bytes) -> None:
    assert [kind for kind, *_ in heard(b"data: {0}\n\n" + cut)].count("data") == 1 + cut.count(b"}")


@given(
    st.lists(
        st.sampled_from(
            [b"data: {1}", b"data: {", b"data: }", b"event: x", b"{2}", b"{", b": c", b"data", b"\n", b"\r"]
        )
        | st.binary(max_size=4),
        max_size=12,
    ),
    st.lists(st.integers(0, 1000), max_size=20),
)
def test_it_is_the_same_however_it_is_cut(pieces: list[bytes], places: list[int]) -> None:
    data = b"\n".join(pieces) + b" "
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    assert heard(*(data[a:b] for a, b in pairwise(edges))) == heard(data)
