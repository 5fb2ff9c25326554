"""What the advice on experts costs, and whether the loader keeps its word.

python tools/bench/experts.py loader --joules   # tokens/s and joules, foretold and measured, on random weights
python tools/bench/experts.py scale             # 10^8 accesses, all numbers of slots, all policies

On a GPU experts wait in pinned host memory, without one in files on disk, which the system may keep in memory. Of
several passes the fastest counts, the one that nobody disturbed. Prices come from three settings that are not foretold:
all experts in fast memory, none of them, and none with all computed where they lie.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections import deque
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.advice.prices import Prices, joules, seconds
from ipw.workloads.routing.measures.curves import PolicyCurve, Trace, all_curves
from ipw.workloads.routing.measures.prediction import guess, replay_guessed
from ipw.workloads.routing.measures.replay import new_stack
from ipw.workloads.routing.measures.units import units_of
from ipw.workloads.routing.offload.loader import Offload, Plan, one_by_one
from ipw.workloads.routing.offload.profile import Profile, profile_of
from ipw.workloads.routing.offload.residents import Pool
from ipw.workloads.routing.offload.table import hits_of
from ipw.workloads.routing.streams.stream import Spool, TokenRun, finished

Ints = npt.NDArray[np.integer[Any]]
GPU = {"hidden_size": 4096, "moe_intermediate_size": 6144, "num_hidden_layers": 2, "experts": 16, "k": 4}
CPU = {"hidden_size": 1024, "moe_intermediate_size": 1024, "num_hidden_layers": 4, "experts": 16, "k": 2}
WITHIN = 0.10
CLOCKS = {"wall": time.perf_counter, "thread": time.thread_time}
clock = time.perf_counter
"""`thread` is the processor time of the thread that decodes: for a machine that does other things meanwhile, and only
for settings that fetch nothing beside it."""


class Setting(NamedTuple):
    """What is decoded once."""

    name: str
    plan: Plan


class Foretold(NamedTuple):
    """Bytes a token, from the routing alone."""

    missed: float
    fetched: float | None
    hit_rate: float


def model_of(shape: dict[str, int], device: str) -> Any:
    """A mixture of experts with random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.Qwen3MoeConfig(
        vocab_size=512, hidden_size=shape["hidden_size"], intermediate_size=256, num_attention_heads=8,
        num_key_value_heads=2, head_dim=64, num_hidden_layers=shape["num_hidden_layers"],
        moe_intermediate_size=shape["moe_intermediate_size"], num_experts=shape["experts"],
        num_experts_per_tok=shape["k"], decoder_sparse_step=1, mlp_only_layers=[], tie_word_embeddings=True,
    )  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    with torch.device(device):
        model = transformers.Qwen3MoeForCausalLM(config).eval()
    torch.set_default_dtype(before)
    with torch.no_grad():  # so that each token's experts are its own, as if the router had no favourites
        model.model.embed_tokens.weight.normal_(0.0, 1.0)
    return model


def decode(model: Any, ids: list[int]) -> float:
    """Feed one token after another; seconds from the second one on."""
    import torch

    past, start = None, 0.0
    with torch.inference_mode():
        for at, token in enumerate(ids):
            if at == 1:
                wait()
                start = clock()
            told = torch.tensor([[token]], device=model.device)
            past = model(told, past_key_values=past, use_cache=True).past_key_values
        wait()
    return clock() - start


