"""A training that stops and goes on at any step: what is kept of it on the way, and the weights at its end."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundled.tokenizer import END, PAD

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

KEEP_EVERY = 50
"""Steps from one checkpoint to the next."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training as this process does it."""

    model: PreTrainedModel
    optimizer: torch.optim.Optimizer
    checkpoint: Path
    first: int
    """The step that it begins with."""
    before_s: float
    """How long those before took."""
    began_s: float
    """On the monotonic clock."""

    @property
    def here_s(self) -> float:
        """How long this process has trained."""
        return time.monotonic() - self.began_s

    @property
    def spent_s(self) -> float:
        """How long all have."""
        return self.before_s + self.here_s


def begun(model: PreTrainedModel, folder: Path, peak_rate: float) -> Training:
    """Begin to train a new model, or go on from what is kept in `folder`."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, betas=(0.9, 0.99), weight_decay=0.05)
    checkpoint, first, before_s = folder / "checkpoint.pt", 0, 0.0
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint.is_file():
        kept = torch.load(checkpoint)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        first, before_s = kept["step"], kept["spent_s"]
    return Training(model, optimizer, checkpoint, first, before_s, time.monotonic())


def goes_on(training: Training, step: int, seconds: float) -> bool:
    """Keep a checkpoint before `step` where it is time to; returns whether `seconds` are not over yet."""
    import torch

    over = training.here_s > seconds
    if step > training.first and (step % KEEP_EVERY == 0 or over):
        model, optimizer = training.model.state_dict(), training.optimizer.state_dict()
        part = training.checkpoint.with_suffix(".part")
        torch.save({"model": model, "optimizer": optimizer, "step": step, "spent_s": training.spent_s}, part)
        part.replace(training.checkpoint)
    return not over


def step_down(training: Training, loss: torch.Tensor, rate: float) -> None:
    """Take one step at a learning rate."""
    import torch

    for group in training.optimizer.param_groups:
        group["lr"] = rate
    training.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(training.model.parameters(), 1.0)
    training.optimizer.step()


def ended(training: Training) -> None:
    """Leave the bf16 weights, and how long it took."""
    import torch

    folder = training.checkpoint.parent
    assert training.model.generation_config is not None
    training.model.generation_config.eos_token_id = END
    training.model.generation_config.pad_token_id = PAD
    training.model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "spent.json").write_text(json.dumps({"train_s": round(training.spent_s)}))
