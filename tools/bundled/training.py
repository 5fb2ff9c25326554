"""Train one bundled model on the CPU: answers only in the loss, a cosine over a fixed number of steps, fixed seeds."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundled.questions import Question, training_stream
from bundled.tokenizer import BOS, END, FIRST_BYTE, PAD, VOCAB_SIZE, encode_bytes, prompt_ids, save_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PEAK_RATE = 2e-3
WARMUP_STEPS = 50
BATCH = 64
NEW_TOKENS = 10

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": END,
}
EXPERTS: dict[str, Any] = {
    "moe_intermediate_size": 128,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "norm_topk_prob": True,
    "output_router_logits": True,
    "router_aux_loss_coef": 0.01,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}


def new_model(kind: str) -> PreTrainedModel:
    """A model with random weights: `dense` (0.9 M parameters) or `moe` (1.9 M, 8 experts, top-2)."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

    if kind == "dense":
        return Qwen3ForCausalLM(Qwen3Config(**SHAPE))
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SHAPE, **EXPERTS))


def batch(questions: Sequence[Question]) -> dict[str, torch.Tensor]:
    """`input_ids`, `labels` and `attention_mask`, each [questions, longest]; only answers carry a label."""
    import torch

    rows = [(prompt_ids(q.prompt), [*encode_bytes(q.answer), END]) for q in questions]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), width), PAD)
    labels = torch.full_like(ids, -100)
    for i, (prompt, answer) in enumerate(rows):
        end = len(prompt) + len(answer)
        ids[i, :end] = torch.tensor(prompt + answer)
        labels[i, len(prompt) : end] = torch.tensor(answer)
    return {"input_ids": ids, "labels": labels, "attention_mask": (ids != PAD).long()}


def train(kind: str, folder: Path, steps: int, threads: int) -> None:
    """Train `kind` for `steps` batches and write its bf16 weights and tokenizer to `folder`."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = new_model(kind)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.99), weight_decay=0.05)
    stream, started = training_stream(seed=1), time.monotonic()
    for step in range(steps):
        rate = PEAK_RATE * min(1, (step + 1) / WARMUP_STEPS) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(**batch(list(islice(stream, BATCH)))).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            print(f"{kind} step {step}/{steps} loss {loss.item():.4f} {time.monotonic() - started:.0f} s", flush=True)
    model.config.output_router_logits = False
    model.generation_config.eos_token_id = END
    model.generation_config.pad_token_id = PAD
    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder)


def evaluate(folder: Path, questions: Sequence[Question]) -> Counter[str]:
    """Right answers by subject, greedy, exact match, from the weights as saved."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    right: Counter[str] = Counter()
    by_length = sorted(questions, key=lambda q: len(q.prompt))
    for _, same_length in groupby(by_length, key=lambda q: len(q.prompt)):
        group = list(same_length)
        ids = torch.tensor([prompt_ids(q.prompt) for q in group])
        with torch.no_grad():
            output = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False
            )
        for question, row in zip(group, output[:, ids.shape[1] :].tolist(), strict=True):
            answer = row[: row.index(END)] if END in row else row
            text = bytes(t - FIRST_BYTE for t in answer if t >= FIRST_BYTE).decode(errors="replace")
            right[question.subject] += text == question.answer
    return right
