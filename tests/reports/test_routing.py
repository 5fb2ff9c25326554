from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from ipw.reports.charts.axes import NARROW, WIDE
from ipw.reports.charts.plot import AxisPlan, Bar, Bars, CurveLine, Mark, Plot, Point
from ipw.reports.charts.routing_map import routing_map
from ipw.reports.charts.svg import bars_svg, plot_svg
from ipw.reports.page.routing import routing_part
from ipw.reports.tables.latex import as_latex
from ipw.reports.tables.runs import markdown, terminal
from ipw.reports.tables.written import records
from ipw.runs.directory import RunDir

METRICS = {"cache_knee_experts": {"value": 3}}
MANIFEST = {"model": {"expert_bytes": 1_000_000}}


def model_row(level: str = "model", index: int = 0, name: str | None = None) -> dict[str, Any]:
    return {"level": level, "index": index, "name": name}


def cache_rows(level: str, index: int = 0) -> list[dict[str, Any]]:
    return [
        model_row(level, index)
        | {
            "policy": policy,
            "segment_length": 16 if policy == "sch" else None,
            "corrected": corrected,
            "cache_size": c,
            "cache_ratio": c / 2,
            "hit_rate": c / 4,
            "low": c / 4 - 0.01,
            "high": c / 4 + 0.01,
        }
        for policy in ("sch", "lru", "lfu", "belady")
        for corrected in (False, True)
        for c in (1, 2, 3, 4)
    ]


def srp_row(m: int, srp: float, **named: Any) -> dict[str, Any]:
    return model_row(**named) | {"segment_length": m, "srp": srp, "low": srp - 0.01, "high": None, "size_ratio": 1.5}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path)
    tables: dict[str, list[dict[str, Any]]] = {
        "srp": [
            srp_row(4, 0.8),
            srp_row(16, 0.6),
            *(srp_row(16, 0.5 + i / 10, level="layer", index=i, name=f"layer {i}") for i in range(3)),
            srp_row(16, 0.7, level="domain", index=0, name="<script>alert(1)</script>"),
            srp_row(16, 0.5, level="domain", index=1, name="books"),
        ],
        "cache": [
            *cache_rows("model"),
            *(row for i in range(3) for row in cache_rows("layer", i)),
            *({**row, "hit_rate": 0.37} for row in cache_rows("pool")),
        ],
        "example": [
            {"position": p, "piece": piece, "layer_index": layer, "experts": [p % 4, (p + 1) % 4]}
            for p, piece in enumerate(["Hel", "lo", "<b>", "\n"])
            for layer in range(3)
        ],
        "offload": [
            {
                "policy": policy,
                "cache_size": size,
                "memory_bytes": size * 3e6,
                "hit_rate": 0.5 if policy else None,
                "hit_rate_expected": 0.51 if policy else None,
                "loaded_bytes_per_token": 0.0,
                "tokens_per_s": 100.0 + size,
                "tokens_per_s_expected": 101.0 + size if policy else None,
                "energy_per_token_j": None,
                "energy_per_token_expected_j": None,
                "same_output": True,
            }
            for policy, size in ((None, 4), ("lru", 2), ("lru", 4), ("static", 2), ("lru+layer", 2), ("new", 1))
        ],
        "findings": [
            {"finding": "skew", "domain": domain, "value": 1.2, "low": low, "high": low, "text": "<script>no skew"}
            for domain, low in ((None, 1.1), ("<b>code", None))
        ],
    }
    for name, rows in tables.items():
        run.write_table(f"routing_{name}", pa.Table.from_pylist(rows))
    return run


def test_sch_of_one_pool_stands_beside_that_of_a_cache_a_layer(run: RunDir) -> None:
    page = str(routing_part(run, METRICS, MANIFEST, "r0"))
    table = page[page.index("One cache for all layers") :]
    assert "tables print the pool" in table
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table[: table.index("</table>")])
    assert cells[:2] == ["16", "100.0 %"]
    assert "37.0 %" in cells


def test_the_question_what_cache_size_to_use_is_answered_in_megabytes(run: RunDir) -> None:
    page = routing_part(run, METRICS, MANIFEST, "r0")
    assert page is not None
    assert "3 of 4 experts a layer" in page
    assert "9 MB of the 12 MB" in page
    assert "75.0 %" in page


