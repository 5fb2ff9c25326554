"""Numbers that people read, and text that cannot harm the one who reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.reports.text import Scale, lopsided, quantity, scale_for, spread_text, table_scale


def metric(value: float | None, low: float | None = None, high: float | None = None, **rest: Any) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "unit": "J", "reason": None, **rest}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (metric(1.9012, 1.87, 1.9344), "1.901 J [1.870, 1.934]"),
        (metric(0.00321, 0.0030, 0.0034), "3.21 mJ [3.00, 3.40]"),
        (metric(1200.0), "1.20 kJ"),
        (metric(75.4, unit="W"), "75.4 W"),
        (metric(0.0000381, unit="1/J"), "38.1 /MJ"),
        (metric(0.0375, unit="1/W"), "37.5 /kW"),
        (metric(0.9417, 0.92, 0.96, unit=""), "94.2 % [92.0, 96.0]"),
        (metric(0.0815, unit="s"), "81.5 ms"),
        (metric(4000.0, unit="s"), "4000 s"),
        (metric(60.55, unit="1/s"), "60.5 /s"),
        (metric(0.156, 0.15, None, unit="s"), "156 ms [150, …]"),
        (metric(600, unit="", method="counted"), "600"),
        (metric(4, unit="experts", method="counted"), "4 experts"),
        (metric(0.8650, 0.857, 0.8732, unit="", method="counted"), "86.50 % [85.70, 87.32]"),
        (metric(1.0, unit="", method="counted"), "100 %"),
        (metric(1572864, unit="B", method="counted"), "1.57 MB"),
        (metric(0.0), "0.00 J"),
        (metric(None, None, 3.1, reason="below resolution"), "< 3.10 J (below resolution)"),
        (metric(None, 0.02, None, unit="1/J", reason="below resolution"), "> 20.0 /kJ (below resolution)"),
        (metric(None, reason="no driver"), "\N{EN DASH} (no driver)"),
    ],
)
def test_a_quantity_reads_well(entry: dict[str, Any], expected: str) -> None:
    assert quantity(entry) == expected


def test_the_digits_follow_the_interval() -> None:
    wide, narrow = metric(12.3456, 9, 16), metric(12.3456, 12.3, 12.4)
    assert quantity(wide).startswith("12.3 J")
    assert quantity(narrow).startswith("12.35 J")


@given(st.floats(1e-12, 1e12), st.sampled_from(["J", "W", "s", "1/J", "1/W", "1/s", ""]))
def test_whatever_the_size_the_unit_keeps_the_value(value: float, unit: str) -> None:
    scale = scale_for(unit, [value])
    shown = float(scale.text(value, max(scale.digits(value), 0)).replace(",", "")) / scale.factor
    assert shown == pytest.approx(value, rel=0.01)


def test_one_unit_suits_a_whole_column() -> None:
    assert scale_for("J", [0.9, 1.2, 3000]) == Scale(1.0, "J")
    assert scale_for("1/J", [4e-4, 5e-4]) == Scale(1e6, "/MJ")
    assert scale_for("J", []) == Scale(1.0, "J")


@pytest.mark.parametrize(
    ("name", "unit", "values", "expected"),
    [
        ("energy_per_query_j", "J", [0.3], "J"),
        ("energy_per_query_j", "J", [900.0, 2500.0], "J"),
        ("energy_per_query_j", "J", [2e-6], "µJ"),
        ("energy_per_output_token_j", "J", [0.04], "mJ"),
        ("energy_per_output_token_j", "J", [3.0], "mJ"),
        ("accuracy_per_joule", "1/J", [3.1], "/kJ"),
        ("accuracy_per_joule", "1/J", [0.0004], "/kJ"),
        ("accuracy_per_watt", "1/W", [0.05], "/kW"),
        ("accuracy_per_watt", "1/W", [0.0, None], "/kW"),
        ("mean_power_w", "W", [18.0], "W"),
        ("mean_power_w", "W", [5600.0], "W"),
        ("latency_p50_s", "s", [2.0], "s"),
        ("latency_p50_s", "s", [0.016], "ms"),
        ("accuracy", "", [0.5], "%"),
        ("output_tokens_per_s", "1/s", [50.0], "/s"),
    ],
)
def test_a_metric_has_one_unit_in_every_table(name: str, unit: str, values: list[float | None], expected: str) -> None:
    assert table_scale(name, unit, values).unit == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (metric(10, 9.7, 10.2), "±0.30"),
        (metric(10, 2, 18), "±8.0"),
        (metric(0.75, 0.7, 0.79, unit=""), "±5.0"),
        (metric(10, 10, 10), ""),
        (metric(10, None, 12), ""),
    ],
)
def test_the_spread_is_the_larger_side_of_the_interval_in_the_unit_of_the_value(
    entry: dict[str, Any], expected: str
) -> None:
    assert spread_text(entry, Scale(100, "%") if entry["unit"] == "" else Scale(1, "J")) == expected


def test_an_interval_with_one_side_far_larger_is_lopsided() -> None:
    assert lopsided(metric(54, 27, 1180))
    assert not lopsided(metric(10, 5, 15))
    assert not lopsided(metric(1.0, 0.94, 1.0, unit=""))
    assert not lopsided(metric(None, None, 4.0))
