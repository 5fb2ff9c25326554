"""What the routing metrics and the capture cost.

python tools/bench/routing.py speed       # one trace of 512 tokens, top-8 of 64 experts, against plain Python
python tools/bench/routing.py scale       # a hundredth of the paper's corpus through the whole analysis
python tools/bench/routing.py capture     # prefill with hooks and without, in turns
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from bench.parts.routing_reference import plain_hit_rates

from ipw.workloads.routing.analysis import POOLED_SEQUENCES, analyse
from ipw.workloads.routing.measures.caches import Policy
from ipw.workloads.routing.metrics import (
    cache_hit_rate,
    segment_cache_best_hit_rate,
    segment_routing_best_performance,
)
from ipw.workloads.routing.trace import Writer

PAPER_SEQUENCES, LAYERS, TOKENS = 22_528, 48, 512


def routing(random: np.random.Generator, shape: tuple[int, ...], num_experts: int, k: int, kind: str) -> Any:
    """Chosen experts [*shape, k], the first axis being time: uniform, zipf, or sticky like a trained model's."""
    favour = np.zeros(num_experts) if kind == "uniform" else -0.8 * np.log(np.arange(1, num_experts + 1))
    noise = random.gumbel(size=(*shape, num_experts)).astype(np.float32)
    if kind == "sticky":
        favour = random.normal(size=(*shape[1:], num_experts)) + np.cumsum(
            0.2 * random.standard_normal((*shape, num_experts), np.float32), axis=0
        )
    return np.argpartition(-(favour + noise), k, axis=-1)[..., :k].astype(np.int16)


def best_ms(work: Callable[[], object], seconds: float = 2.0) -> tuple[float, float]:
    """Fastest and median time of `work`, in milliseconds."""
    work()
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1e3)
    return min(taken), statistics.median(taken)


def speed() -> None:
    """One trace, one segment length, all cache sizes, one core; `sticky` also in plain Python, with the same result."""
    for kind in ("uniform", "zipf", "sticky"):
        experts = routing(np.random.default_rng(0), (TOKENS,), 64, 8, kind)
        works: dict[str, Callable[[], Any]] = {
            "sch": partial(segment_cache_best_hit_rate, experts, 64, 16),
            "sch pinned": partial(segment_cache_best_hit_rate, experts, 64, 16, pinned=True),
            "srp": partial(segment_routing_best_performance, experts, 64, 16),
        }
        works |= {policy: partial(cache_hit_rate, experts, 64, policy) for policy in get_args(Policy)[:3]}
        for name, work in works.items():
            fastest, median = best_ms(work)
            times = ""
            if kind == "sticky" and name in {"sch", "lru", "lfu"}:
                start = time.perf_counter()
                plain = plain_hit_rates(experts.tolist(), 64, name, 16)
                plain_ms = (time.perf_counter() - start) * 1e3
                np.testing.assert_allclose(work(), plain)
                times = f", plain Python {plain_ms:.0f} ms: {plain_ms / median:.0f} times as long"
            print(f"{kind:8} {name:13} {fastest:.3f} ms at best, {median:.3f} ms median{times}", flush=True)


def scale(sequences: int) -> None:
    """SRP, SCH, LRU, LFU, Belady, corrected caches, experts, domains, positions and intervals of a part of a corpus."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer = Writer(folder, 128, [f"layer {i}" for i in range(LAYERS)])
        for number in range(sequences):
            experts = routing(random, (TOKENS, LAYERS), 128, 8, "sticky")
            writer.add(experts, random.integers(0, 50_000, TOKENS), TOKENS, f"domain {number % 11}")
        writer.flush()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        start, cpu = time.perf_counter(), time.process_time()
        analyse(folder, (16,), pooled_sequences=round(POOLED_SEQUENCES * sequences / PAPER_SEQUENCES))
        wall, used = time.perf_counter() - start, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    whole = PAPER_SEQUENCES / sequences / 60
    print(f"{sequences} sequences: {wall:.1f} s, {used:.1f} s of CPU; {used / sequences / LAYERS * 1e3:.2f} ms a trace")
    print(f"memory: {before:.2f} GB before, {peak:.2f} GB at most")
    print(
        f"the paper's {PAPER_SEQUENCES}: {wall * whole:.0f} min as measured, {used * whole / 2:.0f} min on 2 free cores"
    )


def capture(pairs: int) -> None:
    """Prefill of 512 tokens by a random model of 8 layers, 64 experts, top-8; alternating order, medians."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    from ipw.workloads.routing.capture import Capture

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = Qwen3MoeConfig(
        vocab_size=1000, hidden_size=256, moe_intermediate_size=128, num_hidden_layers=8, num_attention_heads=4,
        num_key_value_heads=4, head_dim=64, num_experts=64, num_experts_per_tok=8,
    )  # fmt: skip
    model = Qwen3MoeForCausalLM(config).eval()
    ids = torch.randint(0, 1000, (1, TOKENS))

    def prefill(*, hooked: bool) -> float:
        hooks = Capture(model) if hooked else None
        start = time.perf_counter()
        with torch.inference_mode():
            model(ids, use_cache=False)
        if hooks:
            hooks.take()
        taken = time.perf_counter() - start
        if hooks:
            hooks.close()
        return taken

    prefill(hooked=True)
    ratios, plain = [], []
    for number in range(pairs):
        times = {hooked: prefill(hooked=hooked) for hooked in ((True, False) if number % 2 else (False, True))}
        ratios.append(times[True] / times[False])
        plain.append(times[False])
    quartiles = statistics.quantiles(ratios, n=4)
    print(
        f"prefill {statistics.median(plain) * 1e3:.0f} ms; capture adds {statistics.median(ratios) - 1:+.2%}", end=" "
    )
    print(f"(median of {pairs} pairs, quartiles {quartiles[0] - 1:+.2%} to {quartiles[2] - 1:+.2%})")


def main() -> None:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(description="What the routing metrics and the capture cost.")
    parser.add_argument("what", choices=["speed", "scale", "capture"])
    parser.add_argument("--sequences", type=int, default=PAPER_SEQUENCES // 100)
    parser.add_argument("--pairs", type=int, default=40)
    arguments = parser.parse_args()
    if arguments.what == "speed":
        speed()
    elif arguments.what == "scale":
        scale(arguments.sequences)
    else:
        capture(arguments.pairs)


if __name__ == "__main__":
    main()
