"""Numbers of one sample of powermetrics: which are energies, how many joules, and which cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from ipw.profilers.apple import plist_stream
from ipw.profilers.apple.plist_stream import SampleError, in_another_format, printable, rails_j, split

S = 10**9


def rails(processor: dict[str, Any], elapsed_ns: Any = S, **more: Any) -> dict[str, float]:
    return rails_j({"elapsed_ns": elapsed_ns, "processor": processor} | more)


@pytest.mark.parametrize(
    ("processor", "joules"),
    [
        ({"cpu_power": 2000, "gpu_power": 3000.5}, {"cpu": 4.0, "gpu": 6.001, "soc": 10.001}),
        ({"cpu_energy": 2000, "gpu_energy": 3000}, {"cpu": 2.0, "gpu": 3.0, "soc": 5.0}),
        ({"cpu_power": 2000, "cpu_energy": 9, "gpu_power": 0}, {"cpu": 4.0, "gpu": 0.0, "soc": 4.0}),
        ({"cpu_power": True, "cpu_energy": 9, "gpu_power": 0}, {"cpu": 0.009, "gpu": 0.0, "soc": 0.009}),
        ({"cpu_power": -1, "cpu_energy": 9, "gpu_power": 0}, {"cpu": 0.009, "gpu": 0.0, "soc": 0.009}),
        ({"cpu_power": 2.0**63, "cpu_energy": 9, "gpu_power": 0}, {"cpu": 0.009, "gpu": 0.0, "soc": 0.009}),
        ({"combined_power": 5000, "ane_power": 100}, {"soc": 10.0, "ane": 0.2}),
        ({"combined_power": 50, "ane_power": 100}, {"soc": 0.2, "ane": 0.2}),
        ({"package_energy": 5000, "cpu_power": 100}, {"soc": 5.0, "cpu": 0.2}),
        ({"package_watts": 7.5}, {"package": 15.0}),
        ({"package_joules": 7.5}, {"package": 7.5}),
        ({"package_watts": 7.5, "package_joules": 1.0, "ane_power": 3}, {"package": 15.0}),
    ],
)
def test_a_sample_of_two_seconds_tells_powers_energies_and_their_sum(
    processor: dict[str, Any], joules: dict[str, float]
) -> None:
    assert rails(processor, 2 * S) == pytest.approx(joules)


def test_the_gpus_own_section_is_energy_in_millijoules_and_second_best() -> None:
    assert rails({"cpu_power": 2000}, gpu={"gpu_energy": 3000}) == pytest.approx({"cpu": 2, "gpu": 3, "soc": 5})
    assert rails({"cpu_power": 2000, "gpu_power": 1}, gpu={"gpu_energy": 3000})["gpu"] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("rail", "most_w"), [("cpu_power", 1500), ("gpu_power", 3450), ("ane_power", 150), ("combined_power", 900)]
)
def test_a_power_is_believed_up_to_half_as_much_again_as_anything_of_its_class_draws(rail: str, most_w: int) -> None:
    whole = {"cpu_power": 0, "gpu_power": 0, "ane_power": 0, "combined_power": 0}
    below, above = (whole | {rail: 1000 * most_w * share} for share in (0.999, 1.001))
    if rail in {"combined_power", "ane_power"}:
        assert rails(below)["soc"] == pytest.approx(0.999 * most_w)
    else:  # the whole chip, which is their sum, draws less
        with pytest.raises(SampleError, match="for the soc"):
            rails(below)
    with pytest.raises(SampleError, match="which no chip draws"):
        rails(above)


@pytest.mark.parametrize("elapsed_ns", [None, 0, -5, "2", True, 2**63])
def test_without_an_interval_there_is_no_sample(elapsed_ns: Any) -> None:
    with pytest.raises(SampleError, match="does not tell its interval"):
        rails({"combined_power": 5}, elapsed_ns)


def test_a_sample_is_no_longer_than_it_can_be() -> None:
    told = {"elapsed_ns": 2 * S, "processor": {"combined_power": 5}}
    assert rails_j(told, longest_s=2.0) == rails_j(told) == pytest.approx({"soc": 0.01})
    with pytest.raises(SampleError, match="longer than the time since"):
        rails_j(told, longest_s=1.999)


@pytest.mark.parametrize("told", [{}, {"ane_power": 5}, {"cpu_power": 5, "ane_power": 5}])
def test_parts_alone_are_no_chip(told: dict[str, int]) -> None:
    with pytest.raises(SampleError, match="no power of the whole chip" if told else "without any energy"):
        rails(told)


def test_a_property_list_of_more_than_16_mib_does_not_end() -> None:
    most = b"<plist>".ljust(1 << 24)
    assert split(most) == ([], most)
    with pytest.raises(SampleError, match="does not end"):
        split(most + b" ")


def test_what_is_shown_of_a_programs_words_is_one_line_of_bounded_length() -> None:
    assert [printable(text, 5) for text in ("abcde", "abcdef", " a\tb\x1b ", "")] == ["abcde", "abcd…", "a b", ""]
    assert in_another_format(b"\0\n  \n" + b"x" * 81 + b"\nmore") == f"no property list but '{'x' * 79}…'"
    assert in_another_format(b"x" * 80) == f"no property list but '{'x' * 80}'"
    assert in_another_format(b"x <plist") is None is in_another_format(b"\0 \r\n")


def test_what_stands_before_a_document_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found, rest = split(b"warning\n\0<?xml?><plist>1</plist>\n\0\r <plist>2</plist>3</plist> rest")
    assert found == [b"<?xml?><plist>1</plist>", b"<plist>2</plist>", b"3</plist>"]
    assert rest == b" rest"
    assert plist_stream.parsed(b"<plist><string>a\xffb</string></plist>") == "a\N{REPLACEMENT CHARACTER}b"