def wait() -> None:
    """Until the GPU is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def routing(model: Any, ids: list[int]) -> Ints:
    """Experts [tokens, L, k] that the model chooses."""
    from ipw.workloads.routing.capture import Capture

    capture = Capture(model)
    decode(model, ids)
    experts: Ints = capture.take().astype(np.int32)
    capture.close()
    return experts


def foretell(plan: Plan, experts: Ints, profile: Profile, expert_bytes: int, num_experts: int) -> Foretold:
    """What a plan misses and fetches a token, over all tokens but the first."""
    tokens, layers, k = experts.shape
    units = np.where(np.arange(tokens) > 0, 0, -1)
    fetched = hits = missed = 0
    if plan.per == "pool":
        pool = Pool(plan.size * layers * expert_bytes, [expert_bytes] * layers)
        for at, token in enumerate(experts.tolist()):
            for number, own in enumerate(token):
                part = pool.layer(number)
                hits += len(set(part.held).intersection(own)) * (at > 0)
                part.use(own)
        missed = (tokens - 1) * layers * k - hits
    for layer in range(layers if plan.per == "layer" else 0):
        own = np.ascontiguousarray(experts[:, layer])
        if plan.prefetch is None:
            found = int(hits_of(plan.policy, own, units, num_experts, profile.uses[layer])[plan.size - 1])
            hits, missed = hits + found, missed + (tokens - 1) * k - found
            continue
        causes = (
            experts[:, layer - 1] if plan.prefetch == "layer" and layer else np.roll(experts, 1, axis=0)[:, layer - 1]
        )
        if plan.prefetch == "token":
            causes = np.roll(experts, 1, axis=0)[:, layer]
        guesses = np.zeros((tokens, k), np.int32)
        chance = profile.guesses(plan.prefetch)[layer][None]
        guess(np.ascontiguousarray(causes), np.zeros(tokens, np.int64), chance, guesses)
        stack = new_stack(num_experts)
        depths, bits = np.zeros((1, num_experts), np.int64), (num_experts - 1).bit_length()
        hidden, brought = np.zeros((2, 1, num_experts + 1), np.int64)
        replay_guessed(own, guesses, units, 0, bits, stack.entries, stack.depth, stack.held, depths, hidden, brought)
        found = int(depths[0, : plan.size].sum())
        hits += found
        missed += (tokens - 1) * k - found - int(hidden[0, plan.size :].sum())
        fetched += int(brought[0, plan.size :].sum())
    count = tokens - 1
    beside = fetched * expert_bytes / count if plan.prefetch else None
    if plan.policy == "lru-bounded":
        beside = min(missed, layers * count * plan.inserts) * expert_bytes / count
    return Foretold(missed * expert_bytes / count, beside, hits / (count * layers * k))


def link_byte_s(offload: Offload, num_experts: int, loads: int = 40) -> float:
    """Seconds a byte of an expert takes into fast memory, by itself."""
    picks = random.Random(1)
    times = []
    kept: deque[Any] = deque(maxlen=8)  # memory is taken and given back as by a cache
    for _ in range(loads):
        layer, expert = picks.choice(offload.layers), picks.randrange(num_experts)
        wait()
        start = clock()
        kept.append(layer._load(expert))  # noqa: SLF001 (what a miss does)
        wait()
        times.append(clock() - start)
    return statistics.fmean(times[len(times) // 3 :]) / offload.expert_bytes


def settings_of(shape: dict[str, int], profile: Profile) -> list[Setting]:
    """All policies at two sizes or so."""
    num_experts = shape["experts"]
    small, middle = max(shape["k"], num_experts // 4), num_experts // 2
    found = [
        Setting(f"{policy} {size}", Plan(policy, size))
        for policy in ("lru", "lfu", "lfru", "slru")
        for size in (small, middle)
    ]
    found += [Setting(f"static {size}", Plan("static", size, pins=profile.pins(size))) for size in (small, middle)]
    found += [Setting(f"lru pool {small}", Plan("lru", small, per="pool"))]
    found += [
        Setting(f"lru+{ahead} {small}", Plan("lru", small, prefetch=ahead, chances=profile.guesses(ahead)))
        for ahead in ("layer", "token")
    ]
    found += [
        Setting(f"static {small}, misses on the CPU", Plan("static", small, miss="cpu", pins=profile.pins(small))),
        Setting(f"lru-bounded {small}, misses on the CPU", Plan("lru-bounded", small, miss="cpu")),
    ]
    return found


def loader(tokens: int, passes: int, *, with_joules: bool, disk: bool) -> None:
    """Decode under every setting, in turns, and hold tokens/s and joules against what was foretold."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = GPU if device == "cuda" else CPU
    if device == "cpu":
        torch.set_num_threads(1)
    model = model_of(shape, device)
    picks = random.Random(0)
    texts = [[picks.randrange(512) for _ in range(tokens)] for _ in range(2)]
    num_experts, layers, k = shape["experts"], shape["num_hidden_layers"], shape["k"]
    with tempfile.TemporaryDirectory(prefix="ipw-bench-") as name, one_by_one(model):
        profile = profile_of(routing(model, texts[0]), num_experts)
        experts = routing(model, texts[1])
        offload = Offload(model, Path(name) / "experts", past_cache=disk)
        everything = Plan("static", num_experts, pins=[range(num_experts)] * layers)
        none_pinned = [()] * layers
        nothing = Plan("static", 0, pins=none_pinned)
        lying = Plan("static", 0, miss="cpu", pins=none_pinned)
        wanted = [
            Setting("all in fast memory", everything),
            Setting("none, all loaded", nothing),
            Setting("none, all on the CPU", lying),
            *settings_of(shape, profile),
        ]
        taken: dict[str, list[float]] = {each.name: [] for each in wanted}
        energy: dict[str, list[float]] = {each.name: [] for each in wanted}
        links: list[float] = []
        blocks: list[tuple[str, Any]] = []
        meter = None
        if with_joules:
            import ipw

            meter = ipw.Meter("loader", out=Path(name) / "runs")
        for number in range(passes):
            for each in sorted(wanted, key=lambda _: picks.random()):
                links.append(link_byte_s(offload, num_experts, 18))
                offload.start(each.plan)
                with meter.measure(each.name) if meter else nullcontext() as block:
                    taken[each.name].append(decode(model, texts[1]) / (tokens - 1))
                blocks.append((each.name, block))
                print(f"pass {number + 1}: {each.name}: {1 / taken[each.name][-1]:.2f} tokens/s", flush=True)
        for of, block in blocks:  # asked late, when the readings behind each block are there
            if block is not None and block.energy_j is not None:
                energy[of].append(block.energy_j / tokens)
        token_s, all_bytes = min(taken["all in fast memory"]), layers * k * offload.expert_bytes
        byte_s = (min(taken["none, all loaded"]) - token_s) / all_bytes
        cpu_byte_s = max(min(taken["none, all on the CPU"]) - token_s, 0.0) / all_bytes
        prices = Prices(token_s, byte_s, cpu_byte_s)
        prices_told = {"token_ms": 1e3 * token_s, "link_gb_s": 1e-9 / byte_s, "link_alone_gb_s": 1e-9 / min(links)}
        prices_told |= {"cpu_ms": 1e3 * cpu_byte_s * offload.expert_bytes, "expert_mb": offload.expert_bytes / 1e6}
        print(json.dumps({"device": device, "torch": torch.__version__, **prices_told}), flush=True)
        _judge(wanted[3:], taken, energy, prices, experts, profile, offload.expert_bytes, num_experts)
        if meter is not None:
            meter.close()
        offload.close()


