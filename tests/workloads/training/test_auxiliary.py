from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ipw.workloads.training.methods.auxiliary import block_ends, cuts, pyramid_depth, sampled_layers


def test_layers_are_sampled_evenly_as_in_the_paper() -> None:
    assert sampled_layers(0, 13, 4) == [3, 6, 9, 12]
    assert sampled_layers(2, 13, 4) == [4, 7, 10, 12]
    assert sampled_layers(10, 13, 4) == [11, 12], "all that remain"
    assert sampled_layers(12, 13, 4) == []
    assert sampled_layers(0, 13, 0) == [], "a classifier alone"


def test_halves_are_rounded_to_the_even_layer() -> None:
    assert sampled_layers(0, 6, 2) == [2, 5]
    assert sampled_layers(1, 7, 2) == [4, 6]
    assert [pyramid_depth(k, 6, 4) for k in range(5)] == [4, 4, 3, 3, 2]
    assert [pyramid_depth(k, 4, 2) for k in range(3)] == [2, 2, 2]


def test_the_last_block_is_as_deep_as_the_others_with_their_auxiliary_networks() -> None:
    assert cuts(6, 2) == [0, 1, 2, 5]
    assert cuts(16, 6) == [*range(9), 15]
    assert cuts(6, 0) == [0, 1, 2, 3, 4, 5]
    assert cuts(3, 2) == cuts(3, 9) == [0, 2], "still local learning"
    assert cuts(1, 2) == [0]


@given(st.integers(2, 200), st.integers(0, 20))
def test_every_block_but_the_last_is_one_layer(layers: int, depth: int) -> None:
    ends = cuts(layers, depth)
    assert ends[:-1] == list(range(len(ends) - 1))
    assert ends[-1] == layers - 1
    assert len(ends) == max(layers - depth, 2)


def test_where_work_goes_on_six_layers() -> None:
    """Passes of a layer, model and heads, at depth 2: 12; with a head behind each layer 15."""
    by_paper = sum(len(sampled_layers(end, 6, 2)) for end in cuts(6, 2)[:-1])
    by_layer = sum(len(sampled_layers(end, 6, 2)) for end in block_ends(6, 6)[:-1])
    assert (6 + by_paper, 6 + by_layer) == (12, 15)


@given(st.integers(1, 200), st.data(), st.integers(1, 20))
def test_sampled_layers_lie_behind_the_block_in_order_and_end_with_the_last(
    layers: int, data: st.DataObject, depth: int
) -> None:
    after = data.draw(st.integers(0, layers - 1))
    sampled = sampled_layers(after, layers, depth)
    assert sampled == sorted(set(sampled))
    assert len(sampled) == min(depth, layers - 1 - after)
    assert all(after < layer < layers for layer in sampled)
    assert not sampled or sampled[-1] == layers - 1


@given(st.integers(2, 100), st.integers(1, 20))
def test_auxiliary_networks_get_shallower_towards_the_end_and_end_at_half(blocks: int, depth: int) -> None:
    depths = [pyramid_depth(k, blocks, depth) for k in range(blocks - 1)]
    assert depths[0] == depth
    assert depths == sorted(depths, reverse=True)
    if blocks > 2:
        assert depths[-1] == max(1, round(depth / 2 + 0.5))
    assert min(depths) >= 1


@given(st.integers(1, 100), st.data())
def test_blocks_make_up_the_model_in_sizes_that_differ_by_one_at_most(layers: int, data: st.DataObject) -> None:
    ends = block_ends(layers, data.draw(st.integers(1, layers)))
    sizes = [end - before for before, end in zip([-1, *ends], ends, strict=False)]
    assert sum(sizes) == layers
    assert ends[-1] == layers - 1
    assert max(sizes) - min(sizes) <= 1
