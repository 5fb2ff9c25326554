"""Traces from where people have them become the same stream; what is no whole trace is told in one line."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workloads.routing.simulation import trace

from ipw.errors import UsageError
from ipw.workloads.routing.streams import stream as spooling
from ipw.workloads.routing.streams import tables
from ipw.workloads.routing.streams.opened import open_stream
from ipw.workloads.routing.streams.stream import Stream
from ipw.workloads.routing.streams.tables import column_names
from ipw.workloads.routing.trace import Writer

pytest.importorskip("safetensors", reason="routing is kept in safetensors files")
TOKENS, LAYERS, EXPERTS, K, PROMPT = 60, 3, 12, 4, 25


def made() -> Any:
    """[tokens, layers, k]"""
    random = np.random.default_rng(0)
    return np.stack([trace(random, TOKENS, EXPERTS, K, "sticky") for _ in range(LAYERS)], axis=1)


ROUTING = made()


def ubatches() -> Iterator[tuple[int, int]]:
    """A prompt in two batches, then single tokens."""
    yield from [(0, 16), (16, PROMPT)]
    yield from ((t, t + 1) for t in range(PROMPT, TOKENS))


def by_layer() -> Iterator[tuple[int, int, list[int]]]:
    """Token, layer and ids, in the order in which an engine computes them."""
    for start, stop in ubatches():
        for layer in range(LAYERS):
            for t in range(start, stop):
                yield t, layer, ROUTING[t, layer].tolist()


def phase(t: int) -> str:
    return "prefill" if t < PROMPT else "decode"


def upstream() -> str:
    return "layer,expert\n" + "".join(f"{layer},{e}\n" for _, layer, ids in by_layer() for e in ids)


def with_phases() -> str:
    rows = (f"{phase(t)},{t},{layer},{rank},{e}\n" for t, layer, ids in by_layer() for rank, e in enumerate(ids))
    return "phase,token,layer,rank,expert\n" + "".join(rows)


def wide() -> str:
    def position(t: int) -> int:
        return t - PROMPT

    return "".join(f"{position(t)},{layer},{','.join(map(str, ids))}\n" for t, layer, ids in by_layer())


def routes(before: int = 0) -> str:
    told: list[dict[str, Any]] = [
        {"type": "meta", "model_id": "some/moe", "top_k": K, "layers_logged": list(range(LAYERS))}
    ]
    for layer in range(LAYERS):
        same = {"type": "route", "layer": layer, "topk_ids": list(range(K))}
        told += [same | {"token_idx": t} for t in range(before)]
    for t, layer, ids in by_layer():
        told.append(
            {
                "type": "route",
                "req_id": "r1",
                "layer": layer,
                "token_idx": t,
                "topk_ids": ids,
                "topk_weights": [0.1] * K,
            }
        )
    return "".join(json.dumps(each) + "\n" for each in told)


def npy(array: Any) -> str:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return base64.b64encode(buffer.getvalue()).decode()


def opened(folder: Path, name: str, content: str | bytes, **options: Any) -> Stream:
    source, spool = folder / name, folder / "spool"
    spool.mkdir()
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_stream(source, spool, **options)


def whole(stream: Stream) -> Any:
    return np.stack([stream.read(layer, 0, stream.tokens) for layer in range(len(stream.layers))], axis=1)


@pytest.mark.parametrize(
    ("name", "content", "says_phase"),
    [
        ("upstream.csv", upstream(), False),
        ("no-header.csv", upstream().partition("\n")[2], False),
        ("semicolons.csv", upstream().replace(",", ";"), False),
        ("marked.csv", "\ufeff" + upstream().replace("\n", "\r\n"), False),
        ("commented.csv", "# model=some\n" + upstream(), False),
        ("tabs.tsv", upstream().replace(",", "\t"), False),
        ("phases.csv", with_phases(), True),
        ("wide.csv", wide(), True),
        ("routes.jsonl", routes(), False),
        ("lists.jsonl", json.dumps({"routed_experts": ROUTING.tolist()}), False),
        ("dump.npy", base64.b64decode(npy(ROUTING)), False),
    ],
)
def test_every_form_gives_the_same_stream(tmp_path: Path, name: str, content: str | bytes, says_phase: bool) -> None:
    stream = opened(tmp_path, name, content, num_experts=EXPERTS)
    assert (stream.k, stream.tokens, stream.layers) == (K, TOKENS, tuple(range(LAYERS)))
    np.testing.assert_array_equal(whole(stream), ROUTING)
    assert stream.generated == says_phase
    if says_phase:
        assert [(run.start, run.generated) for run in stream.runs] == [(0, False), (PROMPT, True)]


def test_a_small_block_or_chunk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BLOCK_BYTES", 64)
    monkeypatch.setattr(tables, "LINES", 5)
    monkeypatch.setattr(spooling, "CHUNK", 13)
    for name, content in (("a.csv", upstream()), ("b.csv", with_phases()), ("c.csv", wide()), ("d.jsonl", routes(40))):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        np.testing.assert_array_equal(whole(opened(folder, name, content, num_experts=EXPERTS)), ROUTING)


def test_columns_with_other_names_are_told_by_option(tmp_path: Path) -> None:
    content = with_phases().replace("phase,token,layer,rank,expert", "was,t,l,r,x")
    stream = opened(tmp_path, "x.csv", content, columns=column_names("layer=l,expert=x,token=t,phase=was"))
    np.testing.assert_array_equal(whole(stream), ROUTING)
    assert stream.num_experts == EXPERTS
    assert "taken for 12" in stream.notes[0]


def test_files_that_were_joined_are_texts_of_their_own(tmp_path: Path) -> None:
    stream = opened(tmp_path, "merged.csv", wide() * 3)
    assert stream.tokens == 3 * TOKENS
    assert [run.text for run in stream.runs] == [0, 0, 1, 1, 2, 2]
    assert len(stream.domains) == 3


def test_requests_and_domains_are_told_apart(tmp_path: Path) -> None:
    rows = [f"{'ab'[t % 2]},{'code' if t % 2 else 'prose'},{t},{0},{e}" for t in range(6) for e in ROUTING[t, 0]]
    stream = opened(tmp_path, "x.csv", "request,domain,token,layer,expert\n" + "\n".join(rows))
    assert [run.text for run in stream.runs] == [0, 1, 0, 1, 0, 1]
    assert [stream.domain_names[d] for d in stream.domains] == ["prose", "code"]


def test_what_sglang_returns_needs_k_and_is_told_apart_by_its_counts(tmp_path: Path) -> None:
    held = base64.b64encode(ROUTING.astype("<i4").tobytes()).decode()
    meta = {"routed_experts": held, "prompt_tokens": PROMPT, "completion_tokens": TOKENS - PROMPT + 1}
    content = json.dumps({"text": "…", "meta_info": meta}) + "\n"
    stream = opened(tmp_path, "x.jsonl", content, k=K)
    np.testing.assert_array_equal(whole(stream), ROUTING)
    assert stream.runs[1].start == PROMPT
    with pytest.raises(UsageError, match="does not tell its shape"):
        open_stream(tmp_path / "x.jsonl", tmp_path)
    (tmp_path / "y.jsonl").write_text(
        json.dumps({"meta_info": meta | {"routed_experts": held[: len(held) // 2 // 4 * 4]}})
    )
    with pytest.raises(UsageError, match="360 ids are not 4"):
        open_stream(tmp_path / "y.jsonl", tmp_path, k=K)


def test_what_newer_vllm_returns_has_the_prompt_by_itself(tmp_path: Path) -> None:
    content = json.dumps(
        {
            "prompt_routed_experts": ROUTING[:PROMPT].tolist(),
            "choices": [{"routed_experts": npy(ROUTING[PROMPT:].astype(np.uint8))}],
            "usage": {"prompt_tokens": PROMPT, "completion_tokens": TOKENS - PROMPT},
        }
    )
    stream = opened(tmp_path, "x.jsonl", content)
    np.testing.assert_array_equal(whole(stream), ROUTING)
    assert [run.generated for run in stream.runs] == [False, True]


def test_one_response_over_several_lines_and_a_list_of_them_are_read(tmp_path: Path) -> None:
    response = {"routed_experts": ROUTING.tolist(), "usage": {"prompt_tokens": PROMPT}}
    for name, content in (("one.json", json.dumps([response], indent=1)), ("two.jsonl", json.dumps([response]))):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        np.testing.assert_array_equal(whole(opened(folder, name, content)), ROUTING)


def test_tokens_that_a_server_has_no_routing_of_are_left_out_and_told(tmp_path: Path) -> None:
    holes = ROUTING.copy()
    holes[[3, 30]] = -1
    stream = opened(tmp_path, "x.jsonl", json.dumps({"routed_experts": holes.tolist(), "prompt_tokens": PROMPT}))
    np.testing.assert_array_equal(whole(stream), np.delete(ROUTING, [3, 30], axis=0))
    assert stream.excluded[0].rows == 2
    assert [run.start for run in stream.runs] == [0, PROMPT - 1]


def test_parts_of_ours_keep_prompts_texts_and_layers(tmp_path: Path) -> None:
    writer = Writer(tmp_path, EXPERTS, [f"model.layers.{2 + layer}.mlp.experts" for layer in range(LAYERS)], 30)
    for start, domain in ((0, "code"), (20, "prose"), (40, "code")):
        writer.add(ROUTING[start : start + 20].astype(np.int16), np.zeros(20, np.int32), 15, domain)
    writer.flush()
    (tmp_path / "spool").mkdir()
    stream = open_stream(tmp_path, tmp_path / "spool")
    np.testing.assert_array_equal(whole(stream), ROUTING)
    assert stream.layers == (2, 3, 4)
    assert [(run.start, run.text, run.generated) for run in stream.runs] == [
        (0, 0, False), (15, 0, True), (20, 1, False), (35, 1, True), (40, 2, False), (55, 2, True),
    ]  # fmt: skip
    assert stream.domains == (0, 1, 0)


def test_a_profiling_pass_is_found_and_left_out(tmp_path: Path) -> None:
    stream = opened(tmp_path, "x.jsonl", routes(before=100))
    np.testing.assert_array_equal(whole(stream), ROUTING)
    assert stream.excluded[0].rows == 100 * LAYERS
    assert "profiling pass" in stream.excluded[0].reason
    assert stream.runs[0].start == 0


def broken(name: str) -> tuple[str, str]:
    lines = upstream().splitlines(keepends=True)
    short = [line for t, line in enumerate(lines) if not (line.startswith("1,") and t > 600)]
    return {
        "ids beyond E": ("x.csv", upstream() + "0,12\n0,1\n0,2\n0,3\n1,0\n1,1\n1,2\n1,3\n2,0\n2,1\n2,2\n2,3\n"),
        "a layer that is shorter": ("x.csv", "".join(short)),
        "cut in a token": ("x.csv", with_phases()[: with_phases().rindex("decode")]),
        "cut in a line": ("x.csv", with_phases()[:-9]),
        "cut in a wide line": ("x.csv", wide()[:-5]),
        "cut in a layer": ("x.csv", "".join(lines[:-4])),
        "cut in JSON": ("x.jsonl", routes()[:-40]),
        "a profiling pass alone": ("x.jsonl", "".join(routes(100).splitlines(keepends=True)[:301])),
        "an empty file": ("x.csv", ""),
        "a header alone": ("x.csv", "layer,expert\n"),
        "no layer": ("x.csv", "token,expert\n0,1\n"),
        "words": ("x.csv", "layer,expert\n0,one\n"),
        "an id below 0": ("x.csv", "layer,expert\n0,-1\n"),
        "a layer below 0": ("x.csv", "layer,expert\n-1,1\n"),
        "one layer of unknown k": ("x.csv", "layer,expert\n0,1\n0,2\n"),
        "an expert twice": ("x.csv", "token,layer,expert\n0,0,1\n0,0,1\n"),
        "unlike k": ("x.csv", "token,layer,expert\n0,0,1\n0,0,2\n1,0,1\n2,0,1\n2,0,3\n"),
        "rows of unlike k": ("x.jsonl", '{"layer": 0, "topk_ids": [1, 2]}\n{"layer": 0, "topk_ids": [1]}\n'),
        "no ids": ("x.jsonl", '{"type": "route", "layer": 0, "topk_ids": "1"}\n'),
    }[name]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ids beyond E", "names expert 12, but a layer has 12"),
        ("a layer that is shorter", "layers are of unlike length: layer 1"),
        ("cut in a token", "cut short"),
        ("cut in a line", "not a whole table|cut short"),
        ("cut in a wide line", "not a whole table"),
        ("cut in a layer", "unlike length"),
        ("cut in JSON", "is not JSON"),
        ("a profiling pass alone", "profiling pass alone: all 100 tokens"),
        ("an empty file", "holds no routing"),
        ("a header alone", "holds no routing"),
        ("no layer", "no column that names the layer"),
        ("words", "not a whole table"),
        ("an id below 0", "-1 is not the id"),
        ("a layer below 0", "-1 is not the number"),
        ("one layer of unknown k", "which experts are of one token"),
        ("an expert twice", "names an expert twice"),
        ("unlike k", "names 1 experts, not 2"),
        ("rows of unlike k", "unlike numbers"),
        ("no ids", "no layer and experts"),
    ],
)
def test_what_is_no_whole_trace_is_told_in_one_line(tmp_path: Path, name: str, said: str) -> None:
    file, content = broken(name)
    with pytest.raises(UsageError) as told:
        opened(tmp_path, file, content, num_experts=EXPERTS)
    line = f"{told.value.message} {told.value.hint}"
    assert "\n" not in line
    assert any(part in line for part in said.split("|")), line


def test_columns_that_cannot_be_are_told() -> None:
    with pytest.raises(UsageError, match="no column 'lyer'"):
        column_names("lyer=x")
    with pytest.raises(UsageError, match="names no column"):
        column_names("layer")