def _judge(
    wanted: list[Setting],
    taken: dict[str, list[float]],
    energy: dict[str, list[float]],
    prices: Prices,
    experts: Ints,
    profile: Profile,
    expert_bytes: int,
    num_experts: int,
) -> None:
    line = None
    if energy["all in fast memory"] and energy["none, all loaded"]:
        token_j = statistics.fmean(energy["all in fast memory"])
        all_bytes = experts.shape[1] * experts.shape[2] * expert_bytes
        line = token_j, (statistics.fmean(energy["none, all loaded"]) - token_j) / all_bytes
    close = dominated = 0
    for each in wanted:
        told = foretell(each.plan, experts, profile, expert_bytes, num_experts)
        missed, beside = np.array([told.missed]), None if told.fetched is None else np.array([told.fetched])
        none = np.zeros((1, 1), np.int64)
        curve = PolicyCurve(
            each.plan.policy, each.plan.per, each.plan.miss, none[0], none[0], none, none.astype(np.float64),
            each.plan.prefetch,
        )  # fmt: skip
        expected = float(seconds(curve, prices, missed, beside)[0])
        measured = min(taken[each.name])
        moved = told.missed if each.plan.miss == "load" else 0.0
        share = moved * (prices.link_byte_s or 0.0) / expected
        error = measured / expected - 1
        if share > 0.5:
            dominated += 1
            close += abs(error) <= WITHIN
        found = f"{each.name:36} hit rate {told.hit_rate:.3f}, transfers {share:4.0%} of the time: "
        found += f"foretold {1 / expected:7.2f}, measured {1 / measured:7.2f} tokens/s ({-error / (1 + error):+.1%})"
        if line and energy[each.name] and each.plan.miss == "load":
            token_j, byte_j = line
            priced = Prices(prices.token_s, prices.link_byte_s, token_j=token_j, link_byte_j=byte_j)
            wished = joules(curve, priced, missed, beside, None)
            assert wished is not None
            has = statistics.fmean(energy[each.name])
            found += f"; {wished[0]:.3f} and {has:.3f} J/token ({has / wished[0] - 1:+.1%})"
        print(found)
    print(f"within {WITHIN:.0%}: {close} of {dominated} settings where transfers take over half of the time")


