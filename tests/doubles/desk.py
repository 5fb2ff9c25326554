"""A desk at which a reader of the guides sits: the files, runs and servers that the pages speak of, all small."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from doubles.machines import NOTHING
from doubles.openai_server import Behaviour, serving

from ipw.cli import cli
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL

ROOT = Path(__file__).parents[2]
DOCS = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/guides").glob("*.md"))]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SKILL.md", *DOCS]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORT = {
    "run lm": "--limit 3 --idle 0 --warmup 1",
    "run agent": "--limit 3 --idle 0 --warmup 0",
    "run diffusion": "--limit 2 --idle 0 --warmup 1",
    "run routing": "--limit 2 --write 2 --idle 0",
    "ab": "--pairs 2 --starts 1 --settle 0",
    "calibrate": "--pairs 2 --starts 1 --settle 0",
}
"""Added to what is typed, by the words of the verb, so that it takes a second or two: of equals the last counts."""
AGENT = """
import os, urllib.request
body = b'{"messages": [{"role": "user", "content": "2 plus 2"}], "stream": true, "max_tokens": 4}'
where = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
urllib.request.urlopen(urllib.request.Request(where, body, {"Content-Type": "application/json"})).read()
"""
"""A program that speaks to a model."""
ANSWER = Behaviour(["4"], prefill_s=0.1)
"""Of the server at the desk: slow enough for three of them to be seen by an estimate."""


def blocks(language: str, page: str | None = None) -> list[tuple[str, str]]:
    """Fenced blocks of the pages, each with the name of its page."""
    return [
        (path.name, text)
        for path in PAGES
        if page in {None, path.name}
        for kind, text in FENCE.findall(path.read_text(encoding="utf-8"))
        if kind == language
    ]


def commands(page: str | None = None) -> list[tuple[str, str]]:
    """Commands that people are told to type, each with the name of its page."""
    lines = [(name, line) for name, text in blocks("console", page) for line in text.splitlines()]
    return [(name, line.partition(" #")[0].strip()) for name, line in lines if line.strip()]


class Desk:
    """Types commands in a folder."""

    def __init__(self, folder: Path, url: str, judge_url: str) -> None:
        self.folder, self.url, self._judge_url = folder, url, judge_url

    def type(self, command: str, *, engine: bool) -> int:
        """Run a command as it stands, but for names that are placeholders, and short; returns its exit code.

        Without `engine` the server at the desk answers in place of a model that would be started.
        """
        code: int = cli.main(self.words(command, engine=engine), standalone_mode=False)
        return code

    def words(self, command: str, *, engine: bool) -> list[str]:
        """Fill in what the page leaves open."""
        filled = command
        for pattern, value in (
            (r"http://localhost:9000", self._judge_url),
            (r"http://localhost:80[08]0(/v1)?", self.url),
            (r"\bNAME\b", "stand-in"),
            (r"\bCMD ARGS\b", "echo hello"),
            (r"\bRUN(\.\.\.)?(?=\s|$)", str(self.cut_off() if " resume " in command else "runs/a")),
            (r"/var/lib/node_exporter/", ""),
            (r"runs/\d{8}T\d{6}Z-(codecarbon\S+)", next(map(str, Path("runs").glob("*-codecarbon-*")), "")),
        ):
            filled = re.sub(pattern, value, filled)
        words = shlex.split(filled)[1:]
        if words[0] == "measure":
            return ["measure", "--idle", "0", *words[1:]]
        if words[0] == "gateway":
            return ["gateway", "--idle", "0", *words[1:]]
        verb = next((name for name in SHORT if words[: len(name.split())] == name.split()), None)
        words += shlex.split(SHORT[verb]) if verb else []
        if verb == "run lm" and "--sweep" in words:
            words += ["--sweep", "1,2"]
        if verb == "run lm" and "--repeat" in words:
            words += ["--repeat", "2"]
        return [*words, "--base-url", self.url] if verb == "run lm" and not engine else words

    def cut_off(self) -> Path:
        """Make a run that was interrupted after its first question."""
        path = self.folder / "runs/cut-off"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self.folder / "runs/a", path)
        lines = (path / JOURNAL).read_bytes().splitlines(keepends=True)
        asked = [number for number, line in enumerate(lines) if json.loads(line)["kind"] == "query"]
        (path / JOURNAL).write_bytes(b"".join(lines[: asked[0] + 1]))
        RunDir.open(path).update_manifest(status="interrupted")
        return path


@contextmanager
def desk_in(folder: Path) -> Iterator[Desk]:
    """Set a desk up in an empty folder, and sit there, on a machine without a sensor."""

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.chdir(folder)
        for name, value in NOTHING.items():
            patch.setenv(name, value)
        for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
            patch.delenv(name, raising=False)
        answering, judge = (stack.enter_context(serving(how, models=None)) for how in (ANSWER, Behaviour(["TRUE"])))
        desk = Desk(folder, answering.url, judge.url)
        _lay_out(desk)
        yield desk


def _lay_out(desk: Desk) -> None:
    rows = [{"prompt": f"{i} plus {4 - i}", "answer": "4", "subject": "sums"} for i in range(4)]
    Path("questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("agent.py").write_text(AGENT)
    Path("fragen.csv").write_text("Frage;Antwort\n2 plus 2;4\n")
    Path("some.gguf").symlink_to(str(files("ipw") / "data" / "dense-q8_0.gguf"))
    run_file, gate = (text for _, text in blocks("toml", "gate.md")[:2])
    for name in ("base", "candidate", "a", "b"):
        Path(f"{name}.toml").write_text(f'{run_file}limit = 3\nwarmup = 1\nbase-url = "{desk.url}"\n')
    Path("gate.toml").write_text(gate)
    suite = blocks("toml", "studies.md")[0][1]
    for long, short in (("repeat = 2", "repeat = 1"), ("idle = 5", f'idle = 0\nwarmup = 1\nbase-url = "{desk.url}"')):
        assert long in suite
        suite = suite.replace(long, short)
    Path("suite.toml").write_text(suite.replace("limit = 200", "limit = 2"))
    Path("facts.toml").write_text(blocks("toml", "reports.md")[0][1])
    _made_by_others()
    asked = f"ipw run lm --base-url {desk.url} --model stand-in"
    for name, more in (("a", ""), ("b", ""), ("c", ""), ("A", "--shard 1/2"), ("B", "--shard 2/2"), ("C", "")):
        assert desk.type(f"{asked} {more} --out runs/made-{name}", engine=True) == 0
        (made,) = Path(f"runs/made-{name}").iterdir()
        made.rename(f"runs/{name}")
        made.parent.rmdir()


def _made_by_others() -> None:
    """What codecarbon, llama-bench and the paper's harness leave."""
    import pyarrow as pa

    emissions: dict[str, Any] = {
        "timestamp": "2026-01-01T00:00:00", "project_name": "train", "run_id": "1", "experiment_id": "e",
        "duration": 300.0,
        "emissions": 0.0166, "emissions_rate": 5.5e-05, "cpu_power": 42.5, "gpu_power": 302.3, "ram_power": 31.3,
        "cpu_energy": 0.0035, "gpu_energy": 0.0277, "ram_energy": 0.0026, "energy_consumed": 0.0338,
        "country_name": "Norway", "os": "Linux", "codecarbon_version": "2.4.2", "tracking_mode": "machine",
    }  # fmt: skip
    Path("emissions.csv").write_text("\n".join(",".join(map(str, row)) for row in (emissions, emissions.values())))
    bench = {"model_filename": "m.gguf", "model_type": "tiny", "model_size": 10**9, "model_n_params": 10**9, "n_gen": 8,
             "n_prompt": 0, "n_depth": 0, "test_time": "2026-04-24T11:58:51Z", "avg_ns": 2 * 10**9, "avg_ts": 64.0,
             "samples_ns": [2 * 10**9], "samples_ts": [64.0]}  # fmt: skip
    Path("bench.json").write_text(json.dumps([bench]))
    folder = Path("profile_H100_qwen3_ipw")
    folder.mkdir()
    query = {"energy_metrics": {"per_query_joules": 10.0}, "latency_metrics": {"total_query_seconds": 2.0},
             "token_metrics": {"input": 10, "output": 20}, "evaluation": {"is_correct": True}}  # fmt: skip
    table = pa.Table.from_pylist([{"problem": "p", "model_metrics": {"org/m": query}}])
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as to,
    ):
        to.write_table(table)
    summary = {"model": "org/m", "dataset": "ipw", "profiler_config": {}, "total_queries": 1, "generated_at": 1.7e9}
    (folder / "summary.json").write_text(json.dumps(summary))
