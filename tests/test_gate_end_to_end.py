"""`ipw ab` from run files to exit code, on recorded sensors and stand-in servers; more often: tools/bench."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import recording
from doubles.openai_server import Behaviour, Request, serving
from doubles.patience import undisturbed

from ipw.cli import cli
from ipw.errors import IpwError
from ipw.gate.calibration import runner
from ipw.gate.policy import read_policy
from ipw.studies.runfile import parse
from ipw.verbs.common.lazy import WORKLOADS

ROOT = Path(__file__).parent.parent
SLEEP = '[run]\nworkload = "measure"\ncommand = ["sleep", "0.3"]\nidle = 0\nsensors = "replay"\n'
GATE = "[metrics.energy_j]\nmargin = 1.0\n"
FILES = {
    "gate.json",
    "gate.md",
    "gate.xml",
    "badge.json",
    "benchmark-smaller.json",
    "benchmark-bigger.json",
    "bencher.json",
}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package at 40 W, as recorded; no CI service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with ExitStack() as stack:
        for name, value in recording(tmp_path / "machine", stack).items():
            monkeypatch.setenv(name, value)
        yield


def ab(base: str, candidate: str, gate: str, *more: str) -> int:
    for name, text in (("base", base), ("candidate", candidate), ("gate", gate)):
        Path(f"{name}.toml").write_text(text)
    files = ["--base", "base.toml", "--candidate", "candidate.toml", "--gate", "gate.toml"]
    code: int = cli.main(["ab", *files, "--settle", "0", "--pairs", "2", "--starts", "2", *more], standalone_mode=False)
    return code


def found() -> dict[str, Any]:
    assert {file.name for file in Path("gate").iterdir()} >= FILES
    document: dict[str, Any] = json.loads(Path("gate/gate.json").read_text())
    return document


def answering(right: Callable[[int], bool]) -> Callable[[Request], Behaviour]:
    def answer(request: Request) -> Behaviour:
        return Behaviour(tokens=["4" if right(int(request.prompt.split()[0])) else "5"])

    return answer


def test_a_loss_of_accuracy_is_a_regression_and_every_artifact_is_there(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    rows = [json.dumps({"prompt": f"{i} plus nothing", "answer": "4"}) for i in range(300)]
    Path("q.jsonl").write_text("\n".join(rows))
    run = '[run]\nworkload = "lm"\nmodel = "stand-in"\ndataset = "q.jsonl"\nconcurrency = 8\nwarmup = 1\nidle = 0\n'
    run += 'sensors = "replay"\nbase-url = "{}"\n'
    good, bad = answering(lambda i: i % 10 < 9), answering(lambda i: i % 10 < 8)
    with serving(good) as base, serving(bad) as candidate:
        gate = "[metrics.accuracy]\nmargin_points = 3\n"
        assert ab(run.format(base.url), run.format(candidate.url), gate) == 1
        document = found()
        metric = document["metrics"][0]
        assert (document["verdict"], metric["verdict"]) == ("regressed", "regressed")
        assert metric["change"] == pytest.approx(-0.1)
        assert document["starts"] == 1  # servers that were up before are not ours to start
        assert "regressed" in Path("summary.md").read_text()
        assert "::error title=ipw gate%3A accuracy regressed::" in capfd.readouterr().err
        assert ab(run.format(candidate.url), run.format(candidate.url), gate, "--out", "same") == 0
        assert ab(run.format(base.url), run.format(candidate.url), gate, "--shadow") == 0
        assert found()["verdict"] == "regressed"


def test_commands_are_held_to_a_margin_in_joules() -> None:
    def held() -> None:
        shutil.rmtree("gate", ignore_errors=True)
        assert ab(SLEEP, SLEEP.replace("0.3", "1.2"), GATE) == 1

    undisturbed(held)
    document = found()
    assert document["basis"] == "package"
    assert len(document["runs"]) == 2 * document["pairs"] >= 4
    assert [run["arm"] for run in document["runs"][:4]] == ["base", "candidate", "candidate", "base"]


def test_runs_of_different_bases_are_invalid() -> None:
    assert ab(SLEEP, SLEEP.replace("replay", "estimate"), GATE) == 4
    document = found()
    assert document["verdict"] == "invalid"
    assert document["pairs"] == 1  # no more time is spent on it
    assert "basis" in [check["check"] for check in document["validity"] if not check["ok"]]


def test_an_arm_that_produces_nothing_is_invalid() -> None:
    Path("q.jsonl").write_text(json.dumps({"prompt": "1 plus nothing", "answer": "4"}))
    run = '[run]\nworkload = "lm"\nmodel = "stand-in"\ndataset = "q.jsonl"\nwarmup = 0\nidle = 0\nsensors = "replay"\n'
    with serving(Behaviour()) as base, serving(Behaviour(status=500)) as candidate:
        arms = [f'{run}base-url = "{server.url}"\n' for server in (base, candidate)]
        assert ab(*arms, "[metrics.accuracy]\nmargin_points = 3\n") == 4
    assert "candidate 1" in json.dumps(found()["validity"])


def test_an_arm_that_crashes_is_a_failure_told_in_the_files_too() -> None:
    crashing = SLEEP.replace('"sleep", "0.3"', '"false"')
    with pytest.raises(IpwError, match="false ended with exit code 1") as error:
        ab(SLEEP, crashing, GATE)
    assert error.value.exit_code == 5
    assert found()["verdict"] == "failed"


@pytest.mark.parametrize(
    ("candidate", "gate", "told"),
    [
        (SLEEP, "[metrics.joules]\nmargin = 0.1", "no metric 'joules'"),
        (SLEEP, "[metrics.energy_j]", "has no margin"),
        (SLEEP, "[metrics.energy_j]\nmargin = -0.1", "must be a number above 0"),
        (SLEEP, "[metrics.accuracy_per_watt]\nmargin = 0.1", "never accuracy_per_watt alone"),
        ('[run]\nworkload = "lm"\nmodel = "dense"\n', GATE, "candidate.toml of lm"),
        ("[run]\n", GATE, "no workload is named"),
        (SLEEP + "idel = 1\n", GATE, "no option 'idel'"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_measured(candidate: str, gate: str, told: str) -> None:
    with pytest.raises(IpwError) as error:
        ab(SLEEP, candidate, gate)
    assert error.value.exit_code == 2
    assert told in error.value.message
    assert not Path("gate").exists()


def test_a_metric_that_these_runs_never_have_is_wrong_usage() -> None:
    with pytest.raises(IpwError, match="these runs have no metric 'latency_p50_s'") as error:
        ab(SLEEP, SLEEP, "[metrics.latency_p50_s]\nmargin = 0.1")
    assert error.value.exit_code == 2


def test_a_margin_below_what_the_runner_can_see_is_refused() -> None:
    noisy = {"log_ratio": [0.3, -0.2, 0.1, -0.3, 0.2, 0.1], "start": [0, 0, 1, 1, 2, 2]}
    job = {"runner": runner(), "workload": "measure", "basis": "package", "metrics": {"energy_j": noisy}}
    Path("noise.json").write_text(json.dumps({"schema_version": 1, "jobs": [job]}))
    with pytest.raises(IpwError, match="that 2 pairs can see on this runner") as error:
        ab(SLEEP, SLEEP, "[metrics.energy_j]\nmargin = 0.02", "--calibration", "noise.json")
    assert error.value.exit_code == 2
    Path("noise.json").write_text("{}")
    with pytest.raises(IpwError, match="is not a calibration file"):
        ab(SLEEP, SLEEP, GATE, "--calibration", "noise.json")


def test_calibrating_stores_what_identical_arms_differ_by_and_the_gate_reads_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("base.toml").write_text(SLEEP)
    options = ["--base", "base.toml", "--pairs", "3", "--settle", "0", "--json"]
    assert cli.main(["calibrate", *options], standalone_mode=False) == 0
    answer = json.loads(capsys.readouterr().out)
    (energy,) = (row for row in answer["metrics"] if row["metric"] == "energy_j")
    assert (answer["basis"], answer["jobs"]) == ("package", 1)
    assert 0 < energy["repetition_sd"] < energy["smallest_effect"]

    def held() -> None:
        shutil.rmtree("gate", ignore_errors=True)
        assert ab(SLEEP, SLEEP, "[metrics.energy_j]\nmargin = 5.0\n") == 0

    undisturbed(held)
    assert found()["calibration"]["jobs"] == 1


def documented(kind: str) -> list[str]:
    page = (ROOT / "docs" / "gate.md").read_text()
    return re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_files_of_the_guide_are_taken() -> None:
    run, gate = map(tomllib.loads, documented("toml"))
    assert parse(run["run"], "run", "run", WORKLOADS).options["dataset"] == "bundled"
    assert len(read_policy(gate, "gate", "lm").rules) == 3


def test_no_input_of_the_action_is_a_part_of_its_script() -> None:
    text = (ROOT / "action.yml").read_text()
    script = text.partition("      run: |\n")[2]
    assert "${{" not in script
    assert 'ab "${options[@]}"' in script


def test_the_script_of_the_action_takes_hostile_inputs_as_names_and_tells_the_verdict() -> None:
    script = textwrap.dedent((ROOT / "action.yml").read_text().partition("      run: |\n")[2])
    names = ("BASE", "CANDIDATE", "GATE", "PAIRS", "STARTS", "BUDGET", "CALIBRATION", "SENSORS", "OUT")
    inputs = dict.fromkeys(names, "$(touch broken) `touch broken`; touch broken #") | {"SHADOW": "true"}
    environment = os.environ | inputs | {"PYTHON": sys.executable, "GITHUB_OUTPUT": "output"}
    result = subprocess.run(["bash", "-e", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert Path("output").read_text() == "verdict=failed\n"
    assert not Path("broken").exists()


@pytest.mark.skipif(shutil.which("actionlint") is None, reason="actionlint is not installed")
def test_actionlint_takes_a_workflow_that_uses_the_action() -> None:
    steps = (ROOT / "action.yml").read_text().partition("  steps:\n")[2]
    inputs = re.sub(r"\$\{\{ inputs\.(\w+) \}\}", r"\1", steps)
    lines = "".join(f"  {line}\n" if line else "\n" for line in inputs.splitlines())
    Path("workflow.yml").write_text(f"on: push\njobs:\n  gate:\n    runs-on: ubuntu-latest\n    steps:\n{lines}")
    result = subprocess.run(["actionlint", "workflow.yml"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