def scale(accesses: int, layers: int, num_experts: int, k: int, workers: int | None) -> None:
    """All policies, all numbers of slots, over a trace that fits nowhere but on disk."""
    randoms = np.random.default_rng(0)
    tokens, block = accesses // (layers * k), 8192
    with tempfile.TemporaryDirectory(prefix="ipw-bench-") as name:
        folder = Path(name)
        spool = Spool(folder)
        for layer in range(layers):
            favour, drift = randoms.normal(size=num_experts), np.zeros(num_experts)
            noise = randoms.gumbel(size=(block, num_experts)).astype(np.float32)  # drawing it anew would take longer
            for start in range(0, tokens, block):
                drift = 0.9 * drift + 0.5 * randoms.standard_normal(num_experts)
                noise = np.roll(noise, int(randoms.integers(num_experts)), axis=1)
                wanted = noise[: tokens - start] + (1.2 * favour + drift).astype(np.float32)
                spool.add(layer, np.argpartition(-wanted, k, axis=1)[:, :k], "made")
        stream = finished(spool, folder, k, [TokenRun(0, 0, None)], [0], ["all"], num_experts)
        trace = Trace(stream, units_of(stream), np.full(layers, 1 << 20), folder)
        begun, before = time.perf_counter(), time.process_time()
        curves, _, _ = all_curves(trace, workers=workers)
        print(json.dumps({
            "accesses": stream.accesses, "layers": layers, "experts": num_experts, "k": k, "curves": len(curves),
            "wall_s": time.perf_counter() - begun, "cpu_s": time.process_time() - before,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }))  # fmt: skip


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loader", "scale"])
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--joules", action="store_true")
    parser.add_argument("--disk", action="store_true", help="without a GPU, read experts past the system's cache")
    parser.add_argument("--accesses", type=int, default=10**8)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--experts", type=int, default=128)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    asked = parser.parse_args()
    global clock  # noqa: PLW0603 (a program)
    clock = CLOCKS[asked.clock]
    if asked.what == "loader":
        loader(asked.tokens, asked.passes, with_joules=asked.joules, disk=asked.disk)
    else:
        scale(asked.accesses, asked.layers, asked.experts, asked.k, asked.workers)


if __name__ == "__main__":
    main()
