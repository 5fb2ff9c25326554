"""The gate from end to end, without hardware: whether `ipw ab` calls right what is known to be the same, or worse.

    python tools/bench/gate_end_to_end.py [--times 20] [SCENARIO…]

- `same`, `moe`: the bundled models in llama.cpp; `moe` puts the mixture of experts in place of the dense model. A
  stand-in sensor charges every token what it costs in llama.cpp's CPU time on a quiet machine (the mixture 25 % more),
  with 1 % of noise from run to run and 0.5 % from start to start, so that other work on the machine does not count.
- `same-cpu`, `moe-cpu`: the same, charged 50 J for every CPU second of the servers. Real noise: needs a quiet machine.
- `tokens`, `accuracy`: a stand-in server, whose tokens are charged likewise. The candidate answers with 10 % more
  tokens, or gets 3 of 100 questions wrong that the base gets right.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from doubles import plugin
from doubles.machines import NOTHING
from doubles.openai_server import Behaviour, Request, serving

from ipw.gate.formats import change_text

PER_TOKEN_J = {"dense": 0.010, "moe": 0.0125, "stand-in": 0.010}
SERVERS = """
import json, math, random
from pathlib import Path

servers = []
for folder in Path("/proc").glob("[0-9]*"):
    try:
        parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        if parent == os.getppid() and b"llamacpp_server" in (folder / "cmdline").read_bytes():
            servers.append(int(folder.name))
    except OSError:
        continue
"""
CPU_TIME = """
clocks = [(~pid << 3) | 2 for pid in servers]  # the CPU-time clock of a process, as clock_getcpuclockid makes it
first = sum(map(time.clock_gettime, clocks))


def joules():
    return 50.0 * (sum(map(time.clock_gettime, clocks)) - first)
"""
WORK = """
run = Path(sys.argv[sys.argv.index("--out") + 1])
state = {"offset": 0, "tokens": 0, "cost": 0.0}


def joules():
    if (run / "journal.jsonl").exists():
        with (run / "journal.jsonl").open("rb") as file:
            file.seek(state["offset"])
            whole = file.read().rpartition(b"\\n")[0]
        state["offset"] += len(whole)
        records = [json.loads(line) for line in whole.splitlines() if line]
        asked = [record for record in records if record["kind"] in ("query", "warmup")]
        state["tokens"] += sum((record["prompt_tokens"] or 0) + (record["completion_tokens"] or 0) for record in asked)
        if state["tokens"] and not state["cost"]:
            model = json.loads((run / "manifest.json").read_bytes())["model"]["name"]
            of_start = random.Random(f"{servers} {model}").gauss(0, 0.005)
            state["cost"] = PER_TOKEN_J[model] * math.exp(of_start + random.gauss(0, 0.01))
    return state["tokens"] * state["cost"]
"""
SENSOR = """
return Made([channel("stand-in/package-0", scope="package", poll_s=0.01)], lambda _: timed(joules))
"""


class Setting(NamedTuple):
    """What one session of `ipw ab` is given."""

    base: str
    candidate: str
    gate: str
    arguments: tuple[str, ...]
    environment: dict[str, str]


class Scenario(NamedTuple):
    """A comparison whose answer is known."""

    setting: Callable[[Path], AbstractContextManager[Setting]]
    verdict: str
    exit_code: int
    culprit: str | None


def main() -> None:
    """Run every scenario as often as asked, and print how often it was called right."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="default: all")
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    rows = {}
    for name in options.scenarios or SCENARIOS:
        began, answers = time.monotonic(), Counter[str]()
        for number in range(options.times):
            answer, details = run_once(SCENARIOS[name])
            answers[answer] += 1
            print(f"{name} {number + 1}: {answer}: {details[:300]}", flush=True)
        rows[name] = (answers, (time.monotonic() - began) / options.times)
    print(f"\n{'scenario':10} {'right':>9}  seconds each  all answers")
    for name, (answers, seconds) in rows.items():
        right = f"{answers['right']} of {options.times}"
        print(f"{name:10} {right:>9}  {seconds:12.0f}  {dict(answers)}")


def run_once(scenario: Scenario) -> tuple[str, str]:
    """Run one session and judge its answer."""
    with tempfile.TemporaryDirectory() as name, scenario.setting(Path(name)) as setting:
        folder = Path(name)
        for file in ("base", "candidate", "gate"):
            (folder / f"{file}.toml").write_text(getattr(setting, file))
        files = [part for file in ("base", "candidate", "gate") for part in (f"--{file}", f"{file}.toml")]
        command = [sys.executable, "-m", "ipw.cli", "ab", *files, "--settle", "0", "--json", *setting.arguments]
        environment = os.environ | NOTHING | setting.environment
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return judged(done.stdout, done.returncode, scenario, done.stderr)