def test_every_part_of_the_section_is_there(run: RunDir) -> None:
    page = routing_part(run, METRICS, MANIFEST, "r0")
    assert page is not None
    titles = re.findall("<h3>(.*?)</h3>", page)
    assert titles == [
        "SRP against segment length",
        "Hits by cache size",
        "The same, as the reference implementation counts",
        "One cache for all layers",
        "By layer",
        "By domain",
        "Routing map",
        "Which experts to keep",
        "Decoding with offloaded experts",
    ]
    keys = re.findall(r'id="(.*?)"', page)
    assert len(keys) == len(set(keys)), "ids are unique on the page"


def test_findings_stand_with_their_intervals_by_domain(run: RunDir) -> None:
    page = str(routing_part(run, METRICS, MANIFEST, "r0"))
    table = page[page.index("Which experts to keep") :]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table[: table.index("</table>")])
    assert cells[:4] == ["skew", "all", "1.200", "1.100 to 1.100"]
    assert cells[6] == "&lt;b&gt;code"


def test_text_of_others_cannot_become_markup(run: RunDir) -> None:
    page = routing_part(run, METRICS, MANIFEST, "r0")
    assert page is not None
    assert "<script>" not in page
    assert "<b>&lt;" not in page


def test_a_run_without_tables_shows_nothing(tmp_path: Path) -> None:
    assert routing_part(RunDir(tmp_path), {}, {}, "r0") is None


def test_short_texts_leave_out_what_needs_longer_ones(run: RunDir) -> None:
    for name in ("srp", "example", "offload", "findings"):
        (run.path / f"routing_{name}.parquet").unlink()
    page = routing_part(run, {}, {}, "r0")
    assert page is not None
    assert re.findall("<h3>(.*?)</h3>", page) == [
        "Hits by cache size",
        "The same, as the reference implementation counts",
        "One cache for all layers",
        "By layer",
    ]


def test_few_points_have_whiskers_and_many_a_band() -> None:
    def shown(count: int) -> str:
        points = [Point(x, 0.5, 0.4, 0.6) for x in range(count)]
        axes = AxisPlan("x", 0, count), AxisPlan("y", 0, 1)
        return plot_svg(Plot("Title", *axes, [CurveLine("a", points)], "told", Mark(1, "here")), "k")

    assert "<polygon" not in shown(5)
    assert "<circle" in shown(5)
    assert "<polygon" in shown(40)
    assert "<circle" not in shown(40)
    assert "here" in shown(5)


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_bars_are_as_long_as_their_values(width: int) -> None:
    shown = bars_svg(Bars("T", AxisPlan("J", 0, 1), [Bar("one", [0.25]), Bar("two", [0.5])], "told"), "k", width)
    short, long = (float(wide) for wide in re.findall(r'width="([\d.]+)" height="16"', shown))
    assert long == pytest.approx(2 * short, rel=0.01)


def test_the_map_has_a_cell_for_every_expert_of_every_token() -> None:
    random = np.random.default_rng(0)
    chosen = [random.permutation(64)[:8].tolist() for _ in range(50)]
    drawn = routing_map([f"w{i}" for i in range(50)], chosen, 64, "Map", "k")
    assert drawn.count("<rect") == 1 + 50 * 8
    assert "w49" in drawn


def measured(value: float, unit: str = "", method: str = "counted") -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "unit": unit, "n": 40, "method": method, "reason": None}


def test_every_table_tells_consistency_hit_rates_and_the_advised_cache() -> None:
    metrics = {
        "segment_routing_best_performance": measured(0.659),
        "segment_cache_best_hit_rate_corrected": measured(0.795),
        "lru_hit_rate_corrected": measured(0.767),
        "cache_knee_experts": measured(4, "experts"),
        "cache_knee_bytes": measured(1572864, "B"),
        "energy_per_token_j": measured(0.028, "J", "counter"),
        "energy_j": measured(46.0, "J", "counter"),
        "duration_s": measured(2.5, "s", "timed"),
    }
    summary = {"run_id": "a", "basis": "gpu", "method": "counter", "valid": True, "model": {"name": "moe"},
               "workload": {"kind": "routing", "parameters": {}}, "metrics": metrics, "validity": []}  # fmt: skip
    shown = Console(file=io.StringIO(), width=80)
    terminal([summary], shown)
    for text in (shown.file.getvalue(), markdown([summary]), as_latex([summary])):  # type: ignore[attr-defined]
        assert re.search(r"moe\D+65\.9\D+79\.5\D+76\.7\D+4\D+1\.57\D+28\.0\D+46\.0\D+2\.50", text), text
    (row,) = records([summary])
    assert (row["segment_routing_best_performance"], row["cache_knee_experts"]) == (0.659, 4)
