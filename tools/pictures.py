"""Makes the pictures of docs/images anew, from runs of today's code: needs the extras torch and lora, and Chromium.

    python tools/pictures.py [--runs build/pictures] [--to docs/images]

Runs that are not there yet are made first, in about three minutes; do nothing else meanwhile, or the pictures say so.
Look at each picture before you commit it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parent.parent
IPW = (sys.executable, "-m", "ipw.cli")
MADE = {
    "dense": ("run", "lm", "--model", "dense"),
    "moe": ("run", "lm", "--model", "moe"),
    "training": (
        "run", "train", "--method", "backprop,checkpointing,lora,local,momentum-local,zeroth-order", "--steps", "40",
    ),
}  # fmt: skip
WINDOW, PHONE = {"width": 1100, "height": 1180}, {"width": 390, "height": 1000}
GAP, FIGURE_WIDTH = 20, 680


def made(folder: Path) -> dict[str, Path]:
    """Make the runs that are not there; where each is."""
    for name, words in MADE.items():
        if not (folder / name).is_dir():
            making = folder / f"{name}.making"
            shutil.rmtree(making, ignore_errors=True)
            subprocess.run([*IPW, *words, "--out", making], check=True)
            (run,) = making.iterdir()
            run.rename(folder / name)
            making.rmdir()
    return {name: folder / name for name in MADE}


def reported(runs: dict[str, Path], folder: Path) -> tuple[Path, Path]:
    """Write pages and figures; the pages of the models and of training."""
    models, training = folder / "models.html", folder / "training.html"
    named = [f"{name}={runs[name]}" for name in ("dense", "moe")]
    subprocess.run([*IPW, "report", *named, "--page", models, "--figures", folder / "figures"], check=True)
    more = ("--page", training, "--figures", folder / "figures-training")
    subprocess.run([*IPW, "report", runs["training"], *more], check=True)
    return models, training


def seen(browser: Any, page: Path, to: Path, size: dict[str, int], scheme: str, heading: str = "") -> None:
    """Take a picture of a page, from a heading on."""
    with browser.new_context(viewport=size, color_scheme=scheme) as context:
        tab = context.new_page()
        tab.goto(page.resolve().as_uri())
        if heading:
            tab.get_by_role("heading", name=heading, exact=True).first.evaluate("found => found.scrollIntoView()")
        tab.screenshot(path=to)


def small(picture: Image.Image, to: Path) -> None:
    """Write a picture with few colours."""
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(to, optimize=True)


def main() -> None:
    """Make all."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=ROOT / "build/pictures", help="folder for runs and pages")
    parser.add_argument("--to", type=Path, default=ROOT / "docs/images")
    given = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no program chromium on the PATH: install it with the system's packages")
    given.runs.mkdir(parents=True, exist_ok=True)
    models, training = reported(made(given.runs), given.runs)
    shots = {name: given.runs / f"{name}.png" for name in ("light", "dark", "phone-models", "phone-training")}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        seen(browser, models, shots["light"], WINDOW, "light")
        seen(browser, training, shots["dark"], WINDOW, "dark", "Training steps")
        seen(browser, models, shots["phone-models"], PHONE, "light", "Results")
        seen(browser, training, shots["phone-training"], PHONE, "light", "Training steps")
        browser.close()
    for name in ("light", "dark"):
        small(Image.open(shots[name]), given.to / f"report-{name}.png")
    both = Image.new("RGB", (2 * PHONE["width"] + GAP, PHONE["height"]), "#888888")
    for place, name in enumerate(("phone-models", "phone-training")):
        both.paste(Image.open(shots[name]), (place * (PHONE["width"] + GAP), 0))
    small(both, given.to / "report-phone.png")
    for folder, figure, name in (
        ("figures", "accuracy-energy", "accuracy-energy"),
        ("figures-training", "training-loss-energy", "training"),
    ):
        drawn = Image.open(given.runs / folder / f"{figure}.png").convert("RGB")
        size = FIGURE_WIDTH, round(drawn.height * FIGURE_WIDTH / drawn.width)
        small(drawn.resize(size, Image.Resampling.LANCZOS), given.to / f"figure-{name}.png")


if __name__ == "__main__":
    main()