def judged(answer: str, code: int, scenario: Scenario, told: str) -> tuple[str, str]:
    """Hold the answer against what is known: `right`, or what it was instead; and what it was made of."""
    try:
        document = json.loads(answer)
        metrics = {entry["metric"]: entry for entry in document["metrics"]}
    except (ValueError, KeyError):
        return f"exit {code}", told.strip()[-200:]
    changes = "; ".join(f"{name} {change_text(entry)}" for name, entry in metrics.items())
    culprit = scenario.culprit is None or metrics[scenario.culprit]["verdict"] == "regressed"
    if (document["verdict"], code) == (scenario.verdict, scenario.exit_code) and culprit:
        return "right", changes
    faults = [f"{check['check']}: {check['detail']}" for check in document["validity"] if not check["ok"]]
    return document["verdict"], "; ".join(faults) or changes


def with_sensor(folder: Path, kind: str) -> dict[str, str]:
    """Install the stand-in sensor; returns what finds it, and this very ipw."""
    body = f"PER_TOKEN_J = {PER_TOKEN_J}{SERVERS}{kind}{SENSOR}"
    paths = plugin.install(folder / "site", body, "stand-in")["PYTHONPATH"]
    return {"PYTHONPATH": f"{paths}{os.pathsep}{ROOT}"}


def bundled(candidate: str, *, cpu: bool = False) -> Callable[[Path], AbstractContextManager[Setting]]:
    """Compare the bundled dense model with another bundled one, or with itself."""

    @contextmanager
    def setting(folder: Path) -> Iterator[Setting]:
        run = '[run]\nworkload = "lm"\nmodel = "{}"\nlimit = 80\nwarmup = 2\nidle = 0.1\nsensors = "stand-in"\n'
        gate = "[metrics.energy_j]\nmargin = 0.05\n[metrics.accuracy]\nmargin_points = 8\n"
        environment = with_sensor(folder, CPU_TIME if cpu else WORK)
        yield Setting(
            run.format("dense"), run.format(candidate), gate, ("--pairs", "5", "--budget", "150"), environment
        )

    return setting


def tokens(more: float) -> Callable[[Path], AbstractContextManager[Setting]]:
    """Compare answers of 25 tokens with answers of `more` times as many."""

    def behave(share: float) -> Callable[[Request], Behaviour]:
        # 25 tokens on average, and 25 times the share: the rest of a token is left to chance, by question.
        def answer(request: Request) -> Behaviour:
            count = 20 * share + zlib.crc32(request.prompt.encode()) % 11 * share
            return Behaviour(tokens=["4"] * round(count), token_s=0.001, prompt_tokens=2)

        return answer

    return served(behave(1.0), behave(more), "[metrics.energy_j]\nmargin = 0.03\n", 200, 5)


def wrong(share: float) -> Callable[[Path], AbstractContextManager[Setting]]:
    """Compare a server that is right on 90 of 100 questions with one that is wrong on `share` more of them."""

    def behave(right: float) -> Callable[[Request], Behaviour]:
        def answer(request: Request) -> Behaviour:
            number = int(request.prompt.split()[0])
            return Behaviour(tokens=["4" if number % 100 < 100 * right else "5"], prompt_tokens=32)

        return answer

    gate = "[metrics.accuracy]\nmargin_points = 1\n"
    return served(behave(0.9), behave(0.9 - share), gate, 1000, 2)


def served(
    base: Callable[[Request], Behaviour], candidate: Callable[[Request], Behaviour], gate: str, limit: int, pairs: int
) -> Callable[[Path], AbstractContextManager[Setting]]:
    """Compare two stand-in servers."""

    @contextmanager
    def setting(folder: Path) -> Iterator[Setting]:
        rows = [json.dumps({"prompt": f"{i} plus nothing", "answer": "4"}) for i in range(limit)]
        (folder / "questions.jsonl").write_text("\n".join(rows))
        run = (
            '[run]\nworkload = "lm"\nbase-url = "{}"\nmodel = "stand-in"\ndataset = "questions.jsonl"\n'
            'concurrency = 4\nwarmup = 2\nidle = 0.1\nsensors = "stand-in"\n'
        )
        with serving(base) as first, serving(candidate) as second:
            arguments = ("--pairs", str(pairs), "--budget", "120")
            yield Setting(run.format(first.url), run.format(second.url), gate, arguments, with_sensor(folder, WORK))

    return setting


SCENARIOS = {
    "same": Scenario(bundled("dense"), "ok", 0, None),
    "moe": Scenario(bundled("moe"), "regressed", 1, "energy_j"),
    "same-cpu": Scenario(bundled("dense", cpu=True), "ok", 0, None),
    "moe-cpu": Scenario(bundled("moe", cpu=True), "regressed", 1, "energy_j"),
    "tokens": Scenario(tokens(1.1), "regressed", 1, "energy_j"),
    "accuracy": Scenario(wrong(0.03), "regressed", 1, "accuracy"),
}

if __name__ == "__main__":
    main()
