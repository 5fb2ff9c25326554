"""What a log of power becomes, record by record: times, watts, holes, and what contains what."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from ipw.profilers.power_logs import Record, read_log

MS = 1_000_000
HEADS = "t_ns,channel,unit,scope,value"


def ms_and_watts(text: str) -> dict[str, list[tuple[float, float]]]:
    """By channel: when each record was, in ms since the first of its channel, and its watts."""
    channels, tracks = read_log(text)
    assert {channel.name for channel in channels} == set(tracks)
    return {name: [((each.t_ns - track[0].t_ns) / MS, each.value) for each in track] for name, track in tracks.items()}


def smi(*times: str) -> str:
    rows = [f"2026/10/25 {time}, {watts} W" for watts, time in enumerate(times, 1)]
    return "\n".join(["timestamp, power.draw [W]", *rows])


@pytest.mark.parametrize(
    ("times", "ms"),
    [
        (["02:59:59.960", "02:59:59.980", "03:00:00.000"], [0, 20, 40]),
        (["02:59:59.960", "02:59:59.980", "02:00:00.000", "02:00:00.030"], [0, 20, 40, 70]),
        (["02:00:00.000", "02:00:00.000", "02:00:00.000"], [0, 1, 2]),
        (["02:00:00.000", "02:00:00.050", "02:00:00.050", "02:00:00.060"], [0, 50, 100, 110]),
        (["02:00:00.000", "02:00:00.050", "01:00:00", "00:00:00"], [0, 50, 100, 150]),
    ],
    ids=["as they are", "summer ends", "one time thrice", "one time twice", "it goes back twice"],
)
def test_a_clock_that_stands_or_goes_back_goes_on_at_the_pace_that_it_had(times: list[str], ms: list[float]) -> None:
    told = ms_and_watts(smi(*times))["nvidia-smi/gpu0"]
    assert told == [(at, watts) for watts, at in enumerate(ms, 1)]


def tegrastats(*lines: str) -> str:
    return "\n".join(f"{line[:19]} RAM 2100/3964MB (lfb 4x4MB) SWAP 1/2MB CPU [1%@9] {line[20:]}" for line in lines)


def test_lines_of_one_second_are_spread_over_it_and_a_board_without_a_clock_begins_in_1970() -> None:
    text = tegrastats(
        *["01-01-1970 00:00:00 VDD_IN 5000mW/4000mW GPU_X 1mW/1mW"] * 4,
        *["01-01-1970 00:00:01 VDD_IN 6000/4000"] * 2,
        "01-01-1970 00:00:00 VDD_IN 7000mW/1mW",
        *["01-01-1970 00:00:02 VDD_IN 8000mW/1mW"] * 200,
    )
    _, tracks = read_log(text)
    assert tracks["tegrastats/GPU_X"] == [Record(k * 250 * MS, 0.001, "ok", 0) for k in range(4)]
    assert [each.t_ns / MS for each in tracks["tegrastats/VDD_IN"]][:7] == [0, 250, 500, 750, 1000, 1500, 2000]
    steps = [after.t_ns - before.t_ns for before, after in pairwise(tracks["tegrastats/VDD_IN"][7:])]
    assert set(steps) == {5 * MS}
    assert [each.value for each in tracks["tegrastats/VDD_IN"]][3:8] == [5, 6, 6, 7, 8]


def test_a_step_back_at_the_very_beginning_of_1970_keeps_the_pace() -> None:
    rows = [f"1970-01-01 00:00:00.{ms:03d}, {ms} W" for ms in (0, 20, 0)]
    assert [at for at, _ in ms_and_watts("\n".join(["timestamp, power.draw", *rows]))["nvidia-smi/gpu0"]] == [0, 20, 40]


@pytest.mark.parametrize(
    ("rails", "told"),
    [
        (["VDD_IN", "VDD_SOC"], {"VDD_IN": ("power", None), "VDD_SOC": ("power", "VDD_IN")}),
        (["VIN", "VDD_IN"], {"VIN": ("power", None), "VDD_IN": ("power", "VIN")}),
        (
            ["VIN_SYS_5V0", "VDDQ_VDD2_1V8AO", "VDD_GPU_SOC"],
            {
                "VIN_SYS_5V0": ("power", None),
                "VDDQ_VDD2_1V8AO": ("power", "VIN_SYS_5V0"),
                "VDD_GPU_SOC": ("power", None),
            },
        ),
        (["VDDQ_VDD2_1V8AO"], {"VDDQ_VDD2_1V8AO": ("power", None)}),
        (
            ["VIN", "VDDQ_VDD2_1V8AO", "ALPHA"],
            {"VIN": ("power", None), "VDDQ_VDD2_1V8AO": ("power", "VIN"), "ALPHA": ("power", "VIN")},
        ),
        (["ALPHA", "GPU"], {"ALPHA": ("gauge", None), "GPU": ("power", None)}),
    ],
)
def test_a_rail_is_within_the_input_of_its_board_or_known_to_add_up_or_only_shown(
    rails: list[str], told: dict[str, tuple[str, str | None]]
) -> None:
    channels, _ = read_log(tegrastats("01-02-2026 03:04:05 " + " ".join(f"{rail} 5mW/5mW" for rail in rails)))
    assert {each.name: (each.kind, each.included_in, each.scope, each.unit) for each in channels} == {
        f"tegrastats/{rail}": (kind, outer and f"tegrastats/{outer}", "soc", "W")
        for rail, (kind, outer) in told.items()
    }


@pytest.mark.parametrize(
    ("heads", "cells", "name", "device", "watts"),
    [
        ("power.draw [W], power.draw.instant [W]", "5 W, 6 W", "gpu0", "", 6.0),
        ("power.draw [W], power.draw.instant [W]", "5 W, [N/A]", "gpu0", "", 5.0),
        ("power.draw.average [W], power.draw [W]", "5 W, 6 W", "gpu0", "", 6.0),
        ("power.draw.average [W], power.draw [W]", "[N/A], N/A", "gpu0", "", None),
        ("power.draw [W], index, uuid, name", "5 W, 3, GPU-a, H100", "gpu3", "H100 GPU-a", 5.0),
        ("power.draw [W], serial, uuid", "5 W, 77, GPU-a", "GPU-a", "GPU-a", 5.0),
        ("power.draw [W], serial, name", "5 W, 77, H100", "gpu77", "H100", 5.0),
        ("power.draw [W], gpu_bus_id, serial", "5 W, 0:1:0.0, 77", "0:1:0.0", "", 5.0),
    ],
)
def test_of_several_columns_of_power_the_best_that_tells_any_counts_and_gpus_are_told_apart(
    heads: str, cells: str, name: str, device: str, watts: float | None
) -> None:
    (channel,), tracks = read_log(f"timestamp, {heads}\n2026/01/02 03:04:05.000, {cells}\n")
    assert (channel.name, channel.device, channel.scope) == (f"nvidia-smi/{name}", device, "gpu")
    (record,) = tracks[f"nvidia-smi/{name}"]
    assert (record.value, record.status) == (watts, "ok") if watts else record.status == "unsupported"


@pytest.mark.parametrize(
    ("cell", "t_ns"),
    [
        ("0", 0), ("-5", -5), ("2e3", 2000), ("1.9", 1), (str(2**62 - 1), 2**62 - 1), (str(1 - 2**62), 1 - 2**62),
        (str(2**53 + 1), 2**53 + 1), (str(2**62), None), (str(-(2**62)), None), ("1e30", None), ("inf", None),
        ("", None), ("--5", None), ("٣x", None),
    ],
)  # fmt: skip
def test_a_moment_is_a_whole_number_of_nanoseconds_of_62_bits(cell: str, t_ns: int | None) -> None:
    text = f"{HEADS}\n{cell},a,W,gpu,2\n"
    if t_ns is None:
        with pytest.raises(ValueError, match=r"^line 2: t_ns is '.*', which is not a whole number of nanoseconds$"):
            read_log(text)
    else:
        assert read_log(text)[1]["a"] == [Record(t_ns, 2.0, "ok", 0)]


@pytest.mark.parametrize(
    ("cell", "value", "status"),
    [
        ("2.5", 2.5, "ok"), ("-2", -2.0, "ok"), ("", math.nan, "lost"), ("[]", math.nan, "lost"),
        ("n/a", math.nan, "unsupported"), ("[Insufficient Permissions]", math.nan, "unsupported"),
        ("[anything]", math.nan, "lost"), ("Err", math.nan, "lost"),
    ],
)  # fmt: skip
def test_a_value_is_a_number_or_a_hole_with_its_reason(cell: str, value: float, status: str) -> None:
    _, tracks = read_log(f"{HEADS}\n7,a,mW,gpu,{cell}\n")
    (record,) = tracks["a"]
    assert (record.t_ns, record.status, record.uncertainty_ns) == (7, status, 0)
    assert record.value == pytest.approx(value / 1e3, nan_ok=True)


MICROS = ("u", "\N{MICRO SIGN}", "\N{GREEK SMALL LETTER MU}")
PREFIXES = {"": 1.0, "n": 1e-9, **dict.fromkeys(MICROS, 1e-6), "m": 1e-3, "k": 1e3, "M": 1e6}


@pytest.mark.parametrize(
    ("unit", "base", "kind", "method", "factor"),
    [
        ("W", "W", "power", "integrated_power", 1.0), ("J", "J", "counter", "counter", 1.0),
        ("Ws", "J", "counter", "counter", 1.0), ("Wh", "J", "counter", "counter", 3600.0),
    ],
)  # fmt: skip
def test_any_prefix_of_joules_and_watts_is_known(unit: str, base: str, kind: str, method: str, factor: float) -> None:
    for prefix, size in PREFIXES.items():
        (channel,), tracks = read_log(f"{HEADS}\n7,a,{prefix}{unit},gpu,3\n")
        assert (channel.unit, channel.kind, channel.method) == (base, kind, method)
        assert tracks["a"][0].value == pytest.approx(3 * size * factor)
    (channel,), tracks = read_log(f"{HEADS}\n7,a,x{unit},gpu,3\n")
    assert (channel.unit, channel.kind, channel.method, tracks["a"][0].value) == (f"x{unit}", "gauge", "counter", 3.0)


def test_a_log_may_begin_after_fifty_lines_of_other_words_and_no_more() -> None:
    assert read_log("words\n" * 49 + f"{HEADS}\n7,a,W,gpu,1\n")[1]["a"] == [Record(7, 1.0, "ok", 0)]
    with pytest.raises(ValueError, match="it is not a CSV with the columns"):
        read_log("words\n" * 50 + f"{HEADS}\n7,a,W,gpu,1\n")


@pytest.mark.parametrize("length", [0, 131_072, 131_073])
def test_a_cell_has_131_072_characters_at_most(length: int) -> None:
    text = f"note,{HEADS}\n{'x' * length},7,a,W,gpu,1\n"
    if length > 131_072:
        with pytest.raises(ValueError, match="it is not a CSV"):
            read_log(text)
    else:
        assert read_log(text)[1]["a"] == [Record(7, 1.0, "ok", 0)]


def test_headings_in_the_middle_and_a_last_line_that_was_cut_off_are_left_out() -> None:
    rows = f"{HEADS}\n1,a,W,gpu,1\n{HEADS}\n2,a,W,gpu,2,more\n3,a,W\n"
    assert [each.value for each in read_log(rows)[1]["a"]] == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"^line 5 has 3 of 5 cells$"):
        read_log(f"{rows}4,a,W,gpu,4\n")
    said = smi("03:04:05.000", "03:04:06.000").replace("\n2026/10/25 03:04:06", "\nUnable to talk\n2026/10/25 03:04:06")
    assert ms_and_watts(said) == {"nvidia-smi/gpu0": [(0, 1.0), (1000, 2.0)]}
