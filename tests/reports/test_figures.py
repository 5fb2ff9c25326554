"""Figures through matplotlib: every style and format, and nothing where there is nothing to draw."""

from __future__ import annotations

from pathlib import Path

import pytest
from reports.made_runs import make_run

from ipw.errors import UsageError
from ipw.reports.page.view import View, load_views

pytest.importorskip("matplotlib", reason="the extra 'figures' is not installed")

from ipw.reports.figures import FIGURES, STYLES, accuracy_energy, write_figures


def two(folder: Path, **more: object) -> list[View]:
    names = [("one $x$ <b>", 10.0), ("two", 20.0)]
    return load_views(
        [
            make_run(folder, f"r{i}", power_w=power, manifest={"model": {"name": name}} | more)
            for i, (name, power) in enumerate(names)
        ]
    )


OF_DECODING = {"masks"}
"""Figures that runs of a diffusion model have, and no others."""


@pytest.mark.parametrize("style", STYLES)
def test_every_figure_is_written_in_every_format(tmp_path: Path, style: str) -> None:
    written = write_figures(two(tmp_path), tmp_path / style, style)
    assert {path.stem for path in written} == set(FIGURES) - OF_DECODING
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in written)


def test_text_in_svg_is_text_and_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    views = two(tmp_path)
    first, again = (write_figures(views, tmp_path / name, "web", ["svg"]) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert "one $x$ &lt;b&gt;" in (tmp_path / "a" / "accuracy-energy.svg").read_text()


def test_estimates_are_called_so_on_the_axis(tmp_path: Path) -> None:
    views = load_views([make_run(tmp_path, method="model_estimate", manifest={"basis": "estimate"})])
    figure = accuracy_energy(views)
    assert figure is not None
    assert "estimated" in figure.axes[0].get_xlabel()


def test_joules_of_different_bases_share_no_axis(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name, manifest={"basis": name}) for name in ("gpu", "soc")]
    assert accuracy_energy(load_views(runs)) is None


def test_runs_that_hold_nothing_give_no_figure(tmp_path: Path) -> None:
    views = load_views([make_run(tmp_path, scores=(), readings=False)])
    assert write_figures(views, tmp_path / "figures", "paper", ["svg"]) == []


def test_an_unknown_style_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no style"):
        write_figures([], tmp_path, "poster")
