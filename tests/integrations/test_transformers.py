"""Hugging Face's own Trainer on a tiny model: joules reach its logs, and the run is saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("accelerate", reason="the Trainer is in the extra 'torch'")

import torch
import transformers
from doubles.patience import undisturbed

import ipw
from ipw.integrations.transformers import EnergyCallback

STEP_S = 0.05


class Tiny(torch.nn.Module):  # type: ignore[misc]
    """A line, found at 50 ms a step."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.line = torch.nn.Linear(1, 1)
        self.fails_at, self.calls = fails_at, 0

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("no more")
        time.sleep(STEP_S)
        y = self.line(x)
        return {"loss": ((y - labels) ** 2).mean(), "logits": y}


class Reporter(transformers.TrainerCallback):  # type: ignore[misc]
    """What TensorBoard, W&B and MLflow do: takes each log as it comes."""

    def __init__(self) -> None:
        self.logs: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.logs.append(dict(logs))


def train(folder: Path, model: Any, callbacks: list[Any], steps: int = 30, **options: Any) -> Any:
    rows = [{"x": torch.tensor([i / 8]), "labels": torch.tensor([i / 4])} for i in range(8)]
    arguments = transformers.TrainingArguments(
        str(folder / "out"), max_steps=steps, logging_steps=5, per_device_train_batch_size=2, report_to=[],
        use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False, **options,
    )  # fmt: skip
    trainer = transformers.Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=callbacks)
    return trainer.train()


def test_joules_reach_every_reporter_and_the_run_is_saved(watts: float, tmp_path: Path) -> None:
    options: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": 10, "save_strategy": "steps", "save_steps": 15}

    def trained() -> tuple[ipw.Run, EnergyCallback]:
        reporter, energy = Reporter(), EnergyCallback(sensors="rapl", out=tmp_path)
        result = train(tmp_path, Tiny(), [reporter, energy], **options)
        told = [log for log in reporter.logs if "loss" in log or "train_runtime" in log]
        assert [log for log in told if "train_energy_j" not in log or "energy_per_step_j" not in log] == []
        assert all(log["power_w"] == pytest.approx(watts, rel=0.15) for log in told[:-1])
        run = ipw.load_run(energy.path or "")
        steps, spans = run.steps, run.spans
        steps_s = (steps["end_ns"] - steps["start_ns"]).sum() / 1e9
        assert steps["energy_j"].sum() == pytest.approx(watts * steps_s, rel=0.05)
        lasted_s = (steps["end_ns"].max() - steps["start_ns"].min()) / 1e9
        evaluated_s = (spans["end_ns"] - spans["start_ns"])[spans["phase"] == "evaluation"].sum() / 1e9
        assert result.metrics["train_energy_j"] == pytest.approx(watts * (lasted_s - evaluated_s), rel=0.1)
        assert run.summary["valid"]
        return run, energy

    run, energy = undisturbed(trained)
    steps, spans = run.steps, run.spans
    assert steps["step"].tolist() == list(range(1, 31))
    assert set(steps["status"]) == {"ok"}
    assert steps.dropna(subset="loss")["step"].tolist() == [5, 10, 15, 20, 25, 30]
    assert (spans["phase"] == "evaluation").sum() == 3
    assert (spans["phase"] == "saving").sum() == 2
    assert energy.summary == run.summary


def test_every_log_has_joules_where_training_neither_evaluates_nor_saves(watts: float, tmp_path: Path) -> None:
    def trained() -> None:
        reporter = Reporter()
        train(tmp_path, Tiny(), [reporter, EnergyCallback(sensors="rapl", out=tmp_path)], steps=60, save_strategy="no")
        told = [log for log in reporter.logs if "loss" in log]
        assert len(told) == 12
        assert all(log.get("power_w") == pytest.approx(watts, rel=0.15) for log in told)
        assert all(log["energy_per_step_j"] > watts * STEP_S * 0.8 for log in told)
        joules = [log["train_energy_j"] for log in told]
        assert joules == sorted(joules)
        assert joules[-1] > joules[0]

    undisturbed(trained)


def test_a_training_that_raises_keeps_its_steps(watts: float, tmp_path: Path) -> None:
    energy = EnergyCallback(sensors="rapl", out=tmp_path)
    with pytest.raises(RuntimeError, match="no more"):
        train(tmp_path, Tiny(fails_at=8), [energy], save_strategy="no")
    energy.close()
    steps = ipw.load_run(energy.path or "").steps
    assert steps["status"].tolist() == ["ok"] * 7 + ["interrupted"]


def test_a_meter_that_is_open_is_used_and_stays_open(watts: float, tmp_path: Path) -> None:
    with ipw.Meter("mine", sensors="rapl", out=tmp_path) as meter:
        train(tmp_path, Tiny(), [EnergyCallback()], steps=5, save_strategy="no")
        with meter.measure("afterwards"):
            pass
    assert len(ipw.load_run(meter.path).steps) == 5


def test_an_estimate_is_called_one_in_the_logs(watts: float, tmp_path: Path) -> None:
    def trained() -> set[str]:
        reporter = Reporter()
        train(tmp_path, Tiny(), [EnergyCallback(sensors="estimate", out=tmp_path), reporter], save_strategy="no")
        names = {name for log in reporter.logs for name in log if name.endswith(("_j", "_w"))}
        assert names >= {"estimated_energy_per_step_j", "estimated_train_energy_j"}
        return names

    assert all(name.startswith("estimated_") for name in undisturbed(trained))
