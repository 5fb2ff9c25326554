"""The page in a real browser: sorting, filtering, zooming, dark mode, print; and nothing leaves it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from reports.made_runs import make_run

from ipw.reports.page.page import write_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: the first draws most, the last is right least often, one has no energy."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [
        make_run(folder, "a", power_w=30.0, scores=(1.0, 1.0, 1.0, 0.0) * 10, manifest={"model": {"name": "large"}}),
        make_run(folder, "b", power_w=10.0, scores=(1.0, 0.0) * 20, manifest={"model": {"name": "middle"}}),
        make_run(folder, "c", power_w=20.0, scores=(1.0, 0.0, 0.0, 0.0) * 10, manifest={"model": {"name": "small"}}),
    ]
    write_page(runs, folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The open page; afterwards: no word on the console, no request but the page itself."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert said == []
    assert asked == [report.as_uri()]
    context.close()


def names(page: Page) -> list[str]:
    cells = page.locator("table.sortable tbody tr:visible th bdi")
    return [str(text) for text in cells.all_inner_texts()]


def test_a_click_on_a_heading_sorts_by_it_and_another_turns_the_order(page: Page) -> None:
    heading = page.locator("table.sortable thead button", has_text="Accuracy")
    heading.click()
    assert names(page) == ["small", "middle", "large"]
    assert page.locator("th[aria-sort=ascending]").count() == 1
    heading.click()
    assert names(page) == ["large", "middle", "small"]
    page.locator("table.sortable thead button", has_text="Power").click()
    assert names(page) == ["middle", "small", "large"]


def test_sorting_works_with_the_keyboard(page: Page) -> None:
    page.locator("table.sortable thead button", has_text="Model").focus()
    page.keyboard.press("Enter")
    assert names(page) == ["large", "middle", "small"]


def test_a_filter_hides_the_rows_that_do_not_match_and_says_how_many_are_left(page: Page) -> None:
    page.get_by_label("Filter").fill("mid")
    assert names(page) == ["middle"]
    assert page.get_by_text("1 of 3 shown").is_visible()
    page.get_by_label("Filter").fill("")
    assert len(names(page)) == 3


def test_a_drag_over_power_zooms_and_a_button_shows_the_whole_run_again(page: Page) -> None:
    chart = page.locator("svg.zoomable").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    before = chart.locator(".ticks text").all_inner_texts()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert "matrix" in str(chart.locator(".along").first.get_attribute("transform"))
    assert chart.locator(".ticks text").all_inner_texts() != before
    page.get_by_role("button", name="Whole run").first.click()
    assert chart.locator(".ticks text").all_inner_texts() == before


def test_the_keyboard_zooms_too(page: Page) -> None:
    area = page.locator(".scroll:has(svg.zoomable)").first
    area.focus()
    page.keyboard.press("+")
    assert page.get_by_role("button", name="Whole run").first.is_enabled()
    page.keyboard.press("0")
    assert page.get_by_role("button", name="Whole run").first.is_disabled()


def test_dark_mode_turns_the_surface_dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"


def test_print_is_black_on_white_and_leaves_the_tools_out(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".tools").first.is_visible()


def test_without_a_script_all_numbers_and_charts_are_there(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert names(page)
    assert page.locator("svg.zoomable polyline").first.is_visible()
    assert page.locator(".tools").count() == 0
    context.close()


def test_a_narrow_window_never_scrolls_sideways_as_a_whole(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


OUTSIDE = """width => [...document.querySelectorAll("svg[role=img], table")]
  .filter(e => e.getClientRects().length && e.getBoundingClientRect().right > width + 1).length"""


def test_on_a_phone_no_chart_and_no_table_is_cut_and_ipw_stands_beside_ipj(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate(OUTSIDE, 390) == 0
    assert page.locator("svg.zoomable:visible").count() == 3, "one a run, and its tools once"
    assert page.get_by_role("button", name="Whole run").count() == 3
    cells = page.locator("table.sortable tbody tr").first.locator("td")
    told = cells.evaluate_all("cells => cells.map(c => getComputedStyle(c, '::before').content)")
    assert [text.split(" ")[0].strip('"') for text in told[:3]] == ["Accuracy", "IPW", "IPJ"]
    page.set_viewport_size({"width": 1100, "height": 900})
    assert page.locator("svg.zoomable:visible").count() == 3


def test_on_paper_no_column_is_cut(page: Page) -> None:
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 within its margins
    page.emulate_media(media="print")
    assert page.evaluate(OUTSIDE, 703) == 0
    assert page.locator("table.sortable thead").first.is_visible()


def test_contents_lead_to_their_sections(page: Page) -> None:
    links = page.locator("nav.contents a")
    assert links.count() >= 8
    for link in links.all():
        assert page.locator(str(link.get_attribute("href"))).count() == 1


def test_hostile_content_shows_as_text_and_nothing_of_it_runs(browser: Browser, tmp_path: Path) -> None:
    hostile = "</td></table></script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e\x1b[2J"
    n = 12
    run = make_run(
        tmp_path,
        scores=[0.0] * n,
        manifest={"model": {"name": hostile}, "host": {"name": hostile, "cpu": hostile}},
        columns={name: [hostile + "x" * 1_000_000] * n for name in ("query_id", "response", "answer")}
        | {"subject": [hostile + str(i % 3) for i in range(n)]},
    )
    write_page([run], tmp_path / "report.html")
    context = browser.new_context()
    page = context.new_page()
    seen: list[str] = []
    page.on("dialog", lambda dialog: seen.append(dialog.message))
    page.on("console", lambda message: seen.append(message.text))
    page.on("request", lambda request: seen.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    assert seen == [(tmp_path / "report.html").as_uri()]
    assert page.title() != "owned"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert "<script>document.title" in page.locator("table.sortable tbody th").first.inner_text()
    context.close()


def test_every_number_in_the_ranking_tells_its_definition_its_count_and_its_method(page: Page) -> None:
    cells = page.locator("table.sortable tbody td")
    assert cells.count() >= 15
    for told in [cells.nth(i).get_attribute("title") or "" for i in range(cells.count())]:
        assert " = " in told  # the formula
        assert "n = " in told
        assert "method: " in told
