"""A site of many runs: what stands in one table, what is added by a second call, and the same in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from reports.made_runs import make_run

from ipw.cli import cli
from ipw.errors import UsageError
from ipw.metrics.summary import summarize
from ipw.reports.page.page import write_page
from ipw.reports.site.facets import facets
from ipw.reports.site.published import published
from ipw.runs.directory import RunDir

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)


def made(folder: Path, name: str, model: str, load: int = 1, **how: Any) -> RunDir:
    workload = {"kind": "lm", "parameters": {"dataset": "bundled", "concurrency": load}}
    how = {"scores": (1.0, 0.0) * 5} | how
    run = make_run(folder, name, manifest={"model": {"name": model}, "workload": workload}, **how)
    run.write_summary(summarize(run))
    return run


def ipw(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)


def site(*arguments: object) -> dict[str, Any]:
    result = ipw("site", *arguments, "--json")
    assert result.exception is None, result.exception
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three measured runs of two models, of which one draws least, and an estimate."""
    folder = tmp_path_factory.mktemp("runs")
    made(folder, "run-a", "org/small", power_w=10.0)
    made(folder, "run-b", "org/small", load=8, power_w=30.0)
    made(folder, "run-c", "org/large", power_w=20.0, scores=(1.0, 1.0, 0.0) * 5)
    made(folder, "run-d", "org/guess", method="model_estimate", power_w=1.0)
    return folder


@pytest.fixture(scope="module")
def built(runs: Path) -> Path:
    site(runs, "--out", runs.parent / "site", "--title", "Our <laboratory>")
    return runs.parent / "site"


def test_estimates_stand_apart_without_rank_and_the_data_are_those_of_the_tables(built: Path) -> None:
    html = (built / "index.html").read_text()
    assert html.count('<section class="group">') == 2
    measured, estimated = html.split('<section class="group">')[1:]
    assert "Measured" in measured
    assert measured.count('<span class="rank">1</span>') == 1
    assert "Estimated, not measured" in estimated
    assert '<span class="rank">1</span>' not in estimated
    assert "Our &lt;laboratory&gt;" in html
    assert "1 in flight · 15 questions" in measured
    rows = json.loads((built / "data" / "runs.json").read_text())
    assert {row["run_id"] for row in rows} == {"run-a", "run-b", "run-c", "run-d"}
    assert pq.read_table(built / "data" / "runs.parquet").column("run_id").to_pylist() == [r["run_id"] for r in rows]


def test_no_path_of_this_machine_is_published(built: Path, runs: Path) -> None:
    for path in [*built.rglob("*.html"), *built.rglob("*.json")]:
        assert str(runs) not in path.read_text(), path


def test_paths_in_models_and_commands_are_told_by_their_last_part_and_addresses_stay(tmp_path: Path) -> None:
    told = {"command": ["/home/ann/bin/agent", "--data=/srv/x y/q.jsonl"], "serve": "/data/vllm serve ~/m/big --port 1"}
    run = make_run(tmp_path, "run-a", manifest={"workload": {"kind": "lm", "parameters": told}})
    run.write_summary(summarize(run))
    site(run.path, "--out", tmp_path / "site")
    texts = [path.read_text() for path in (tmp_path / "site").rglob("*") if path.suffix in {".html", ".json", ".csv"}]
    for text in texts:
        assert not any(part in text for part in ("/home/ann", "/srv", "/data/vllm", "~/m"))
    assert any("vllm serve big --port 1" in text for text in texts)
    kept = ["http://127.0.0.1:80/v1/chat", "sudo chmod o+r /sys/class/powercap", "bundled", "org/name", 3, None]
    assert published(kept) == kept


def test_a_page_of_the_site_has_all_sections_of_its_workload(tmp_path: Path) -> None:
    run = make_run(tmp_path, "agent", manifest={"workload": {"kind": "agent", "parameters": {}}})
    tasks = [{"task": "t", "energy_j": 3.0, "turn_energy_j": 2.0, "tool_energy_j": 1.0, "pause_energy_j": 0.0,
              "turns": 1, "tool_calls": 0, "start_ns": 0, "end_ns": 1, "tokens": 1, "score": None}]  # fmt: skip
    run.write_table("tasks", pa.Table.from_pylist(tasks))
    run.write_summary(summarize(run))
    site(run.path, "--out", tmp_path / "site")
    (page,) = (tmp_path / "site" / "runs").glob("*/index.html")
    alone = tmp_path / "alone.html"
    write_page([run], alone)
    heads = [re.findall(r'<h2 id="([\w-]+)"', path.read_text()) for path in (page, alone)]
    assert heads[0] == heads[1]
    assert "agents" in heads[0]


