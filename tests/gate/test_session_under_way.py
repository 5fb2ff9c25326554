"""A comparison under way, on a recorded package and real commands: looks, warming up, budgets, booking of starts.

A measurement takes about half a second, most of it the sampler's start: each test makes as few as it can.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import recording
from doubles.openai_server import Behaviour, Request, serving

from ipw.cli import cli
from ipw.errors import IpwError, UsageError
from ipw.gate.calibration import Calibrated
from ipw.gate.interleave import _booked_start, measure, plan
from ipw.gate.judging import log_ratios
from ipw.gate.policy import Policy, Rule
from ipw.gate.session import Session, measure_and_judge
from ipw.gate.settle import Settle
from ipw.studies.cells import Ready
from ipw.studies.runfile import Cell

TIME = Rule("duration_s", 0.5, "higher")
UNKNOWN = Calibrated({}, None, None, ())


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package at 40 W, as recorded."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        for name, value in recording(tmp_path / "machine", stack).items():
            monkeypatch.setenv(name, value)
        yield


def sleeping(seconds: str) -> Cell:
    return Cell("sleep", "measure", {"command": ["sleep", seconds], "idle_s": 0.0, "sensors": "replay"})


def session(out: Path, candidate: str, said: list[str], **changes: Any) -> Session:
    policy = Policy(0.05, (TIME,), frozenset(), frozenset())
    given: dict[str, Any] = {"policy": policy, "known": UNKNOWN, "budget_s": None} | changes
    return Session(arms={"base": sleeping("0.05"), "candidate": sleeping(candidate)}, out=out, say=said.append, **given)


class Warm(Settle):
    """A machine with a temperature to watch, which stays as it is."""

    warms = True


def test_an_open_first_look_is_followed_by_one_of_twice_the_pairs_after_one_that_warms_up(tmp_path: Path) -> None:
    said: list[str] = []
    made = session(tmp_path / "runs", "0.05", said)
    measure_and_judge(made, 1, 1, None, Warm("replay", 0.0))
    assert (made.pairs, made.stages, len(list((tmp_path / "runs/warm-up").iterdir()))) == (3, 2, 2)
    assert [(start.number, [pair.number for pair in start.pairs]) for start in made.starts] == [(0, [0]), (1, [1, 2])]
    assert [(each.arm, each.pair, each.start) for each in made.observed] == [
        ("base", 0, 0), ("candidate", 0, 0), ("candidate", 1, 1), ("base", 1, 1), ("base", 2, 2), ("candidate", 2, 2),
    ]  # fmt: skip
    ratios = log_ratios(made.observed, "duration_s")
    assert ratios is not None
    assert said == [
        "one pair to warm up, which is not counted",
        *(
            f"pair {i + 1} of {1 if i == 0 else 3}: duration_s {100 * math.expm1(ratio):+.1f} %"
            for i, ratio in enumerate(ratios[0])
        ),
    ]
    assert made.decision is not None
    assert made.decision.verdicts["duration_s"].n == 3


def test_a_look_that_decides_is_the_last_one_and_nothing_warms_up_where_nothing_is_watched(tmp_path: Path) -> None:
    # so wide that any noise of a busy machine is far within it
    policy = Policy(0.05, (Rule("duration_s", 1e200, "higher"),), frozenset(), frozenset())
    made = session(tmp_path / "runs", "0.05", [], policy=policy)
    measure_and_judge(made, 2, 1, None, Settle("replay", 0.0))
    assert made.decision is not None
    assert (made.decision.verdict, made.stages, made.pairs) == ("ok", 1, 2)
    assert not (tmp_path / "runs/warm-up").exists()


def test_out_of_time_two_pairs_are_judged_and_no_second_look_is_taken(tmp_path: Path) -> None:
    made = session(tmp_path / "runs", "0.05", [], budget_s=0.001)
    measure_and_judge(made, 5, 1, None, Settle("replay", 0.0))
    assert (made.pairs, made.stages) == (2, 1)
    assert made.decision is not None


def test_runs_of_another_basis_than_was_calibrated_end_it_at_the_first_pair(tmp_path: Path) -> None:
    made = session(tmp_path / "runs", "0.05", [], known=Calibrated({}, "wall", {"path": "x"}, ()))
    with pytest.raises(UsageError, match="calibration is of basis wall"):
        measure_and_judge(made, 3, 1, None, Settle("replay", 0.0))
    assert made.pairs == 1


def test_an_arm_that_fails_is_named_with_its_pair(tmp_path: Path) -> None:
    broken = Cell("false", "measure", {"command": ["false"], "idle_s": 0.0, "sensors": "replay"})
    arms = {"base": sleeping("0.05"), "candidate": broken}
    measured = measure(arms, plan(1, 1, after=plan(3, 2)), tmp_path, before_each=lambda: None)  # type: ignore[arg-type]
    with pytest.raises(IpwError) as error:
        list(measured)
    assert error.value.message == "the candidate, in pair 4: false ended with exit code 1"


def test_accuracy_that_few_questions_leave_open_is_not_asked_again(capfd: pytest.CaptureFixture[str]) -> None:
    rows = [json.dumps({"prompt": f"{i} plus nothing", "answer": "4"}) for i in range(20)]
    Path("q.jsonl").write_text("\n".join(rows))

    def one_wrong(request: Request) -> Behaviour:
        return Behaviour(tokens=["5" if request.prompt.startswith("7 ") else "4"])

    with serving(Behaviour(tokens=["4"])) as base, serving(one_wrong) as candidate:
        for name, server in (("base", base), ("candidate", candidate)):
            text = '[run]\nworkload = "lm"\nmodel = "stand-in"\ndataset = "q.jsonl"\nwarmup = 0\nidle = 0\n'
            Path(f"{name}.toml").write_text(f'{text}sensors = "replay"\nbase-url = "{server.url}"\n')
        Path("gate.toml").write_text("[metrics.accuracy]\nmargin_points = 3\n")
        arms = ["--base", "base.toml", "--candidate", "candidate.toml", "--gate", "gate.toml"]
        code = cli.main(["ab", *arms, "--settle", "0", "--pairs", "2", "--starts", "1"], standalone_mode=False)
    found = json.loads(Path("gate/gate.json").read_text())
    assert (code, found["verdict"], found["stages"], found["pairs"]) == (3, "inconclusive", 1, 2)
    assert [line for line in capfd.readouterr().err.splitlines() if line.startswith("pair")] == [
        "pair 1 of 2: done",  # of accuracy a pair alone says nothing
        "pair 2 of 2: done",
    ]


def test_a_pair_is_booked_under_its_server_start_or_under_itself_or_where_no_start_is_ours_under_one() -> None:
    def up(*, fresh: bool, each: bool) -> Ready:
        return Ready(lambda _: None, fresh, each)  # type: ignore[arg-type, return-value]

    process, server, foreign = up(fresh=True, each=True), up(fresh=True, each=False), up(fresh=False, each=False)
    assert _booked_start([process, process], 3, 7) == 7
    assert _booked_start([server, server], 3, 7) == 3
    assert _booked_start([process, server], 3, 7) == 3
    assert _booked_start([server, foreign], 3, 7) == 0
    assert _booked_start([foreign, process], 3, 7) == 0
