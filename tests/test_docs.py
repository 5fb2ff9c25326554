"""What the README and the guides tell people to type works: commands, Python, TOML, links."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import reference_pages
from click.testing import CliRunner
from doubles.desk import PAGES, ROOT, Desk, blocks, commands, desk_in
from doubles.openai_server import Behaviour, serving

from ipw import errors
from ipw.cli import cli
from ipw.errors import INCONCLUSIVE, INVALID, OK, REGRESSION
from ipw.gate.accuracy import judge_accuracy
from ipw.gate.family import stage_alpha
from ipw.gate.policy import read_policy
from ipw.reports.facts import read_facts
from ipw.studies.runfile import load as load_run_file
from ipw.studies.suite import read_suite
from ipw.verbs.common.lazy import WORKLOADS
from ipw.workloads.texts.datasets import load

NOT_RUN = {
    r"source ": "a shell; what it puts on the PATH is what runs here",
    r"make |pip install": "the network; what they name is looked up below",
    r"ipw run lm .*hf:": "the network; tests/workloads/lm/data/test_hub_datasets.py reads folders of the same form",
    r"ipw run lm .*lm-eval:": "lm-evaluation-harness; tests/workloads/lm/data/test_harness_tasks.py has it",
    r"ipw run lm .*'vllm serve": "vLLM; tests/workloads/lm/servers/test_served.py starts a stand-in",
    r"ipw run lm .*'transformers serve": "a model of the hub; tests/workloads/lm/test_transformers.py serves one",
    r"ipw run lm .*--dtype": "10 s; tests/workloads/lm/test_transformers.py loads a folder",
    r"ipw run diffusion .*(hf:|Dream)": "gigabytes; tests/workloads/diffusion/test_checkpoints.py has small ones",
    r"ipw run train": "8 s a method; tests/workloads/training/test_run.py trains by each",
    r"ipw doctor --probe": "10 s a channel; tests/verbs/test_doctor_probe.py probes one",
    r"ipw experts advise (trace|model)": "files of one's own; tests/verbs/test_experts.py makes some",
    r"ipw gateway .*-- aiperf": "AIPerf; tests/interchange/test_import_joules.py joins joules of requests",
    r"ipw import .*(benchmarks|results_|.*--joules)": "others; tests/interchange/peer_files.py makes some",
    r"ipw export .*--to": "trackers' packages; tests/interchange/test_export_peers.py logs to those that are installed",
    r"ipw sensors serve": "it serves until it is stopped; tests/test_remote.py stops it",
    r"ipw (run lm|doctor) .*--sensors '?(http|dcgm)": "another machine; tests/test_remote.py has one",
    r"ipw watch": "a second terminal; tests/test_watch.py and tests/studies/test_suite.py watch",
    r"ipw (ab|calibrate) .*--pairs 2 ": "shortened, they are those of docs/gate.md, which are run",
    r"ipw run suite.toml --engine-cluster": "a cluster of Ray; tests/test_cluster.py has one",
}
"""Commands that are only checked, and what they need that is not here."""
NEEDS = {
    "ipw run lm --model": "xllamacpp",
    "ipw run agent": "xllamacpp",
    "ipw gateway --model": "xllamacpp",
    "ipw run (routing|diffusion)": "torch",
    "ipw experts advise moe": "torch",
}
"""Extras without which a command cannot run."""
ONCE = r"ipw (run routing|experts advise) "
"""Seconds of computing each: what several pages tell in the same words is run on the first of them."""
VERDICTS = {"ab": {OK, REGRESSION, INCONCLUSIVE, INVALID}}
"""Exit codes that say what was measured, by verb."""
COMMANDS = commands()


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk_in(tmp_path_factory.mktemp("desk")) as found:
        yield found


def why_not(command: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, command)), None)


@pytest.mark.parametrize(("page", "command"), [each for each in COMMANDS if each[1].startswith("ipw ")])
def test_a_documented_command_is_one_that_ipw_takes(page: str, command: str) -> None:
    verb: click.Command = cli
    words = shlex.split(command)[1:]
    while isinstance(verb, click.Group):
        found = verb.get_command(click.Context(verb), words.pop(0))
        assert found is not None, f"{page}: {command}"
        verb = found
    verb.make_context(verb.name, words)


@pytest.mark.timeout(400)  # it takes 5 to 20 s, and four times as long on a machine that does other things
@pytest.mark.parametrize("page", sorted({page for page, _ in COMMANDS}))
def test_the_commands_of_a_page_work_in_their_order(desk: Desk, page: str) -> None:
    """On the first page models run in the engine that it says; on the others a server answers in their place."""
    for _, command in commands(page):
        missing = next((extra for pattern, extra in NEEDS.items() if re.match(pattern, command)), "json")
        first = next(name for name, told in COMMANDS if told == command)
        if why_not(command) or not find_spec(missing) or (first != page and re.match(ONCE, command)):
            continue
        code = desk.type(command, engine=page == "README.md")
        assert code in VERDICTS.get(command.split()[1], {OK}), f"{page}: {command}"


def test_commands_that_are_not_run_have_a_reason_and_each_reason_is_needed() -> None:
    for pattern, why in NOT_RUN.items():
        assert any(re.match(pattern, command) for _, command in COMMANDS), pattern
        for path in re.findall(r"tests/\S+\.py", why):
            assert (ROOT / path).is_file()
    assert len([command for _, command in COMMANDS if not why_not(command)]) >= 35


def test_what_is_made_and_installed_is_there() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pinned = (ROOT / "constraints.txt").read_text().splitlines()
    for _, command in COMMANDS:
        if command.startswith("make "):
            assert command.split()[1] in targets
        for found in re.findall(r"'\.\[([\w,-]+)\]'", command):
            assert set(found.split(",")) <= set(extras)
        for found in re.findall(r"\S+==\S+", command):
            assert found in pinned


def test_the_ci_files_of_the_gate_say_what_ipw_and_its_action_take() -> None:
    (_, action), (_, gitlab) = blocks("yaml", "gate.md")
    inputs = (ROOT / "action.yml").read_text().partition("inputs:")[2].partition("\nruns:")[0]
    for name in re.findall(r"^    (\w+):", action, re.MULTILINE):
        assert f"\n  {name}:" in inputs
    (command,) = re.findall(r"- (ipw .+)", gitlab)
    test_a_documented_command_is_one_that_ipw_takes("gate.md", command)


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_files_of_the_guides_are_read_as_they_stand(desk: Desk, tmp_path: Path) -> None:
    def written(text: str) -> Path:
        (tmp_path / "file.toml").write_text(text)
        return tmp_path / "file.toml"

    (_, run), (_, gate) = blocks("toml", "gate.md")
    assert load_run_file(written(run), WORKLOADS).workload == "lm"
    assert len(read_policy(tomllib.loads(gate), "gate.toml", "lm").rules) == 3
    (_, suite), (_, placement) = blocks("toml", "studies.md")
    assert len(read_suite(written(suite), WORKLOADS).cells) == 2 * 4
    head = suite.partition("[matrix]")[0]
    assert [cell.placement.accelerator for cell in read_suite(written(head + placement), WORKLOADS).cells[::2]]
    ((_, facts),) = blocks("toml", "reports.md")
    assert set(read_facts(written(facts)).models) == {"qwen3-8b", "a-large-one"}
    ((_, decoding),) = blocks("toml", "diffusion.md")
    assert [cell.cell.options["method"] for cell in read_suite(written(decoding), WORKLOADS).cells][1] == "local-leap"
    ((_, program),) = blocks("toml", "agents.md")
    assert load_run_file(written(program), WORKLOADS).options["command"] == ("python", "agent.py")
    *arms, accuracy, energy = (text for _, text in blocks("toml", "ci-check.md"))
    assert [load_run_file(written(arm), WORKLOADS).options["model"] for arm in arms] == ["dense", "moe"]
    assert len(read_policy(tomllib.loads(accuracy + energy), "gate.toml", "lm").rules) == 2
    assert len(blocks("toml")) == 13, "a new block is read here too"


def test_the_gate_of_the_guide_passes_where_nothing_has_changed() -> None:
    """Its accuracy, at the first look, which is the strictest: all answers alike, and then six of them turned."""
    run, gate = (tomllib.loads(text) for _, text in blocks("toml", "gate.md"))
    questions = len(load(run["run"]["dataset"], limit=run["run"].get("limit")).questions)
    alpha = stage_alpha(gate["gate"]["alpha"], 0)
    same = np.ones(questions)
    for turned in (0, 3):
        base, candidate = same.copy(), same.copy()
        base[:turned], candidate[questions - turned :] = 0, 0
        margin = gate["metrics"]["accuracy"]["margin_points"]
        assert judge_accuracy(base, candidate, margin_points=margin, alpha=alpha).verdict == "ok"


# --- Python ---------------------------------------------------------------------------------------------------------


def executed(script: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(script, "documented", "exec"), names)
    return names


ELSEWHERE = ("def test_", "LABMETER", "# agent.py")
"""In Python that is run below."""
SCRIPTS = [(page, text) for page, text in blocks("python") if not any(mark in text for mark in ELSEWHERE)]


@pytest.mark.parametrize(("page", "script"), SCRIPTS, ids=[f"{page}{i}" for i, (page, _) in enumerate(SCRIPTS)])
def test_documented_python_runs_as_it_stands_and_prints_no_none(
    desk: Desk, page: str, script: str, capsys: pytest.CaptureFixture[str]
) -> None:
    executed(script)
    said = capsys.readouterr().out
    assert "None" not in said
    assert "below resolution" not in said
    assert not re.search(r"^print\(", script, re.MULTILINE) or re.search(r"\d", said)


def test_the_documented_sensor_reads(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (script,) = (text for _, text in blocks("python", "sensors.md"))
    ((_, entry),) = blocks("toml", "sensors.md")
    module, name = tomllib.loads(entry)["project"]["entry-points"]["ipw.sensors"]["labmeter"].split(":")
    assert module == "labmeter"
    monkeypatch.setenv("LABMETER", "watts")
    assert executed(script)[name]().channels[0].status == "absent"
    Path("watts").write_text("12.5\n")
    meter = executed(script)[name]()
    assert (meter.channels[0].status, meter.read(0).value) == ("ok", 12.5)


def test_the_documented_workload_is_run_and_reported(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (script,) = (text for _, text in blocks("python", "extending.md") if "Workload(" in text)
    ((_, entry),) = blocks("toml", "extending.md")
    ((name, target),) = tomllib.loads(entry)["project"]["entry-points"]["ipw.workloads"].items()
    info = Path("site/copying-1.dist-info")
    info.mkdir(parents=True)
    Path("site/copying.py").write_text(script)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: copying\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[ipw.workloads]\n{name} = {target}\n")
    environment = os.environ | {"PYTHONPATH": str(Path("site").absolute())}
    command = [sys.executable, "-m", "ipw.cli", "run", name, "--mib", "1", "--times", "3", "--idle", "0", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"]["copied_bytes"]["value"] == 3 * 2**20


def test_the_documented_agent_asks_through_the_gateway_and_its_tasks_take_the_documented_scores(desk: Desk) -> None:
    pytest.importorskip("aiohttp")
    ((_, script),) = blocks("python", "my-agent.md")
    ((_, scores),) = blocks("text", "my-agent.md")
    Path("asks.py").write_text(script)
    Path("scores.csv").write_text(scores)
    with serving(Behaviour(["4"], streamed=False)) as server:
        words = ["gateway", "--idle", "0", "--base-url", server.url, "--out", "asked", "--", sys.executable, "asks.py"]
        assert cli.main(words, standalone_mode=False) == OK
    (run,) = Path("asked").iterdir()
    assert cli.main(["score", str(run), "--scores", "scores.csv"], standalone_mode=False) == OK
    assert json.loads((run / "summary.json").read_text())["metrics"]["task_accuracy"]["value"] == pytest.approx(2 / 3)
    assert json.loads((run / "manifest.json").read_text())["scoring_reason"].endswith("its tasks are scored instead")


def test_the_documented_test_passes_under_pytest(desk: Desk) -> None:
    (script,) = (text for _, text in blocks("python", "gate.md") if "def test_" in text)
    Path("test_sorting.py").write_text(script)
    plugins = ["-p", "no:cacheprovider", "-p", "ipw.integrations.pytest"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "--ipw-save", "before", "test_sorting.py"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=alone)
    assert done.returncode == 0, done.stdout
    assert Path(".ipw/energy/before.json").is_file()


def test_documented_python_for_a_trainer_imports_what_there_is() -> None:
    (script,) = [script for _, script in blocks("py") if "EnergyCallback" in script]
    compile(script, "documented", "exec")
    if find_spec("torch") and find_spec("transformers"):
        executed(script.partition("\n")[0])


# --- links ----------------------------------------------------------------------------------------------------------

EVERY = [*PAGES, *sorted((ROOT / "docs").glob("*/*.md")), ROOT / "SECURITY.md"]


def anchors(page: Path) -> set[str]:
    """Where links into a page lead, by its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(set(EVERY)), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}"


def test_the_site_has_every_page_once() -> None:
    named = re.findall(r"(?<![\w/-])([\w/-]+\.md)\b", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])
    assert sorted(named) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


def test_the_readme_names_every_sensor_and_no_other() -> None:
    table = (ROOT / "README.md").read_text().partition("## What is measured on which hardware")[2].partition("\n## ")[0]
    rows = [row.split("|")[3] for row in table.splitlines() if row.startswith("| ")][1:]
    told = {re.split(r"[:?]", name)[0] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    listed = CliRunner().invoke(cli, ["list", "sensors", "--json"]).output
    assert told == {re.split(r"[:?]", each["name"])[0] for each in json.loads(listed)}


# --- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", reference_pages.PAGES, ids=lambda page: page.name)
def test_a_page_of_the_reference_is_what_the_code_says(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == reference_pages.PAGES[page](), "run `make docs`"


def test_every_exit_code_is_told() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert set(errors.EXIT_CODES) == codes
