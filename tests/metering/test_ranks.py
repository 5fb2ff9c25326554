"""Several processes of one job: one of them reads the host's sensors, and every joule is counted once."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from doubles.machines import one_package
from doubles.patience import undisturbed

import ipw
from ipw.metering.ranks import weights
from ipw.pipeline import derive
from ipw.runs.directory import RunDir

WATTS = 100.0
WORK = """
import os, signal, sys, time, ipw
rank = int(os.environ["RANK"])
with ipw.Meter("job", sensors="rapl", out="runs") as meter:
    with meter.measure(f"of rank {rank}") as block:
        time.sleep(0.5)
    with meter.measure("both"):
        time.sleep(0.3)
    if sys.argv[1:] == [str(rank)]:
        os.kill(os.getpid(), signal.SIGKILL)
print(block.energy_j)
"""
GLOO = """
import os, time, torch, torch.distributed as dist, ipw
dist.init_process_group("gloo")
rank, weight = dist.get_rank(), torch.zeros(8)
with ipw.measure("training", sensors="rapl", out="runs"):
    for step in range(5):
        with ipw.measure("step"):
            time.sleep(0.1)
            gradient = torch.full((8,), float(rank + 1))
            dist.all_reduce(gradient)
            weight -= gradient
dist.destroy_process_group()
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[dict[str, str]]:
    with one_package(tmp_path, WATTS) as environment:
        yield environment | {"OMP_NUM_THREADS": "1"}


def anew(folder: Path) -> Path:
    """A new folder in this one, for one more try."""
    made = folder / f"try {len(list(folder.glob('try *')))}"
    made.mkdir()
    return made


def job(host: dict[str, str], cwd: Path, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Two ranks, as a launcher starts them."""
    job = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, *arguments], cwd=cwd, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=host | job | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    told = [rank.communicate(timeout=120) for rank in ranks]
    return [subprocess.CompletedProcess([], r.returncode, out, err) for r, (out, err) in zip(ranks, told, strict=True)]


def test_two_ranks_make_one_run_in_which_every_joule_is_counted_once(host: dict[str, str], tmp_path: Path) -> None:
    def counted() -> None:
        cwd = anew(tmp_path)
        ranks = job(host, cwd)
        assert [rank.stderr for rank in ranks] == ["", ""]
        (path,) = (cwd / "runs").glob("*-job")
        run = ipw.load_run(path)
        assert run.summary["valid"], run.summary["validity"]
        spans = run.spans
        assert sorted(spans["rank"]) == [0, 0, 0, 1, 1, 1]
        window = spans[spans["phase"] == "measure"].iloc[0]
        lasted_s = run.summary["metrics"]["duration_s"]["value"]
        assert run.summary["metrics"]["energy_j"]["value"] == pytest.approx(WATTS * lasted_s, rel=0.05)
        assert window["energy_j"] == pytest.approx(WATTS * (window["end_ns"] - window["start_ns"]) / 1e9, rel=0.05)
        for rank in (0, 1):
            own = spans[spans["name"] == f"of rank {rank}"].iloc[0]
            assert own["rank"] == rank
            half_j = WATTS / 2 * (own["end_ns"] - own["start_ns"]) / 1e9
            assert own["energy_j"] == pytest.approx(half_j, rel=0.1)
            assert float(ranks[rank].stdout) == pytest.approx(half_j, rel=0.1)

    undisturbed(counted)


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_leaves_what_it_had_finished(host: dict[str, str], tmp_path: Path, killed: int) -> None:
    def finished() -> None:
        cwd = anew(tmp_path)
        ranks = job(host, cwd, str(killed))
        assert ranks[killed].returncode == -signal.SIGKILL
        assert ranks[1 - killed].returncode == 0
        (path,) = (cwd / "runs").glob("*-job")
        summary = RunDir(path).summary() or derive(RunDir(path))
        told = {(span["rank"], span["name"]) for span in RunDir(path).journal("span")}
        assert told >= {(0, "of rank 0"), (1, "of rank 1"), (0, "both"), (1, "both")}
        (detail,) = [check["detail"] for check in summary["validity"] if check["check"] == "attribution"]
        assert detail == f"rank {killed} was killed, or still measured when the others had ended"
        cut_off = RunDir(path).manifest()["status"] == "running"  # the one that read the sensors was killed
        with pytest.warns(UserWarning, match="the run never ended") if cut_off else contextlib.nullcontext():
            run = ipw.load_run(path)
        spans = run.spans.query("name.str.startswith('of rank')")
        halves_j = WATTS / 2 * (spans["end_ns"] - spans["start_ns"]) / 1e9
        assert spans["energy_j"].tolist() == pytest.approx(halves_j.tolist(), rel=0.15)

    undisturbed(finished)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_ranks_that_torchrun_starts_find_each_other(host: dict[str, str], tmp_path: Path) -> None:
    def found() -> None:
        cwd = anew(tmp_path)
        (cwd / "train.py").write_text(GLOO)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
        done = subprocess.run(command, cwd=cwd, env=host, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        (path,) = (cwd / "runs").glob("*-training")
        steps = ipw.load_run(path).spans.query("name == 'step'")
        assert steps["rank"].value_counts().to_dict() == {0: 5, 1: 5}
        assert steps["energy_j"].sum() == pytest.approx(
            WATTS / 2 * (steps["end_ns"] - steps["start_ns"]).sum() / 1e9, rel=0.1
        )

    undisturbed(found)


GPUS = [
    {"name": "nvml/gpu0", "scope": "gpu", "device": "NVIDIA GPU-aaaa"},
    {"name": "nvml/gpu1", "scope": "gpu", "device": "NVIDIA GPU-bbbb"},
    {"name": "rapl/package-0", "scope": "package", "device": "/sys"},
]


def test_a_gpu_belongs_to_the_rank_that_computed_on_it_and_the_package_to_all() -> None:
    claims = {0: ["aaaa"], 1: ["bbbb"]}
    assert weights(GPUS, claims, 0, 2) == {"nvml/gpu0": 1.0, "nvml/gpu1": 0.0, "rapl/package-0": 0.5}
    assert weights(GPUS, claims, 1, 2) == {"nvml/gpu0": 0.0, "nvml/gpu1": 1.0, "rapl/package-0": 0.5}


def test_ranks_on_one_gpu_have_equal_parts_of_it() -> None:
    claims = {0: ["aaaa"], 1: ["aaaa"]}
    assert weights(GPUS, claims, 1, 2)["nvml/gpu0"] == 0.5


def test_what_nobody_claims_is_everybodys() -> None:
    assert weights(GPUS, {}, 0, 4) == {channel["name"]: 0.25 for channel in GPUS}
