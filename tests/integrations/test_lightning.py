"""Lightning's own Trainer on a tiny model: joules reach its logs, and the run is saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pytorch_lightning", reason="it is the extra 'lightning'")

import pytorch_lightning as lightning
import torch
from doubles.patience import undisturbed

import ipw
from ipw.integrations.lightning import EnergyCallback

STEP_S = 0.05
pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning advises about workers, loggers and trees


class Tiny(lightning.LightningModule):  # type: ignore[misc]
    """A line, found at 50 ms a step."""

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self.line = torch.nn.Linear(1, 1)
        self.fails_at = fails_at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == self.fails_at:
            raise RuntimeError("no more")
        time.sleep(STEP_S)
        return ((self.line(batch) - 2 * batch) ** 2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        time.sleep(STEP_S)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Kept(lightning.loggers.Logger):  # type: ignore[misc]
    """What TensorBoard, W&B and MLflow do: takes each log as it comes."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.logs: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logs.append(dict(metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


def train(folder: Path, model: Any, energy: EnergyCallback, **options: Any) -> Kept:
    kept = Kept()
    batches = torch.utils.data.DataLoader(torch.rand(40, 1), batch_size=2)
    trainer = lightning.Trainer(
        max_epochs=2, callbacks=[energy], logger=kept, log_every_n_steps=4, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **options,
    )  # fmt: skip
    trainer.fit(model, batches, torch.utils.data.DataLoader(torch.rand(4, 1), batch_size=2))
    return kept


def test_joules_reach_the_logger_and_the_run_is_saved(watts: float, tmp_path: Path) -> None:
    def trained() -> ipw.Run:
        energy = EnergyCallback(sensors="rapl", out=tmp_path)
        kept = train(tmp_path, Tiny(), energy, enable_checkpointing=True)
        told = [log for log in kept.logs if "energy_per_step_j" in log]
        assert len(told) >= 2
        assert all(log["power_w"] == pytest.approx(watts, rel=0.15) for log in told[:-1])
        run = ipw.load_run(energy.path or "")
        steps, spans = run.steps, run.spans
        asides = spans["phase"].isin(["evaluation", "saving"])
        asides_s = (spans["end_ns"] - spans["start_ns"])[asides].sum()
        lasted_s = (steps["end_ns"].max() - steps["start_ns"].min() - asides_s) / 1e9
        assert told[-1]["train_energy_j"] == pytest.approx(watts * lasted_s, rel=0.1)
        assert run.summary["valid"]
        return run

    run = undisturbed(trained)
    steps = run.steps
    assert steps["step"].tolist() == list(range(1, 41))
    assert steps.dropna(subset="loss")["step"].tolist() == list(range(4, 41, 4))
    assert (run.spans["phase"] == "evaluation").sum() == 2
    assert (run.spans["phase"] == "saving").sum() >= 1


def test_a_training_that_raises_keeps_its_steps(watts: float, tmp_path: Path) -> None:
    energy = EnergyCallback(sensors="rapl", out=tmp_path)
    with pytest.raises(RuntimeError, match="no more"):
        train(tmp_path, Tiny(fails_at=7), energy, enable_checkpointing=False, num_sanity_val_steps=0)
    run = ipw.load_run(energy.path or "")
    assert run.steps["status"].tolist() == ["ok"] * 7 + ["interrupted"]
    assert run.manifest["status_reason"] == "RuntimeError: no more"
