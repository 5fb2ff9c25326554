"""What the user knows and no run can: read, checked, and shown beside the runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.reports.facts import Facts, read_facts
from ipw.reports.page.page import write_page

TOLD = """
grid_g_co2e_per_kwh = 360
grid_source = "the user's mix <b>"
electricity_per_kwh = 0.3
currency = "EUR"
[models.small]
released = 2024-01-01
parameters = 4e9
[models.large]
released = 2025-01-01
parameters = 200e9
role = "cloud"
price_per_million_tokens = [0.2, 0.8]
[router]
false_local = 0.1
"""


def read(folder: Path, text: str) -> Facts:
    (folder / "facts.toml").write_text(text)
    return read_facts(folder / "facts.toml")


def test_joules_become_kilowatt_hours_money_and_carbon(tmp_path: Path) -> None:
    facts = read(tmp_path, TOLD)
    assert facts.carbon_g(3.6e6) == 360
    assert facts.cost(7.2e6) == pytest.approx(0.6)
    assert Facts().carbon_g(1.0) is None
    assert facts.of("large").cloud
    assert facts.of("unheard of").parameters is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grid_g_co2e_per_kwh = -1", "not a number from 0 on"),
        ("grid_g_co2e_per_kwh = true", "not a number"),
        ("grid = 1", "'grid'"),
        ("[router]\nfalse_local = 1.5", "between 0 and 1"),
        ("[models.a]\nrole = 'moon'", "role"),
        ("[models.a]\nreleased = 'May'", "date"),
        ("[models.a]\nprice_per_million_tokens = [1]", "two numbers"),
        ("= broken", "is not valid TOML"),
    ],
)
def test_a_file_that_says_something_else_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_the_page_shows_coverage_routing_years_and_carbon_where_the_facts_allow(tmp_path: Path) -> None:
    names = {"small": (1.0, 0.0, 0.0, 0.0), "large": (1.0, 1.0, 1.0, 0.0)}
    runs = [
        make_run(tmp_path, name, scores=scores * 10, power_w=watts, manifest={"model": {"name": name}})
        for (name, scores), watts in zip(names.items(), (10.0, 30.0), strict=True)
    ]
    path = tmp_path / "report.html"
    write_page(runs, path)
    assert "any of them" in path.read_text()
    assert "CO₂" not in path.read_text()
    write_page(runs, path, read(tmp_path, TOLD))
    page = path.read_text()
    for shown in (
        "Local models with large behind them",
        "Difficulty",
        "2025-01-01",
        "CO₂e",
        "the user&#x27;s mix &lt;b&gt;",
    ):
        assert shown in page
    # A quarter is solved by the small one for a third of the energy; a tenth of the rest stays local and half is lost.
    assert "16.7 %" in page
    assert "5.0 points" in page


def test_joules_of_different_bases_save_nothing_that_could_be_told(tmp_path: Path) -> None:
    runs = [
        make_run(tmp_path, name, manifest={"model": {"name": name}, "basis": basis})
        for name, basis in (("small", "soc"), ("large", "gpu"))
    ]
    write_page(runs, tmp_path / "report.html", read(tmp_path, TOLD))
    assert "No energy is compared: the joules have different bases (gpu, soc)" in (tmp_path / "report.html").read_text()


def test_runs_that_nobody_scored_are_not_said_to_solve_nothing(tmp_path: Path) -> None:
    unscored = {"score": [None] * 120}
    runs = [
        make_run(tmp_path, name, manifest={"model": {"name": name}}, columns=unscored) for name in ("small", "large")
    ]
    write_page(runs, tmp_path / "report.html")
    assert "any of them" not in (tmp_path / "report.html").read_text()
