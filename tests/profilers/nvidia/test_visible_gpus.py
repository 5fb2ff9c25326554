from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.profilers.base import SensorError
from ipw.profilers.nvidia.visible import SHARED, UNORDERED, UNPLACED, Gpu, select

ALIKE = [Gpu(i, f"GPU-{i}a2b3c4d-0000-1111-2222-333344445555", f"00000000:{9 - i}0:00.0", "H100") for i in range(4)]
"""NVML lists these in an order that is not that of their PCI addresses, to tell the two apart."""
UNLIKE = [
    Gpu(0, "GPU-aaaa0000", "00000000:10:00.0", "RTX 4090"),
    Gpu(1, "GPU-aaaa1111", "00000000:20:00.0", "GT 710"),
]
SLICED = [
    Gpu(0, "GPU-cccc0000-1111", "00000000:10:00.0", "A100", ("MIG-0a0a0a0a-1", "MIG-0b0b0b0b-2")),
    Gpu(1, "GPU-dddd0000-1111", "00000000:20:00.0", "A100"),
]


def test_without_the_variable_all_gpus_are_visible() -> None:
    assert select(None, ALIKE).indices == (0, 1, 2, 3)


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_hides_all_gpus_and_says_so(value: str) -> None:
    selection = select(value, ALIKE)
    assert (selection.indices, selection.named) == ((), True)
    assert selection.reason
    assert "empty" in selection.reason


@pytest.mark.parametrize(
    ("value", "unknown"),
    [
        ("GPU-ffff", True), ("0,7", True), ("1.5", True), ("GPU-ffff,0", True),
        ("", False), ("-1", False), ("0,-1,7", False), ("NoDevFiles", False), ("none", False), ("0", False),
        (None, False),
    ],
)  # fmt: skip
def test_a_name_of_no_gpu_here_is_told_from_one_that_stands_for_none(value: str | None, *, unknown: bool) -> None:
    assert select(value, ALIKE).unknown is unknown


def test_numbers_count_in_pci_order() -> None:
    assert select("0", ALIKE).indices == (3,)
    assert select("3, 0", ALIKE).indices == (0, 3)


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        ("0,-1,2", (3,)),
        ("-1", ()),
        ("1,7,0", (2,)),
        ("NoDevFiles", ()),
        ("0,,1", (3,)),
        ("0 1", ()),
        ("٣", ()),
        ("1e0", ()),
    ],
)
def test_the_list_ends_at_the_first_entry_that_names_no_gpu_and_says_where(
    value: str, indices: tuple[int, ...]
) -> None:
    selection = select(value, ALIKE)
    assert selection.indices == indices
    assert selection.reason
    assert value in selection.reason


def test_a_gpu_is_named_by_its_uuid_or_an_unambiguous_beginning_of_it() -> None:
    assert select(ALIKE[2].uuid, ALIKE).indices == (2,)
    assert select("GPU-2a,gpu-1A2B", ALIKE).indices == (2, 1)
    assert select("GPU-", ALIKE).indices == ()
    assert select("GPU-aaaa", UNLIKE).indices == ()


def test_a_gpu_named_twice_is_measured_once() -> None:
    assert select(f"3,3,{ALIKE[0].uuid}", ALIKE).indices == (0,)


@pytest.mark.parametrize("value", ["MIG-0a0a0a0a-1", "MIG-0B0B", "MIG-GPU-cccc0000-1111/7/0"])
def test_a_mig_instance_is_measured_as_its_parent_and_says_so(value: str) -> None:
    selection = select(value, SLICED)
    assert selection.indices == (0,)
    assert selection.notes == {0: SHARED}


def test_two_instances_of_one_gpu_count_it_once() -> None:
    assert select("MIG-0a0a,MIG-0b0b", SLICED).indices == (0,)


def test_an_unknown_mig_instance_names_nothing() -> None:
    assert select("MIG-ffff", SLICED).indices == ()


def test_numbers_of_unlike_gpus_are_noted_as_uncertain_unless_cuda_counts_in_pci_order() -> None:
    assert select("1", UNLIKE).notes == {1: UNORDERED}
    assert select("1", UNLIKE, "FASTEST_FIRST").notes == {1: UNORDERED}
    assert select("1", UNLIKE, "PCI_BUS_ID").notes == {}
    assert select("GPU-aaaa1111", UNLIKE).notes == {}


LOST = SensorError("lost", "gone")
DEAD = [
    Gpu(0, "GPU-eeee0000", "00000000:10:00.0", "H100"), Gpu(1, "", "", "", lost=LOST),
    Gpu(2, "GPU-eeee2222", "00000000:30:00.0", "H100"), Gpu(3, "GPU-eeee3333", "", "H100"),
]  # fmt: skip
"""The second does not answer, and the fourth does not tell its place."""


@pytest.mark.parametrize(
    ("value", "gpus", "indices", "notes"),
    [
        (None, SLICED, (0, 1), {0: SHARED}),
        ("0", SLICED, (0,), {0: SHARED}),
        ("1", SLICED, (1,), {}),
        ("MIG-GPU-dddd0000-1111/1/0", SLICED, (1,), {1: SHARED}),
        ("MIG-GPU-dddd0000", SLICED, (), {}),
        ("mig-gpu-dddd0000-1111/1/0,0", SLICED, (1, 0), {1: SHARED, 0: SHARED}),
        ("MIG-0", SLICED, (), {}),
        ("0,1", DEAD, (0, 1), {}),
        ("2,0,3", DEAD, (2, 0, 3), {2: UNPLACED, 3: UNPLACED}),
        ("4", DEAD, (), {}),
        ("GPU-ffff", DEAD, (1,), {}),
        ("GPU-eeee3,2", DEAD, (3, 2), {2: UNPLACED}),
        ("MIG-ffff", DEAD, (1,), {1: SHARED}),
        ("GPU-ffff", [DEAD[1], DEAD[1]], (), {}),
        ("1", [DEAD[0], DEAD[3]], (3,), {}),
        ("0", [*UNLIKE, DEAD[1]], (0,), {0: UNORDERED}),
        ("0", [UNLIKE[0], DEAD[1]], (0,), {}),
    ],
)
def test_what_a_reader_must_know_of_a_gpu_that_was_chosen_is_noted(
    value: str | None, gpus: list[Gpu], indices: tuple[int, ...], notes: dict[int, str]
) -> None:
    selection = select(value, gpus)
    assert (selection.indices, selection.notes) == (indices, notes)
    assert selection.named is (value is not None)
    assert (selection.reason is None) == (len(indices) == len((value or "0,1").split(",")))


TOKENS = st.sampled_from(["0", "1", "2", "3", "9", "-1", "GPU-0", "GPU-1a2b", "GPU-", "MIG-x", "", "x", "٣", "²"])


@given(st.lists(TOKENS, min_size=1).map(",".join) | st.text())
def test_any_text_selects_known_gpus_each_once_and_a_short_list_has_a_reason(value: str) -> None:
    selection = select(value, ALIKE)
    assert len(set(selection.indices)) == len(selection.indices)
    assert set(selection.indices) <= {0, 1, 2, 3}
    assert selection.indices or selection.reason


@given(st.lists(st.sampled_from(range(4)), min_size=1))
def test_more_entries_never_make_an_earlier_gpu_invisible(numbers: list[int]) -> None:
    seen = [select(",".join(map(str, numbers[: n + 1])), ALIKE).indices for n in range(len(numbers))]
    assert all(set(before) <= set(after) for before, after in pairwise(seen))
