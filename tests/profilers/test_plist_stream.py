from __future__ import annotations

import plistlib
from itertools import pairwise
from typing import Any

import pytest
from doubles.powermetrics import WATTS, document, sample
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers.apple.plist_stream import SampleError, rails_j, split
from ipw.profilers.apple.plist_stream import sample as parsed

TWO = document("silicon", 200_000_000) + b"\0" + document("silicon", 201_000_000)


def test_a_document_is_finished_at_its_closing_tag_and_not_at_the_nul_before_the_next() -> None:
    documents, rest = split(document("silicon", 200_000_000))
    assert len(documents) == 1
    assert plistlib.loads(documents[0])["elapsed_ns"] == 200_000_000
    assert rest.strip() == b""


@given(st.lists(st.integers(0, len(TWO)), max_size=5))
def test_however_the_stream_is_cut_its_documents_come_out_whole_and_once(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TWO)]
    rest, found = b"", []
    for start, end in pairwise(edges):
        documents, rest = split(rest + TWO[start:end])
        found += documents
    assert [plistlib.loads(each)["elapsed_ns"] for each in found] == [200_000_000, 201_000_000]


def test_a_truncated_tail_is_never_a_document() -> None:
    documents, rest = split(TWO[:-20])
    assert len(documents) == 1
    assert rest.startswith(b"\n\0")


def test_apple_silicon_tells_its_soc_and_three_rails_over_the_samples_own_interval() -> None:
    joules = rails_j(sample("silicon", 250_000_000))
    assert joules == pytest.approx({"soc": 7.5 / 4, "cpu": 2.0 / 4, "gpu": 5.0 / 4, "ane": 0.5 / 4})


def test_powers_may_be_integers_or_reals() -> None:
    watts = {"cpu": 3, "gpu": 2.9785, "ane": 0}
    assert rails_j(sample("silicon", 10**9, {k: float(v) for k, v in watts.items()})) == pytest.approx(
        {"soc": 5.9785, **watts}
    )


def test_macos_12_tells_energies_in_millijoules_and_a_package_with_memory() -> None:
    joules = rails_j(sample("monterey", 10**9))
    assert joules == pytest.approx({"soc": 7.8, "cpu": 2.0, "gpu": 5.0, "ane": 0.5})


def test_an_intel_mac_tells_its_package_in_watts() -> None:
    assert rails_j(sample("intel", 500_000_000)) == pytest.approx({"package": 7.5 / 2})


def test_without_a_combined_power_the_soc_is_the_sum_of_its_rails() -> None:
    told = sample("silicon", 10**9)
    del told["processor"]["combined_power"]
    del told["processor"]["ane_power"], told["processor"]["ane_energy"]
    assert rails_j(told) == pytest.approx({"soc": 7.0, "cpu": 2.0, "gpu": 5.0})


def test_the_gpus_own_section_stands_in_where_the_processors_has_none() -> None:
    told = sample("silicon", 10**9)
    del told["processor"]["gpu_power"], told["processor"]["gpu_energy"]
    assert rails_j(told)["gpu"] == pytest.approx(5.008)


@pytest.mark.parametrize("rail", ["cpu_power", "gpu_power", "ane_power", "combined_power"])
@pytest.mark.parametrize("milliwatts", [4294967295, 65535000, 1e12])
def test_a_power_that_no_chip_draws_is_refused_whichever_rail_tells_it(rail: str, milliwatts: float) -> None:
    powers = {"cpu_power": 2000, "gpu_power": 5000, "ane_power": 500, "combined_power": 7500}
    assert rails_j({"elapsed_ns": 200_000_000, "processor": powers})["soc"] == pytest.approx(1.5)
    with pytest.raises(SampleError, match="which no chip draws"):
        rails_j({"elapsed_ns": 200_000_000, "processor": powers | {rail: milliwatts}})


@pytest.mark.parametrize(
    "change",
    [
        {"elapsed_ns": 0},
        {"elapsed_ns": "200"},
        {"elapsed_ns": 10**400},
        {"processor": {}, "gpu": {}},
        {"processor": {"cpu_power": float("nan")}, "gpu": []},
        {"processor": "none"},
        {"processor": {"cpu_power": 5.0}, "gpu": {}},
    ],
)
def test_a_sample_without_an_interval_or_an_energy_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SampleError):
        rails_j(sample("silicon", 10**9) | change)


def test_of_two_figures_for_the_gpu_the_processors_counts_and_neither_is_added() -> None:
    told = sample("silicon", 10**9)
    told["processor"] |= {"gpu_energy": 72_607, "gpu_power": 70_924.6, "combined_power": 73_424.6}
    told["gpu"]["gpu_energy"] = 73_491
    assert rails_j(told) == pytest.approx({"soc": 73.4246, "cpu": 2.0, "gpu": 70.9246, "ane": 0.5})


def test_the_whole_is_never_less_than_its_rails() -> None:
    told = sample("silicon", 10**9)
    told["processor"]["combined_power"] = 0
    assert rails_j(told)["soc"] == pytest.approx(7.5)


@given(st.binary(max_size=60))
def test_whatever_is_written_is_a_sample_or_refused_with_a_reason(text: bytes) -> None:
    with pytest.raises(SampleError, match=r"cannot be read: ."):
        parsed(text + b"</plist>")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["cpu_power", "gpu_energy"]), inner),
    max_leaves=4,
)


@given(st.fixed_dictionaries({"elapsed_ns": JUNK, "processor": JUNK, "gpu": JUNK}))
def test_whatever_it_is_fed_it_tells_energies_that_are_not_negative_or_refuses(told: dict[str, Any]) -> None:
    try:
        joules = rails_j(told)
    except SampleError:
        return
    assert all(value >= 0 for value in joules.values())
    assert set(joules) <= {"soc", "package", *WATTS}
