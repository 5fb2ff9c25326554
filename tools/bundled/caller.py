"""Make the bundled model that calls a calculator: the bundled dense model, taught to call, to read and to answer.

Training stops and goes on at any step: what a step sees is drawn from its number alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bundled.calling import MORE_TOKENS, conversation_ids
from bundled.gguf_file import read_gguf
from bundled.resumed import begun, ended, goes_on, step_down
from bundled.tokenizer import PAD, VOCAB_SIZE
from bundled.tool_questions import Conversation, training_stream
from bundled.training import SHAPE

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PEAK_RATE, WARMUP_STEPS, BATCH = 1.5e-3, 50, 64


def taught(dense: Path) -> PreTrainedModel:
    """The dense model with the tokens of calls, whose embeddings start as the mean of all and a little noise."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(Qwen3Config(**SHAPE))
    model.load_state_dict(read_gguf(dense), strict=False)  # the head is tied
    table = model.get_input_embeddings().weight.detach()
    fresh = table.mean(0) + 0.5 * table.std(0) * torch.randn(len(MORE_TOKENS), table.shape[1])
    model.resize_token_embeddings(VOCAB_SIZE + len(MORE_TOKENS), mean_resizing=False)
    model.get_input_embeddings().weight.data[VOCAB_SIZE:] = fresh
    return model


def batch(conversations: Sequence[Conversation]) -> dict[str, torch.Tensor]:
    """`input_ids`, `labels` and `attention_mask`, each [conversations, longest]; only what the model writes counts."""
    import torch

    rows = [conversation_ids(conversation) for conversation in conversations]
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), PAD)
    labels = torch.full_like(ids, -100)
    for i, (row, mine) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, : len(row)] = torch.where(torch.tensor(mine), ids[i, : len(row)], -100)
    return {"input_ids": ids, "labels": labels, "attention_mask": (ids != PAD).long()}


def train(dense: Path, folder: Path, steps: int, threads: int, seconds: float) -> bool:
    """Train up to `steps`, or for `seconds` and keep a checkpoint; returns whether all steps are done.

    Then the bf16 weights are in `folder`.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    training = begun(taught(dense).train(), folder, PEAK_RATE)
    for step in range(training.first, steps):
        if not goes_on(training, step, seconds):
            return False
        rate = PEAK_RATE * min(1, (step + 1) / WARMUP_STEPS) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        loss = training.model(**batch(list(islice(training_stream(step), BATCH)))).loss
        step_down(training, loss, rate)
        if step % 20 == 0:
            print(f"{step}/{steps} loss {loss.item():.4f} {training.spent_s:.0f} s", flush=True)
    ended(training)
    return True
