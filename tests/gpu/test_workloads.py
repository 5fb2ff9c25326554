"""What people run on a GPU, from the command line to the report, with the joules of the GPU's own counter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipw.runs.directory import RunDir

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]
METHODS = ["backprop", "checkpointing", "lora", "local", "momentum-local", "zeroth-order"]
BURN = """
import time, torch
a = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
end = time.monotonic() + 3
while time.monotonic() < end:
    a @ a
    torch.cuda.synchronize()
"""


@pytest.fixture(autouse=True)
def _cuda() -> None:
    torch = pytest.importorskip("torch", reason="a GPU works through the extra 'torch'")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no CUDA device")


def measured(folder: Path, verb: str, *arguments: str) -> tuple[dict[str, Any], RunDir]:
    """Run a verb, which must end well; its answer and the newest run that it wrote."""
    ran = subprocess.run(
        [sys.executable, "-m", "ipw.cli", *verb.split(), "--json", "--idle", "2", "--out", str(folder), *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    answer = json.loads(ran.stdout)
    assert answer["basis"] == "gpu"
    assert answer["method"] == "counter"
    run = RunDir(max(folder.iterdir()))
    sampler = run.manifest()["sampler"]
    print(verb, {k: sampler[k] for k in ("cpu_s", "wall_s", "ticks", "ticks_watched", "ticks_missed")})
    return answer, run


def test_a_command_that_works_on_the_gpu_draws_more_than_the_idle_gpu(tmp_path: Path) -> None:
    rest, _ = measured(tmp_path, "measure", "--", "sleep", "3")
    work, run = measured(tmp_path, "measure", "--", sys.executable, "-c", BURN)
    assert work["valid"], work["validity"]
    assert work["power_w"]["value"] > 1.3 * rest["power_w"]["value"] > 0
    index = {c["name"]: c["index"] for c in run.manifest()["sensors"] if "index" in c}
    assert {index["nvml/gpu0"], index["nvml/gpu0/power"]} <= set(run.readings()["channel"].tolist())


def test_a_language_model_in_a_server_of_ours_answers_from_the_gpu(tmp_path: Path) -> None:
    model = ["--engine", "transformers", "--model", "moe", "--limit", "120", "--concurrency", "8", "--logprobs"]
    answer, run = measured(tmp_path, "run lm", *model)
    assert answer["model"]["device"].startswith("cuda")
    assert answer["metrics"]["accuracy"]["value"] > 0.75
    assert answer["metrics"]["energy_per_query_j"]["value"] > 0
    queries = run.read_table("queries")
    assert queries is not None
    assert queries.num_rows == 120


def test_expert_routing_is_the_same_from_the_gpu_and_experts_come_and_go(tmp_path: Path) -> None:
    answer, _ = measured(tmp_path, "run routing", "--limit", "32", "--offload", "lru,lfu")
    assert answer["model"]["device"].startswith("cuda")
    assert answer["metrics"]["energy_j"]["value"] > 0


@pytest.mark.parametrize("more", [(), ("--amp", "--accumulate", "2")], ids=["float32", "bfloat16 in two pieces"])
def test_every_method_trains_on_the_gpu_and_its_joules_and_memory_are_told(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    answer, run = measured(tmp_path, "run train", "--method", ",".join(METHODS), "--steps", "60", *more)
    assert answer["model"]["device"].startswith("cuda")
    table = run.read_table("steps")
    assert table is not None
    steps = table.to_pylist()
    for method in METHODS:
        mine = [step for step in steps if step["method"] == method]
        assert len(mine) == 60, (method, answer["validity"])
        assert all(step["status"] == "ok" and step["energy_j"] > 0 for step in mine), method
        assert all(step["peak_memory_bytes"] > 1e6 for step in mine), method
        spent = sum(step["energy_j"] for step in mine)
        seconds = sum(step["end_ns"] - step["start_ns"] for step in mine) / 1e9
        print(f"{method:16} {seconds / 60 * 1e3:8.2f} ms {spent / 60:8.3f} J a step, loss {mine[-1]['loss']:.3f}")
