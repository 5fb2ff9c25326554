"""Make the bundled masked diffusion model: the bundled dense model, adapted to fill masks in any order.

As Dream was adapted from Qwen2.5: attention goes both ways, and position p still predicts p + 1, now also where p + 1
is a mask. One token is new. Training stops and goes on at any step: what a step sees is drawn from its number alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bundled import long_questions
from bundled.gguf_file import read_gguf
from bundled.questions import Question, training_stream
from bundled.tokenizer import END, MASK, PAD, VOCAB_SIZE, encode_bytes, prompt_ids, save_tokenizer
from bundled.training import SHAPE

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PEAK_RATE, WARMUP_STEPS = 1e-3, 50
SHORT, LONG = (64, 8), (32, 48)
"""Questions a batch, and tokens of an answer's window."""
LONG_OF_EIGHT = (1, 4, 6)
"""Of each eight batches, these are of long answers."""
BEHIND_END = 0.1
"""Weight in the loss of what stands behind an answer's first end."""
KEEP_EVERY = 50


def adapted(dense: Path) -> PreTrainedModel:
    """The dense model with one more token, whose embedding starts as the mean of all, and attention both ways."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(Qwen3Config(**SHAPE))
    model.load_state_dict(read_gguf(dense), strict=False)  # the head is tied
    mean = model.get_input_embeddings().weight.detach().mean(0)
    model.resize_token_embeddings(VOCAB_SIZE + 1, mean_resizing=False)
    model.get_input_embeddings().weight.data[MASK] = mean
    model.config.is_causal = False
    model.config.mask_token_id = MASK
    model.config.ipw_shift = True
    return model


def batch(questions: Sequence[Question], window: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, which of them are masked, and weights of the loss: three of [questions, longest prompt + window].

    Of the samples 30 % are all masked, 30 % from a random place on, as if written from left to right, and in the others
    each position with a probability of their own.
    """
    import torch

    rng = torch.Generator().manual_seed(seed)
    rows = [(prompt_ids(q.prompt), [*encode_bytes(q.answer), END]) for q in questions]
    width = max(len(prompt) for prompt, _ in rows) + window
    ids = torch.full((len(rows), width), END)
    masked, weights = torch.zeros(len(rows), width, dtype=torch.bool), torch.full((len(rows), width), BEHIND_END)
    kinds, drawn = torch.rand(len(rows), 2, generator=rng).unbind(1)
    noise = torch.rand(len(rows), width, generator=rng)
    for i, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[i, :end] = torch.tensor(prompt + answer)
        weights[i, :end] = 1.0
        room = width - len(prompt)
        if kinds[i] < 0.3:
            masked[i, len(prompt) :] = True
        elif kinds[i] < 0.6:
            masked[i, len(prompt) + int(drawn[i] * min(room, len(answer))) :] = True
        else:
            masked[i, len(prompt) :] = noise[i, len(prompt) :] < drawn[i]
    return ids, masked, weights


def train(dense: Path, folder: Path, steps: int, threads: int, seconds: float) -> bool:
    """Train up to `steps`, or for `seconds` and keep a checkpoint; returns whether all steps are done.

    Then the bf16 weights and the tokenizer are in `folder`.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = adapted(dense).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.05)
    checkpoint, first, spent_s = folder / "checkpoint.pt", 0, 0.0
    folder.mkdir(parents=True, exist_ok=True)
    if checkpoint.is_file():
        kept = torch.load(checkpoint)
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        first, spent_s = kept["step"], kept["spent_s"]
    started = time.monotonic()
    for step in range(first, steps):
        if step > first and (step % KEEP_EVERY == 0 or time.monotonic() - started > seconds):
            now_s = spent_s + time.monotonic() - started
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent_s": now_s}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
        if time.monotonic() - started > seconds:
            return False
        rate = PEAK_RATE * min(1, (step + 1) / WARMUP_STEPS) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        long = step % 8 in LONG_OF_EIGHT
        count, window = LONG if long else SHORT
        stream = long_questions.training_stream(step) if long else training_stream(step)
        ids, masked, weights = batch(list(islice(stream, count)), window, step)
        logits = model(torch.where(masked, MASK, ids)).logits[:, :-1]
        wanted = masked[:, 1:]
        each = torch.nn.functional.cross_entropy(logits[wanted], ids[:, 1:][wanted], reduction="none")
        weight = weights[:, 1:][wanted]
        loss = (each * weight).sum() / weight.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 8 in (1, 2) and step % 40 < 8:
            seen_s = spent_s + time.monotonic() - started
            print(f"{'long' if long else 'short'} {step}/{steps} loss {loss.item():.4f} {seen_s:.0f} s", flush=True)
    model.generation_config.eos_token_id = END
    model.generation_config.pad_token_id = PAD
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder, mask=True)
    (folder / "spent.json").write_text(json.dumps({"train_s": round(spent_s + time.monotonic() - started)}))
    return True
