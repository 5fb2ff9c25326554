"""Steps of the continuous batching of `transformers`, seen in its results, against the calls of its model.

    python tools/bench/engine_steps_transformers.py MODEL --in-flight 8

MODEL is a folder with weights, which may be random. Results are taken as they stream within this process.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]

from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.engine import engine_of

WAIT_S = 60.0


def asked(model: Any, in_flight: int, requests: int, draw: random.Random) -> tuple[Requests, Arrivals]:
    """Ask prompts of random tokens, so many at a time."""
    vocabulary = model.config.vocab_size
    prompts = [[draw.randrange(vocabulary) for _ in range(draw.randint(20, 200))] for _ in range(requests)]
    answers = [draw.randint(12, 48) for _ in prompts]
    start, first, end = np.zeros((3, requests), np.int64)
    produced, chunks = np.zeros(requests, np.int64), []
    manager = model.init_continuous_batching()
    manager.start()
    sent = done = 0
    try:
        while done < requests:
            while sent < requests and sent - done < in_flight:
                start[sent] = time.monotonic_ns()
                manager.add_request(
                    prompts[sent], request_id=str(sent), max_new_tokens=answers[sent], eos_token_id=-1, streaming=True
                )
                sent += 1
            result = manager.get_result(timeout=WAIT_S)
            if result is None:
                raise SystemExit(f"nothing came for {WAIT_S:.0f} s")
            row, now, tokens = int(result.request_id), time.monotonic_ns(), len(result.generated_tokens)
            if tokens > produced[row]:
                chunks.append((now, tokens - int(produced[row]), row))
                first[row], end[row], produced[row] = first[row] or now, now, tokens
            done += bool(result.is_finished())
    finally:
        manager.stop(block=True)
    t_ns, tokens_each, rows = np.array(chunks).T
    before = np.array([len(prompt) for prompt in prompts])
    return Requests(start, first, end, before, produced, np.zeros(requests, np.int64)), Arrivals(
        t_ns, tokens_each, rows
    )


def main() -> None:
    """Ask, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[8])
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(options.threads)
    for in_flight in options.in_flight:
        model = AutoModelForCausalLM.from_pretrained(options.model, attn_implementation="sdpa").eval()
        steps = [0]

        def count(*_: object, steps: list[int] = steps) -> None:
            steps[0] += 1

        model.register_forward_pre_hook(count)
        engine = engine_of(*asked(model, in_flight, options.requests, random.Random(0)))
        counted = steps[0]
        seen = f"seen {engine.count}, counted {counted}"
        if engine.count:
            seen += f" ({engine.count / counted - 1:+.1%})"
        print(f"{in_flight} in flight: {engine.kind}: {seen}; {engine.why}", flush=True)


if __name__ == "__main__":
    main()
