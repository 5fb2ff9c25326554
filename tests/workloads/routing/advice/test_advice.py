"""The advice is right on traces whose best policy is known, or says that policies are not told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workloads.routing.measures.plain import bounded_hits, pooled_hits, ranked_hits, segmented_hits
from workloads.routing.simulation import trace

from ipw.errors import UsageError
from ipw.workloads.routing.advice.advice import Budget, advice_for
from ipw.workloads.routing.advice.model import Sizes
from ipw.workloads.routing.advice.prices import Prices
from ipw.workloads.routing.measures.curves import Trace, all_curves
from ipw.workloads.routing.measures.units import Units, units_of
from ipw.workloads.routing.streams.stream import Spool, Stream, TokenRun, finished

Ints = npt.NDArray[np.integer[Any]]
SIZE = 1000


def stream_of(folder: Path, experts: Ints, num_experts: int, runs: list[TokenRun] | None = None) -> Stream:
    """Of [tokens, layers, k] ids; one text, if not told otherwise."""
    spool = Spool(folder)
    for layer in range(experts.shape[1]):
        spool.add(layer, experts[:, layer], "here")
    runs = runs or [TokenRun(0, 0, None)]
    texts = max(run.text for run in runs) + 1
    return finished(spool, folder, experts.shape[2], runs, [0] * texts, ["all"], num_experts)


def many(kind: str, tokens: int, layers: int, num_experts: int, k: int, seed: int = 0) -> Ints:
    random = np.random.default_rng(seed)
    if kind == "cyclic":
        one = (np.arange(tokens * k).reshape(tokens, k) % num_experts).astype(np.int32)
        return np.stack([one] * layers, axis=1)
    if kind == "rotating":  # favourites that change for good
        favour = 3.0 * np.sin(np.arange(num_experts) * 0.7 + np.arange(tokens)[:, None] / 60)
        noise = random.gumbel(size=(tokens, layers, num_experts))
        return np.argsort(-(favour[:, None] + noise), axis=2)[:, :, :k].astype(np.int32)
    return np.stack([trace(random, tokens, num_experts, k, kind) for _ in range(layers)], axis=1)


def sizes(layers: int, num_experts: int, k: int, each: tuple[int, ...] | None = None) -> Sizes:
    return Sizes("some", tuple(range(layers)), each or (SIZE,) * layers, num_experts, k, 0, 0, "told")


def advised(folder: Path, experts: Ints, num_experts: int, slots: int, prices: Prices | None = None) -> dict[str, Any]:
    layers = experts.shape[1]
    budget = Budget(slots * layers * SIZE + SIZE, 0, 0, 0)
    stream = stream_of(folder, experts, num_experts)
    return advice_for(stream, sizes(layers, num_experts, experts.shape[2]), budget, prices or Prices(), folder)


@pytest.mark.parametrize(
    ("kind", "right"),
    [
        ("zipf", {"static", "lfu"}),
        ("cyclic", {"static"}),
        ("rotating", {"lru", "lfru", "slru"}),
        ("uniform", set()),
    ],
)
@pytest.mark.parametrize("slots", [5, 10])
def test_the_advice_is_right_or_says_that_it_is_not_told_apart(
    tmp_path: Path, kind: str, right: set[str], slots: int
) -> None:
    found = advised(tmp_path, many(kind, 3000, 2, 20, 3), 20, slots)["advice"]
    if found["told_apart"]:
        assert found["policy"] in right
    else:
        assert "not told apart" in found["reason"]
    assert found["slots"] == slots * (2 if found["per"] == "pool" else 1)
    assert found["hit_rate"]["low"] <= found["hit_rate"]["value"] <= found["hit_rate"]["high"]


def test_clear_cases_are_told_apart(tmp_path: Path) -> None:
    """Otherwise an advice that never decides would pass above."""
    for kind, right in (("cyclic", "static"), ("zipf", "static")):
        folder = tmp_path / kind
        folder.mkdir()
        found = advised(folder, many(kind, 6000, 2, 20, 2), 20, 6)["advice"]
        assert found["policy"] == right
        assert found["told_apart"] or kind == "zipf"


def test_every_curve_of_many_texts_and_layers_equals_its_simulation(tmp_path: Path) -> None:
    experts = many("sticky", 240, 3, 7, 3)
    runs = [TokenRun(start, start // 20, start % 20 >= 8) for start in range(0, 240, 4)]
    runs = [run for place, run in enumerate(runs) if place == 0 or run[1:] != runs[place - 1][1:]]
    stream = stream_of(tmp_path, experts, 7, runs)
    units = units_of(stream)
    assert units.total == 12
    layer_bytes = np.array([3, 5, 2])
    curves, counts, uses = all_curves(Trace(stream, units, layer_bytes, tmp_path), inserts=2)
    own = units.of(0, 240)
    assert counts.tokens.tolist() == [12] * 12
    assert (own >= 0).tolist() == [t % 20 >= 8 for t in range(240)]

    def by_unit(per_token: list[int]) -> list[int]:
        return [int(np.array(per_token)[own == unit].sum()) for unit in range(12)]

    def plain(policy: str, size: int, tokens: list[list[int]]) -> list[int]:
        if policy == "slru":
            return segmented_hits(tokens, size)
        return bounded_hits(tokens, size, 2) if policy == "lru-bounded" else ranked_hits(tokens, policy, size, 16)

    for curve in curves:
        for at, size in enumerate(curve.slots.tolist()):
            if curve.per == "layer" and curve.policy != "static":
                each = np.array([by_unit(plain(curve.policy, size, experts[:, n].tolist())) for n in range(3)])
                assert curve.hits[:, at].tolist() == each.sum(axis=0).tolist()
                if curve.fetched_bytes is None:
                    assert curve.missed_bytes[:, at].tolist() == (layer_bytes @ (36 - each)).tolist()
            elif curve.policy == "lru" and curve.per == "pool" and (at + 1) * 10 >= 15:
                assert curve.hits[:, at].tolist() == by_unit(pooled_hits(experts, [3, 5, 2], (at + 1) * 10))
    np.testing.assert_array_equal(
        uses, [[(experts[own >= 0, layer] == e).sum() for e in range(7)] for layer in range(3)]
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32), texts=st.integers(1, 14), layers=st.integers(1, 3),
    kind=st.sampled_from(["uniform", "zipf", "sticky", "cyclic"]),
)  # fmt: skip
def test_pins_never_hit_more_where_they_were_not_chosen(
    tmp_path_factory: pytest.TempPathFactory, seed: int, texts: int, layers: int, kind: str
) -> None:
    folder = tmp_path_factory.mktemp("pins")
    experts = many(kind, texts * 9, layers, 7, 2, seed)
    stream = stream_of(folder, experts, 7, [TokenRun(text * 9, text, None) for text in range(texts)])
    trace_ = Trace(stream, units_of(stream), np.arange(1, layers + 1), folder)
    for curve in all_curves(trace_)[0]:
        assert (curve.hits.sum(axis=0)[1:] >= curve.hits.sum(axis=0)[:-1]).all() or curve.policy == "slru"
        if curve.in_sample_hits is not None and curve.per == "layer":
            assert (curve.hits.sum(axis=0) <= curve.in_sample_hits.sum(axis=0)).all()


def test_belady_is_above_all_that_load_when_they_are_used(tmp_path: Path) -> None:
    for kind in ("zipf", "sticky", "cyclic", "uniform"):
        folder = tmp_path / kind
        folder.mkdir()
        rows = advised(folder, many(kind, 400, 2, 12, 3), 12, 6)["candidates"]
        at = {(row["policy"], row["slots"]): row for row in rows if row["per"] == "layer" and row["miss"] == "load"}
        for (policy, slots), row in at.items():
            if policy != "static" and slots >= 3:
                assert row["hit_rate"]["value"] <= at["belady", slots]["hit_rate"]["value"] + 1e-12


def test_speeds_and_joules_follow_from_misses_link_and_power(tmp_path: Path) -> None:
    prices = Prices(token_s=0.01, link_byte_s=1e-6, cpu_byte_s=3e-6, power_w=20.0)
    found = advised(tmp_path, many("sticky", 500, 2, 10, 2), 10, 4, prices)
    for row in found["candidates"]:
        missed = row["loaded_bytes_per_token"] if row["prefetch"] is None else None
        if row["policy"] == "lru-bounded" or missed is None:
            continue
        seconds = 0.01 + missed * (1e-6 if row["miss"] == "load" else 3e-6)
        assert row["tokens_per_s"]["value"] == pytest.approx(1 / seconds)
        assert row["energy_per_token_j"]["value"] == pytest.approx(20 * seconds)
        assert missed == pytest.approx((1 - row["hit_rate"]["value"]) * 4 * SIZE)
    advice = found["advice"]
    assert advice["by"] == "tokens_per_s"
    fitting = [row for row in found["candidates"] if row["fits"] and not row["looks_ahead"]]
    best = max(row["tokens_per_s"]["value"] for row in fitting)
    assert advice["tokens_per_s"]["value"] == pytest.approx(best, rel=0.02)


def test_what_is_fetched_ahead_is_hidden_behind_computing_and_no_further(tmp_path: Path) -> None:
    experts = many("sticky", 500, 2, 10, 2)
    slow = advised(tmp_path, experts, 10, 4, Prices(token_s=1.0, link_byte_s=1e-6))["candidates"]
    rows = {(row["policy"], row["prefetch"]): row for row in slow if row["per"] == "layer" and row["slots"] == 4}
    plain, ahead = rows["lru", None], rows["lru", "layer"]
    assert 0 < ahead["hidden_share"] < 1
    waited = 1 / ahead["tokens_per_s"]["value"] - 1
    assert waited == pytest.approx((1 - ahead["hidden_share"]) * (1 / plain["tokens_per_s"]["value"] - 1), rel=1e-6)


def test_all_experts_in_memory_need_no_policy(tmp_path: Path) -> None:
    found = advised(tmp_path, many("zipf", 100, 2, 6, 2), 6, 6)
    assert found["advice"]["hit_rate"]["value"] == 1
    assert "all experts fit" in found["advice"]["reason"]
    assert found["memory"]["free_bytes"] == SIZE


def test_no_memory_for_experts_is_told(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, many("zipf", 100, 2, 6, 2), 6)
    found = advice_for(stream, sizes(2, 6, 2), Budget(5000, 4000, 500, 10), Prices(), tmp_path)
    assert found["advice"]["policy"] is None
    assert "500 bytes are left" in found["advice"]["reason"]
    assert found["memory"]["free_bytes"] == 500


def test_a_trace_of_another_model_is_told(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, many("zipf", 100, 2, 6, 2), 6)
    with pytest.raises(UsageError, match="6 experts a layer, the model some has 8"):
        advice_for(stream, sizes(2, 8, 2), Budget(10**6, 0, 0, 0), Prices(), tmp_path)
    other = Sizes("some", (3, 4, 5), (1, 1, 1), 6, 2, 0, 0, "told")
    with pytest.raises(UsageError, match="2 layers, the model some routes in 3"):
        advice_for(stream, other, Budget(10**6, 0, 0, 0), Prices(), tmp_path)


def test_the_pins_are_named_and_the_rest_is_computed_from_them(tmp_path: Path) -> None:
    experts = many("cyclic", 600, 2, 10, 1)
    experts[::2] = 7
    found = advised(tmp_path, experts, 10, 3)["advice"]
    assert found["policy"] == "static"
    assert all(7 in own for own in found["experts"].values())
    assert sum(len(own) for own in found["experts"].values()) == found["slots"] * (1 if found["per"] == "pool" else 2)


def test_units_are_texts_or_stretches_of_one_text(tmp_path: Path) -> None:
    experts = many("zipf", 100, 1, 5, 1)
    alone = units_of(stream_of(tmp_path, experts, 5))
    assert alone.total == 20
    assert np.bincount(alone.of(0, 100)).tolist() == [5] * 20
    assert alone.fold.tolist() == [0] * 10 + [1] * 10
    prompts = [TokenRun(0, 0, False), TokenRun(37, 0, True), TokenRun(60, 1, False), TokenRun(70, 1, True)]
    warmed = units_of(stream_of(tmp_path, experts, 5, prompts))
    own = warmed.of(0, 100)
    assert (own[:37] == -1).all()
    assert (own[60:70] == -1).all()
    assert sorted(np.bincount(own[own >= 0]).tolist()) == [2] * 7 + [3] * 13
    hundreds = [TokenRun(text, text, None) for text in range(100)]
    texts: Units = units_of(stream_of(tmp_path, experts, 5, hundreds))
    assert texts.total == 100
    assert texts.fold.tolist() == [0, 1] * 50


def test_layers_that_the_trace_lacks_stay_in_memory(tmp_path: Path) -> None:
    stream = stream_of(tmp_path, many("zipf", 100, 2, 6, 2), 6)
    longer = Sizes("some", (0, 1, 2), (SIZE, SIZE, 2 * SIZE), 6, 2, 0, 0, "told")
    found = advice_for(stream, longer, Budget(12 * SIZE + 5 * SIZE, 0, 0, 0), Prices(), tmp_path)
    assert found["memory"]["resident_bytes"] == 12 * SIZE
    assert found["advice"]["slots"] == 2 * (2 if found["advice"]["per"] == "pool" else 1)
    assert "layer 2 routes in the model but not in the trace" in found["notes"][0]
