from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workloads.routing.simulation import trace

from ipw.errors import UsageError
from ipw.workloads.routing.imports import import_trace
from ipw.workloads.routing.trace import read_parts

pytest.importorskip("safetensors", reason="routing is kept in safetensors files")


def routed(tokens: int = 5, layers: int = 2) -> Any:
    return np.stack([trace(np.random.default_rng(i), tokens, 8, 2) for i in range(layers)], axis=1).astype(np.int16)


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_responses_of_vllm_become_sequences_with_prompt_and_answer_told_apart(tmp_path: Path) -> None:
    experts = routed()
    response = {
        "choices": [{"routed_experts": base64.b64encode(npy(experts)).decode()}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3},
    }
    source = tmp_path / "responses.jsonl"
    source.write_text(json.dumps(response) + "\n" + json.dumps(response | {"domain": "code"}) + "\n")
    import_trace(source, tmp_path, 8)
    (part,) = read_parts(tmp_path)
    assert part.experts.tolist() == [*experts.tolist(), *experts.tolist()]
    assert part.generated.tolist() == [False, False, False, True, True] * 2
    assert [part.domain_names[d] for d in part.domains] == ["all", "code"]


def test_arrays_and_plain_lists_are_read_alike(tmp_path: Path) -> None:
    experts = routed()
    for name, content in (
        ("one.npy", npy(experts)),
        ("lists.jsonl", json.dumps({"routed_experts": experts.tolist()}).encode()),
    ):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (tmp_path / name).write_bytes(content)
        import_trace(tmp_path / name, folder, 8)
        assert next(read_parts(folder)).experts.tolist() == experts.tolist()


def test_a_folder_of_arrays_is_a_sequence_each(tmp_path: Path) -> None:
    source, folder = tmp_path / "arrays", tmp_path / "run"
    source.mkdir()
    folder.mkdir()
    for i in range(3):
        (source / f"{i}.npy").write_bytes(npy(routed(tokens=i + 1)))
    import_trace(source, folder, 8)
    assert next(read_parts(folder)).bounds.tolist() == [0, 1, 3, 6]


def test_layers_that_vllm_filled_with_zeros_are_left_out(tmp_path: Path) -> None:
    experts = np.concatenate([np.zeros((5, 1, 2), np.int16), routed()], axis=1)
    (tmp_path / "x.npy").write_bytes(npy(experts))
    import_trace(tmp_path / "x.npy", tmp_path, 8)
    part = next(read_parts(tmp_path))
    assert part.layers == ("layer 1", "layer 2")
    assert part.experts.tolist() == experts[:, 1:].tolist()


def test_parts_of_our_own_are_taken_over(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    for folder in (first, second, third):
        folder.mkdir()
    (tmp_path / "x.npy").write_bytes(npy(routed()))
    import_trace(tmp_path / "x.npy", first, 8)
    import_trace(first, second)
    import_trace(first / "routing-00000.safetensors", third)
    for folder in (second, third):
        assert next(read_parts(folder)).experts.tolist() == routed().tolist()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps({"choices": [{"text": "hi"}]}), "no routed_experts"),
        (json.dumps({"routed_experts": "%%%"}), "base64"),
        (json.dumps({"routed_experts": base64.b64encode(b"junk").decode()}), "no .npy array"),
        (json.dumps({"routed_experts": [[[0, 1]], [[2]]]}), "unequal numbers"),
        (json.dumps({"routed_experts": [[0, 1]]}), "tokens, layers, k"),
        (json.dumps({"routed_experts": [[[0.5]]]}), "integers"),
        (json.dumps({"routed_experts": [[[0, 9]]]}), "0…7"),
        (json.dumps({"routed_experts": [[[0, 0]]]}), "no layer that routes"),
        (json.dumps({"routed_experts": [[list(range(9))]]}), "more than the 8"),
        ("", "holds no routing"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, content: str, said: str) -> None:
    source = tmp_path / "x.jsonl"
    source.write_text(content)
    with pytest.raises(UsageError, match=said):
        import_trace(source, tmp_path, 8)


def test_arrays_with_objects_in_them_are_never_unpickled(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy(np.array([[["evil"]]], object)))
    with pytest.raises(UsageError, match=r"no \.npy array"):
        import_trace(tmp_path / "x.npy", tmp_path, 8)


def test_responses_that_differ_in_shape_are_told(tmp_path: Path) -> None:
    source = tmp_path / "x.jsonl"
    lines = [json.dumps({"routed_experts": routed(layers=n).tolist()}) for n in (2, 3)]
    source.write_text("\n".join(lines))
    with pytest.raises(UsageError, match="line 2"):
        import_trace(source, tmp_path, 8)


def test_the_number_of_experts_has_to_be_known(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(npy(routed()))
    with pytest.raises(UsageError, match="how many experts"):
        import_trace(tmp_path / "x.npy", tmp_path)
    with pytest.raises(UsageError, match="not there"):
        import_trace(tmp_path / "y.npy", tmp_path)
