"""A workload is one entry: what it names exists, and a new one changes nothing outside its own folder."""

from __future__ import annotations

import importlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ipw import registry
from ipw.cli import cli
from ipw.gate.policy import read_policy
from ipw.metrics import definitions
from ipw.metrics.definitions import definitions_of
from ipw.runs.directory import RunDir

ROOT = Path(__file__).parents[1]
NAMES = ("name", "about", "table", "named_by")
"""Members of an entry that are plain words."""
TOY = """
    import time
    import click
    from ipw.metering.meter import Meter
    from ipw.metrics.definitions import Definition
    from ipw.registry import Workload
    from ipw.runs.directory import RunDir
    from ipw.verbs.common.conclude import conclude
    from ipw.verbs.common.options import IDLE, JSON, OUT, SENSORS, STRICT
    from ipw.reports.markup import tag

    DEFINITIONS = (Definition("hops", "Hops", "hops", "higher", "how often the toy hopped"),)
    COLUMNS = (("hops", "Hops"), ("duration_s", "Time"))
    ENTRY = Workload(
        name="toy", about="Hops.", command="toy_workload:command", measure="toy_workload:measure",
        derive="toy_workload:derive", definitions="toy_workload:DEFINITIONS", columns="toy_workload:COLUMNS",
        sections=("toy_workload:section",), named_by="hops",
    )

    def measure(options, *, out, audience):
        run = RunDir.create(out, "toy")
        manifest = {"workload": {"kind": "toy", "parameters": {"hops": options["hops"]}}, "model": {"name": "frog"}}
        with Meter(run, manifest, options["sensors"]) as meter, meter.span("measure", "measure"):
            for hop in range(options["hops"]):
                time.sleep(0.01)
        return run, False

    def derive(run):
        from ipw.attribution.run import derive_window
        derive_window(run)
        hops = run.manifest()["workload"]["parameters"]["hops"]
        entry = {"value": float(hops), "low": None, "high": None, "unit": "hops", "n": 1, "method": "counted"}
        return {"metrics": {"hops": entry | {"interval": None, "reason": None}}}

    def section(views, groups):
        return tag("section", tag("h2", "Hopping")) if any(g.kind == "toy" for g in groups) else None

    @click.command("toy")
    @click.option("--hops", type=int, default=3)
    @SENSORS
    @IDLE
    @OUT
    @JSON
    @STRICT
    def command(*, out, as_json, strict, **options):
        run, interrupted = measure(options, out=out, audience=None)
        return conclude(run, interrupted=interrupted, as_json=as_json, strict=strict)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "site"
    (folder / "toy-1.dist-info").mkdir(parents=True)
    (folder / "toy_workload.py").write_text(textwrap.dedent(TOY))
    (folder / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (folder / "toy-1.dist-info" / "entry_points.txt").write_text("[ipw.workloads]\ntoy = toy_workload:ENTRY\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    importlib.invalidate_caches()
    registry._added.cache_clear()
    definitions.definitions_of.cache_clear()
    yield
    sys.modules.pop("toy_workload", None)
    registry._added.cache_clear()
    definitions.definitions_of.cache_clear()


def called(words: list[str]) -> Result:
    return CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("entry", registry.BUILT_IN.values(), ids=lambda entry: entry.name)
def test_what_an_entry_names_is_there(entry: registry.Workload) -> None:
    for member in fields(entry):
        value = getattr(entry, member.name)
        for target in (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ():
            if target and member.name not in NAMES:
                assert registry.load(target) is not None


@pytest.mark.usefixtures("toy")
def test_another_packages_workload_is_run_told_drawn_and_gated(tmp_path: Path) -> None:
    ran = called(
        ["run", "toy", "--hops", "5", "--sensors", "estimate", "--idle", "0", "--out", str(tmp_path / "runs"), "--json"]
    )
    assert ran.return_value == 0
    summary = json.loads(ran.stdout)
    assert summary["metrics"]["hops"]["value"] == 5
    page = (RunDir.open(Path(summary["run"])).path / "report.html").read_text()
    assert "Hopping" in page
    assert "how often the toy hopped" in page
    assert "frog 5" in page
    policy = read_policy({"metrics": {"hops": {"margin": 0.1}}}, "gate.toml", "toy")
    assert policy.rules[0].harm == "lower"


@pytest.mark.usefixtures("toy")
def test_another_packages_workload_is_a_cell_of_a_suite(tmp_path: Path) -> None:
    suite = tmp_path / "hops.toml"
    suite.write_text(
        'name = "hops"\n[run]\nworkload = "toy"\nsensors = "estimate"\nidle = 0\n[matrix]\nhops = [1, 2]\n'
    )
    ran = CliRunner().invoke(
        cli,
        ["run", str(suite), "--out", str(tmp_path / "runs"), "--json"],
        standalone_mode=False,
        catch_exceptions=False,
    )
    assert [cell["status"] for cell in json.loads(ran.stdout)["cells"]] == ["done", "done"]


def test_a_package_that_cannot_be_loaded_costs_itself_alone(toy: None, tmp_path: Path) -> None:
    (tmp_path / "site" / "toy_workload.py").write_text("raise RuntimeError('broken')")
    assert registry.workload("toy") is None
    assert registry.workload("lm") is registry.LM


def test_every_metric_of_stored_runs_is_defined() -> None:
    for path in (ROOT / "tests" / "runs" / "version-1").glob("*/summary.json"):
        summary = json.loads(path.read_text())
        known = definitions_of(summary["workload"]["kind"])
        found = {*summary["metrics"]}.union(*(each["metrics"] for each in summary.get("by_method", {}).values()))
        assert found <= set(known), path.parent.name
        for name, entry in summary["metrics"].items():
            assert known[name].unit == entry["unit"], name


def test_programs_that_are_started_by_name_are_there() -> None:
    named = re.compile(r'"(ipw(?:\.[a-z_0-9]+)+)(?::\w+)?"')
    # The attributes of traces have names of this form too, and are no modules.
    paths = [path for path in (ROOT / "ipw").rglob("*.py") if "otlp" not in path.name]
    found = {name for path in paths for name in named.findall(path.read_text(encoding="utf-8"))}
    assert len(found) > 20
    groups = {registry.ENTRY_POINTS, "ipw.sensors", "ipw.exe"}
    missing = sorted(name for name in found - groups if not find_spec(name))
    assert not missing


def test_no_verb_imports_another() -> None:
    targets = {verb.target for verb in cli.verbs.values()} | {entry.command for entry in registry.BUILT_IN.values()}
    paths = {target.partition(":")[0] for target in targets}
    modules = {path if path.startswith("ipw.") else f"ipw.verbs.{path}" for path in paths}
    for module in modules:
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        imported = set(re.findall(r"from (ipw\.verbs\.[\w.]+) import", text))
        assert not imported & (modules - {module}), module


def test_names_that_programs_of_others_import_stay() -> None:
    for name in (
        "ipw:load_run", "ipw.gate:judge", "ipw.workloads.routing.metrics:segment_cache_best_hit_rate",
        "ipw.workloads.lm.datasets:load", "ipw.workloads.lm.identity:digest",
        "ipw.workloads.training.methods.auxiliary:cuts", "ipw.workloads.training.methods.byte_code:encode",
        "ipw.workloads.diffusion:decode",
    ):  # fmt: skip
        assert callable(registry.load(name))