def test_a_second_call_adds_a_run_and_touches_no_page_that_did_not_change(tmp_path: Path) -> None:
    first, second = made(tmp_path, "run-a", "one"), made(tmp_path, "run-b", "two")
    out = tmp_path / "site"
    assert site(first.path, "--out", out, "--title", "Mine")["new"] == 1
    (page,) = out.glob("runs/run-a-*/index.html")
    before = page.stat().st_mtime_ns
    told = site(second.path, "--out", out)
    assert (told["new"], told["runs"]) == (1, 2)
    told = site(first.path, second.path, "--out", out)
    assert (told["new"], told["changed"], told["unchanged"]) == (0, 0, 2)
    assert page.stat().st_mtime_ns == before
    assert "<h1>Mine</h1>" in (out / "index.html").read_text()
    first.write_summary({**(first.summary() or {}), "label": "renamed"})
    first.write_manifest({**first.manifest(), "label": "renamed"})
    assert site(first.path, "--out", out)["changed"] == 1
    assert "renamed" in (out / "index.html").read_text()
    shutil.rmtree(page.parent)
    assert site("--out", out)["runs"] == 1, "what was taken out by hand is gone"


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    run = made(tmp_path, "run-a", "one")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    refused = ipw("site", run.path, "--out", tmp_path / "mine")
    assert isinstance(refused.exception, UsageError)
    assert "is not empty and holds no site" in refused.exception.message
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["{", '{"metrics": 5}', '{"site_version": 99}', "[]"])
def test_a_damaged_site_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    run = made(tmp_path, "run-a", "one")
    out = tmp_path / "site"
    site(run.path, "--out", out)
    (out / "site.json").write_text(damage)
    refused = ipw("site", run.path, "--out", out)
    assert isinstance(refused.exception, UsageError)
    assert "\n" not in refused.exception.message


def test_a_run_is_found_by_what_it_is() -> None:
    gpus = {"devices": ["a: NVIDIA H100 GPU-0a1b", "a: NVIDIA H100 GPU-2c3d"], "basis": "gpu", "method": "counter"}
    told = facets(gpus | {"model": {"name": "m"}, "workload": {"kind": "lm", "parameters": {"rate": 2.5}}})
    assert told["hardware"] == "2 \N{MULTIPLICATION SIGN} NVIDIA H100"
    assert told["load"] == "2.5 a second"
    one_by_one = {"workload": {"kind": "lm", "parameters": {"rate": None, "concurrency": None}}}
    assert facets(one_by_one)["load"] == "1 in flight"
    guess = {"devices": ["a: estimate/cpu"], "method": "model_estimate", "host": {"cpu": "A CPU"}}
    assert facets(guess)["hardware"] == "A CPU"
    assert set(facets({}).values()) == {"\N{EN DASH}"}


# --- in a browser ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, built: Path) -> Iterator[Page]:
    """The open index; afterwards: no word on the console, and no request but for files of the site."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((built / "index.html").as_uri())
    yield page
    assert said == []
    assert [url for url in asked if not url.startswith(built.as_uri())] == []
    context.close()


def shown(page: Page) -> list[str]:
    return [str(text) for text in page.locator("tbody tr:visible bdi").all_inner_texts()]


def test_filters_sorting_and_a_runs_page_work_in_a_browser(page: Page) -> None:
    everything = shown(page)
    assert len(everything) == 4
    page.locator("select[name=model]").select_option("org/small")
    assert len(shown(page)) == 2
    page.locator("select[name=load]").select_option("8 in flight")
    (name,) = shown(page)
    assert "1 of 4 shown" in page.locator("#filters output").inner_text()
    page.reload()
    assert shown(page) == [name], "the address keeps what was chosen"
    page.locator("select[name=model]").select_option("")
    page.locator("select[name=load]").select_option("")
    page.locator("input[name=words]").fill("large")
    assert len(shown(page)) == 1
    page.locator("input[name=words]").fill("")
    assert shown(page) == everything
    page.locator("section.group").first.locator("thead button", has_text="Power").click()
    watts = page.locator("section.group").first.locator("tbody tr td:nth-of-type(6)")
    told = [float(each.get_attribute("data-value") or "nan") for each in watts.all()]
    assert told == sorted(told)
    page.locator("tbody a", has_text="large").click()
    assert "/runs/run-c-" in page.url
    page.get_by_role("link", name="All runs").click()
    assert page.url.endswith("/index.html")


def test_on_a_phone_accuracy_per_watt_stands_over_accuracy_per_joule_and_nothing_is_cut(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    first = page.locator("tbody tr").first
    heights = [first.locator(f"td[data-label^={name}]").bounding_box() for name in ("IPW", "IPJ")]
    assert all(box and box["x"] + box["width"] <= 390 for box in heights)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
