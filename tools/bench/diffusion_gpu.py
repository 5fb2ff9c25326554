"""What decoding methods cost on a GPU, by batch: the bundled model, and a LLaDA-shaped one with random weights.

    PYTHONPATH=. python tools/bench/diffusion_gpu.py --out FOLDER [--layers 16] [--seconds 80] [--small]

Random weights say what a pass costs and nothing of what is right. A method that needs few passes stands there as the
plain sampler with a quarter of the steps. Each line: passes an answer, share of positions computed, tokens committed a
second, joules an answer and a committed token with their intervals.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ipw.errors import IpwError
from ipw.metering.meter import Meter
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.workloads.diffusion.checkpoints import ATTENTION, register_attention
from ipw.workloads.diffusion.methods import method_of
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.run import Arm, Asked, asked_of, run_diffusion
from ipw.workloads.diffusion.subject import Subject, load
from ipw.workloads.texts.datasets import load as load_questions
from ipw.workloads.texts.questions import Question

PROMPT, LENGTH, BLOCK = 192, 64, 32
METHODS = ("greedy", "greedy/4", "dkv-decode", "dkv-prefill", "greedy/4+dkv-decode")
SHOWN = {"forwards_per_answer": "passes", "computed_share": "computed", "energy_per_query_j": "J/answer",
         "energy_per_committed_token_j": "J/token"}  # fmt: skip


class _Numbers:
    """A tokenizer for a model that knows no words."""

    chat_template = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, tokens: list[int], **_: Any) -> str:
        return " ".join(map(str, tokens[:8]))


def random_llada(layers: int, width: int, device: str) -> Subject:
    """Make a model of LLaDA's shape, but for its depth, with random weights, where it runs."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    register_attention()
    config = LlamaConfig(
        vocab_size=126464, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=width // 128, num_key_value_heads=width // 128, max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5}, tie_word_embeddings=False,
        attn_implementation=ATTENTION,
    )  # fmt: skip
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    model = model.to(torch.bfloat16).to_empty(device=device).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.02)
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config).to(device)
    count = sum(weight.numel() for weight in model.parameters())
    facts = {"name": f"random LLaDA {count / 1e9:.1f}B", "parameters": count, "device": device}
    return Subject(model, 126336, shift=False, ends=frozenset(), tokenizer=_Numbers(), facts=facts)


def measured(
    subject: Subject, asked: Sequence[Asked], arms: Sequence[tuple[str, Any]], batch: int, out: Path, sensors: str
) -> Iterator[dict[str, Any]]:
    """Decode everything by every method in turns; yields a line for each method."""
    runs, kept = [], []
    with ExitStack() as stack:
        for name, settings in arms:
            parameters = {"method": name, "batch_size": batch, "dataset": "made", "answer_length": settings.length}
            dataset = {"questions": len(asked), "scorer": "none"}
            workload = {"kind": "diffusion", "parameters": parameters}
            manifest = {"workload": workload, "model": subject.facts, "dataset": dataset}
            run = RunDir.create(out, f"{name}-{batch}".replace("/", "of"))
            meter = stack.enter_context(Meter(run, manifest, sensors))
            method = method_of(name.replace("/4", ""))
            kept.append(Arm(method._replace(name=name), settings, meter, meter.journal))
            runs.append(run)
        with ExitStack() as idle:
            for arm in kept:
                idle.enter_context(arm.marker.span("idle", "idle"))
            time.sleep(1.5)
        run_diffusion(kept, subject, asked, "none", lambda _: None, batch_size=batch, warmup=1, period_s=0.05)
    for run, (name, settings) in zip(runs, arms, strict=True):
        summary = derive(run)
        metrics = summary["metrics"]
        tokens_per_s = len(asked) * settings.length / (metrics["duration_s"]["value"] or 1e9)
        line = {key: [metrics[key][end] for end in ("value", "low", "high")] for key in SHOWN}
        yield {
            "model": subject.facts["name"], "batch": batch, "method": name, "answers": len(asked),
            "tokens_per_s": tokens_per_s, "valid": summary["valid"], "basis": summary["basis"], **line,
            "why": [f"{c['check']}: {c['detail']}" for c in summary["validity"] if not c["ok"]],
        }  # fmt: skip


def told(line: dict[str, Any]) -> str:
    """Write a line for people."""
    figures = []
    for key, name in SHOWN.items():
        value, low, high = line[key]
        between = f" [{low:.3g}, {high:.3g}]" if low is not None and high is not None and "J" in name else ""
        figures.append(f"{name} {'—' if value is None else f'{value:.3g}'}{between}")
    rate = f"{line['tokens_per_s']:.0f} tokens/s"
    return f"{line['model']:>20}  batch {line['batch']:>3}  {line['method']:<20} {rate:>14}  {'  '.join(figures)}"


def main() -> None:
    """Measure all, until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=80)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="diffusion")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--small", action="store_true", help="the bundled model alone")
    parser.add_argument("--sensors", default="auto")
    options = parser.parse_args()
    started, batches = time.monotonic(), [int(each) for each in options.batches.split(",")]
    lines = []

    def tell(found: Iterator[dict[str, Any]]) -> None:
        for line in found:
            lines.append(line)
            print(told(line), *line["why"], sep="\n      mind: ", flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "diffusion.json").write_text(json.dumps(lines, indent=1))

    def left() -> bool:
        return bool(time.monotonic() - started < options.seconds)

    plain = Parameters(answer_length=LENGTH, block_length=BLOCK)
    arms = [(name, _settings(plain, name)) for name in METHODS]
    large = None if options.small else random_llada(options.layers, options.width, options.device)
    for batch in batches:
        if large is not None and left():
            prompts = [" ".join(str(7 + (31 * k + 17 * p) % 9000) for p in range(PROMPT)) for k in range(2 * batch)]
            asked = asked_of([Question(str(k), None, text, "") for k, text in enumerate(prompts)], large, 0)
            tell(measured(large, asked, arms, batch, options.out / "runs", options.sensors))
    del large
    try:
        small = load(options.model, device=options.device)
    except IpwError as error:
        print(f"without the bundled model: {error}")
        return
    names = ("greedy", "local-leap", "dkv-decode", "local-leap+dkv-prefill")
    for batch in batches:
        if left():
            questions = load_questions("bundled", limit=16 * batch if batch > 1 else 48).questions
            made = [(name, Parameters().settings(method_of(name), one_block=True)) for name in names]
            tell(measured(small, asked_of(questions, small, 0), made, batch, options.out / "runs", options.sensors))
    print(f"{time.monotonic() - started:.0f} s")


def _settings(parameters: Parameters, name: str) -> Any:
    found = parameters.settings(method_of(name.replace("/4", "")), one_block=False)
    return replace(found, steps=LENGTH // 4) if "/4" in name else found


if __name__ == "__main__":
    main()
