"""Make the bundled masked diffusion model: the bundled dense model, adapted to fill masks in any order.

As Dream was adapted from Qwen2.5: attention goes both ways, and position p still predicts p + 1, now also where p + 1
is a mask. One token is new. Training stops and goes on at any step: what a step sees is drawn from its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bundled import long_questions
from bundled.gguf_file import read_gguf
from bundled.questions import Question, training_stream
from bundled.resumed import begun, ended, goes_on, step_down
from bundled.tokenizer import END, MASK, VOCAB_SIZE, encode_bytes, prompt_ids, save_tokenizer
from bundled.training import SHAPE

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PEAK_RATE, WARMUP_STEPS = 1e-3, 50
FALLING_SHARE = 0.3
"""Of all steps, the last ones, in which the rate falls in a straight line to 0. Before, it does not depend on how many
steps there will be: the end may be put off on the way, and the recipe stays the same.
"""
SHORT, LONG = (64, 8), (32, 48)
"""Questions a batch, and tokens of an answer's window. Batches of the two kinds take turns."""
SHARES = {"add": 0.14, "sub": 0.16, "add3": 0.22, "mul": 0.22, "max": 0.06, "rev": 0.05, "sort": 0.08, "count": 0.07}
"""Of the short questions: more of those that are hard for this model than the other models see."""
BEHIND_END = 0.1
"""Weight in the loss of what stands behind an answer's first end."""


def adapted(start: Path) -> PreTrainedModel:
    """The model to go on from: a folder of this kind as it is, or a dense GGUF made into one.

    The dense model gets one more token, whose embedding starts as the mean of all, and attention both ways.
    """
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

    if start.is_dir():
        known = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
        assert isinstance(known, PreTrainedModel)
        return known
    model = Qwen3ForCausalLM(Qwen3Config(**SHAPE))
    model.load_state_dict(read_gguf(start), strict=False)  # the head is tied
    mean = model.get_input_embeddings().weight.detach().mean(0)
    model.resize_token_embeddings(VOCAB_SIZE + 1, mean_resizing=False)
    model.get_input_embeddings().weight.data[MASK] = mean
    model.config.is_causal = False
    model.config.mask_token_id = MASK
    model.config.ipw_shift = True
    return model


def batch(questions: Sequence[Question], window: int, seed: int) -> dict[str, torch.Tensor]:
    """`ids`, which of them are `there`, which are `masked`, and `weights` of the loss: each [questions, positions].

    Half of the samples end with the window, as when they are asked; the others where the longest of the batch does.
    Masked are, of the samples: all positions (25 %); all from a random place on, as if written from left to right
    (30 %); each with a probability of the sample's own (25 %); the same, with all that stands behind the answer known,
    as it is when the surest come first (20 %).
    """
    import torch

    rng = torch.Generator().manual_seed(seed)
    rows = [(prompt_ids(q.prompt), [*encode_bytes(q.answer), END]) for q in questions]
    width = max(len(prompt) for prompt, _ in rows) + window
    shape = (len(rows), width)
    ids, there, masked = torch.full(shape, END), torch.ones(shape).bool(), torch.zeros(shape).bool()
    weights = torch.full(shape, BEHIND_END)
    kinds, drawn, cut = torch.rand(len(rows), 3, generator=rng).unbind(1)
    noise = torch.rand(shape, generator=rng)
    for i, (prompt, answer) in enumerate(rows):
        first, end = len(prompt), len(prompt) + len(answer)
        ids[i, :end] = torch.tensor(prompt + answer)
        weights[i, :end] = 1.0
        if kinds[i] < 0.25:
            masked[i, first:] = True
        elif kinds[i] < 0.55:
            masked[i, first + int(drawn[i] * len(answer)) :] = True
        else:
            last = width if kinds[i] < 0.8 else end
            masked[i, first:last] = noise[i, first:last] < drawn[i]
        if cut[i] < 0.5:
            there[i, first + window :] = masked[i, first + window :] = False
    return {"ids": ids, "there": there, "masked": masked, "weights": weights}


def rate_at(step: int, steps: int) -> float:
    """The learning rate of a step: up for a few, then level, then down to 0."""
    return PEAK_RATE * min(1.0, (step + 1) / WARMUP_STEPS, (steps - step) / (FALLING_SHARE * steps))


def train(start: Path, folder: Path, steps: int, threads: int, seconds: float) -> bool:
    """Train up to `steps`, or for `seconds` and keep a checkpoint; returns whether all steps are done.

    Then the bf16 weights and the tokenizer are in `folder`.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    training = begun(adapted(start).train(), folder, PEAK_RATE)
    for step in range(training.first, steps):
        if not goes_on(training, step, seconds):
            return False
        long = step % 2 == 1
        count, window = LONG if long else SHORT
        stream = long_questions.training_stream(step) if long else training_stream(step, SHARES)
        drawn = batch(list(islice(stream, count)), window, step)
        ids, masked = drawn["ids"], drawn["masked"]
        there = drawn["there"].long()
        logits = training.model(torch.where(masked, MASK, ids), attention_mask=there).logits[:, :-1]
        wanted = masked[:, 1:]
        each = torch.nn.functional.cross_entropy(logits[wanted], ids[:, 1:][wanted], reduction="none")
        weight = drawn["weights"][:, 1:][wanted]
        loss = (each * weight).sum() / weight.sum()
        step_down(training, loss, rate_at(step, steps))
        if step % 50 < 2:
            kind = "long" if long else "short"
            print(f"{kind} {step}/{steps} loss {loss.item():.4f} {training.spent_s:.0f} s", flush=True)
    ended(training)
    save_tokenizer(folder, mask=True)
    return True
