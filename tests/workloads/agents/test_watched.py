"""An answer that is looked at many blocks at once says what it says block by block, at the moments of its blocks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from workloads.agents.exchanges import delta, sse

from ipw.workloads.agents.gateway.recorder import LEFT
from ipw.workloads.agents.gateway.watched import AT_ONCE, LONG, Watched
from ipw.workloads.agents.reading.apis import APIS
from ipw.workloads.lm.http.reply import Reply

CHAT = APIS["/chat/completions"]
STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
GAP_NS = 20_000_000


def answer_of(number: int) -> list[bytes]:
    """Blocks of an answer of so many tokens, some of which come two at once and some cut in two."""
    events = [sse(delta(f"word {i} ")) for i in range(number)]
    whole = b"".join(events) + b"data: [DONE]\n\n"
    return [whole[at : at + 170] for at in range(0, len(whole), 170)]


def watched(blocks: Sequence[bytes], **headers: str) -> Watched:
    found = Watched(CHAT, "/v1/chat/completions", [], {}, None, None)
    found.reply.sent(1)
    found.head(200, STREAM | {name.replace("_", "-"): value for name, value in headers.items()})
    for number, block in enumerate(blocks, 1):
        found.block(block, number * GAP_NS)
    return found


@pytest.mark.parametrize("number", [1, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 5 * AT_ONCE])
def test_an_answer_read_many_blocks_at_once_is_that_read_one_by_one(number: int) -> None:
    blocks = answer_of(number)
    reply = Reply(CHAT.said())
    reply.sent(1)
    reply.head(200, STREAM)
    for place, block in enumerate(blocks, 1):
        reply.block(block, place * GAP_NS)
    reply.close()
    found = watched(blocks).ended(None)
    assert found.answer(None) == reply.answer(None)
    assert found.answer(None).status == "ok"
    assert found.arrivals() == reply.arrivals()


def test_moments_are_those_at_which_blocks_came_and_not_at_which_they_are_read() -> None:
    blocks = [sse(delta("word ")) for _ in range(3)]
    found = watched(blocks).ended(LEFT).answer(None)
    assert (found.first_token_ns, found.last_token_ns, found.chunks) == (GAP_NS, 3 * GAP_NS, 3)
    assert (found.error, found.response) == (LEFT, "word word word ")


def test_blocks_of_a_compressed_answer_are_undone_in_their_order() -> None:
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH) for block in answer_of(100)]
    assert watched(pieces, content_encoding="gzip").ended(None).answer(None).response == "".join(
        f"word {i} " for i in range(100)
    )


def test_a_long_block_is_not_kept_for_later() -> None:
    found = watched([sse(delta("a" * LONG))])
    assert found.stream.content == ["a" * LONG]
