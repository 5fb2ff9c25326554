from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workloads.routing.simulation import trace

from ipw.errors import UsageError
from ipw.workloads.routing.trace import Writer, part_paths, read_index, read_part, read_parts, write_part

pytest.importorskip("safetensors", reason="routing is kept in safetensors files")

E, LAYERS, K = 6, 3, 2
RANDOM = np.random.default_rng(4)


def sequence(tokens: int) -> Any:
    return np.stack([trace(RANDOM, tokens, E, K) for _ in range(LAYERS)], axis=1).astype(np.int16)


def written(folder: Path, lengths: list[int], part_tokens: int) -> list[Any]:
    writer = Writer(folder, E, [f"layer {i}" for i in range(LAYERS)], part_tokens)
    sequences = [sequence(length) for length in lengths]
    for number, experts in enumerate(sequences):
        ids = np.arange(len(experts)) + 100 * number
        writer.add(experts, ids, max(1, len(experts) - 2), f"domain {number % 3}")
    writer.flush()
    return sequences


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), part_tokens=st.integers(1, 30))
def test_what_is_read_is_what_was_written_however_it_is_cut_into_parts(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], part_tokens: int
) -> None:
    folder = tmp_path_factory.mktemp("routing")
    sequences = written(folder, lengths, part_tokens)
    parts = list(read_parts(folder))
    back = [part.experts[a:b] for part in parts for a, b in zip(part.bounds[:-1], part.bounds[1:], strict=True)]
    assert [x.tolist() for x in back] == [x.tolist() for x in sequences]
    names = [part.domain_names[d] for part in parts for d in part.domains]
    assert names == [f"domain {i % 3}" for i in range(len(lengths))]
    generated = np.concatenate([part.generated for part in parts])
    expected = [place >= max(1, n - 2) for n in lengths for place in range(n)]
    assert generated.tolist() == expected
    index = read_index(folder)
    assert [index.domain_names[d] for d in index.domains] == names
    assert index.tokens.tolist() == lengths
    ids = np.concatenate([part.token_ids for part in parts])
    assert index.token_counts.tolist() == np.bincount(ids).tolist()


def test_parts_hold_about_as_many_tokens_as_they_should(tmp_path: Path) -> None:
    written(tmp_path, [10] * 9, 25)
    assert [len(part.experts) for part in read_parts(tmp_path)] == [30, 30, 30]


def test_no_half_written_part_is_left_behind(tmp_path: Path) -> None:
    written(tmp_path, [4], 100)
    assert [path.name for path in tmp_path.iterdir()] == ["routing-00000.safetensors"]


def test_ids_beyond_the_number_of_experts_are_told(tmp_path: Path) -> None:
    writer = Writer(tmp_path, 3, ["a", "b", "c"])
    writer.add(np.full((2, 3, 1), 3, np.int16), np.zeros(2, np.int32), 2, "x")
    with pytest.raises(UsageError, match="0…2"):
        writer.flush()


def test_a_file_that_is_no_trace_is_told(tmp_path: Path) -> None:
    path = tmp_path / "routing-00000.safetensors"
    path.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")
    with pytest.raises(UsageError, match="not a routing trace"):
        read_part(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="not a routing trace"):
        read_part(path)


def test_a_truncated_part_is_told(tmp_path: Path) -> None:
    written(tmp_path, [8], 100)
    (path,) = part_paths(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UsageError, match="not a routing trace"):
        read_part(path)


def test_parts_of_two_models_are_told(tmp_path: Path) -> None:
    written(tmp_path, [3], 100)
    (path,) = part_paths(tmp_path)
    other = read_part(path)
    write_part(
        tmp_path / "routing-00001.safetensors",
        type(other)(
            experts=other.experts, bounds=other.bounds, token_ids=other.token_ids, generated=other.generated,
            domains=other.domains, domain_names=other.domain_names, layers=("x", "y", "z"), num_experts=E,
        ),
    )  # fmt: skip
    with pytest.raises(UsageError, match="another model"):
        list(read_parts(tmp_path))


def test_a_folder_without_routing_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no routing"):
        list(read_parts(tmp_path))
