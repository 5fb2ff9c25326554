"""What the advice on experts costs, and whether the loader keeps its word.

python tools/bench/experts.py loader --joules   # tokens/s and joules, foretold and measured, on random weights
python tools/bench/experts.py scale             # 10^8 accesses, all numbers of slots, all policies

On a GPU experts wait in pinned host memory, without one in files on disk, which the system may keep in memory. Prices
come from three settings that are not foretold: all experts in fast memory, none of them, and none with all computed
where they lie. They are measured before and after every few settings, and foretell those: what drifts, drifts for both.
Of several passes the median counts, of measured by foretold.
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
TOGETHER = 3
"""Settings between two measurements of the prices."""
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


class Judged(NamedTuple):
    """A setting, what its routing says, and of each pass its time, the one foretold, and the transfers' share."""

    setting: Setting
    told: Foretold
    measured_s: list[float]
    foretold_s: list[float]
    shares: list[float]

    def bytes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64] | None]:
        """Bytes a token that are missed, and that are fetched ahead."""
        return np.array([self.told.missed]), None if self.told.fetched is None else np.array([self.told.fetched])

    def curve(self) -> PolicyCurve:
        """A curve of this one point, which says how the policy deals with misses."""
        none, plan = np.zeros((1, 1), np.int64), self.setting.plan
        return PolicyCurve(
            plan.policy, plan.per, plan.miss, none[0], none[0], none, none.astype(np.float64), plan.prefetch
        )

    def foretell(self, prices: Prices, measured_s: float) -> None:
        """Keep a measured time beside the one that prices of the same moments foretell."""
        expected_s = float(seconds(self.curve(), prices, *self.bytes())[0])
        moved = self.told.missed if self.setting.plan.miss == "load" else 0.0
        self.measured_s.append(measured_s)
        self.foretold_s.append(expected_s)
        self.shares.append(moved * (prices.link_byte_s or 0.0) / expected_s)


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
        judged = [Judged(each, foretell(each.plan, experts, profile, offload.expert_bytes, num_experts), [], [], [])
                  for each in wanted[3:]]  # fmt: skip
        links: list[float] = []
        blocks: list[tuple[str, Any]] = []
        meter = None
        if with_joules:
            import ipw

            meter = ipw.Meter("loader", out=Path(name) / "runs")

        def timed(each: Setting) -> float:
            offload.start(each.plan)
            with meter.measure(each.name) if meter else nullcontext() as block:
                taken[each.name].append(decode(model, texts[1]) / (tokens - 1))
            blocks.append((each.name, block))
            return taken[each.name][-1]

        all_bytes = layers * k * offload.expert_bytes
        decode(model, texts[1])  # memory that was never touched before is slow once
        for number in range(passes):
            turn = sorted(judged, key=lambda _: picks.random())
            before = [timed(each) for each in wanted[:3]]
            for first in range(0, len(turn), TOGETHER):
                part = turn[first : first + TOGETHER]
                links.append(link_byte_s(offload, num_experts, 18))
                measured = [timed(each.setting) for each in part]
                after = [timed(each) for each in wanted[:3]]
                prices = prices_of(np.add(before, after) / 2, all_bytes)
                for each, has in zip(part, measured, strict=True):
                    each.foretell(prices, has)
                before = after
                print(f"pass {number + 1}: {first + len(part)} of {len(turn)} settings", flush=True)
        for of, block in blocks:  # asked late, when the readings behind each block are there
            if block is not None and block.energy_j is not None:
                energy[of].append(block.energy_j / tokens)
        prices = prices_of(np.array([statistics.median(taken[each.name]) for each in wanted[:3]]), all_bytes)
        told = {"token_ms": 1e3 * (prices.token_s or 0), "link_gb_s": 1e-9 / (prices.link_byte_s or 1)}
        told |= {"link_alone_gb_s": 1e-9 / min(links), "expert_mb": offload.expert_bytes / 1e6}
        told |= {"cpu_ms": 1e3 * (prices.cpu_byte_s or 0) * offload.expert_bytes}
        spread = {each.name: max(taken[each.name]) / min(taken[each.name]) for each in wanted[:3]}
        print(
            json.dumps({"device": device, "torch": torch.__version__, **told, "slowest_by_fastest": spread}), flush=True
        )
        _judge(judged, energy, prices, all_bytes)
        if meter is not None:
            meter.close()
        offload.close()


def prices_of(seconds_a_token: npt.ArrayLike, all_bytes: int) -> Prices:
    """Prices from tokens with all experts in fast memory, with none, and with none and all on the CPU."""
    token_s, loaded_s, lying_s = np.asarray(seconds_a_token, np.float64).tolist()
    return Prices(token_s, (loaded_s - token_s) / all_bytes, max(lying_s - token_s, 0.0) / all_bytes)


def _judge(judged: list[Judged], energy: dict[str, list[float]], prices: Prices, all_bytes: int) -> None:
    line = None
    if energy["all in fast memory"] and energy["none, all loaded"]:
        token_j = statistics.fmean(energy["all in fast memory"])
        line = token_j, (statistics.fmean(energy["none, all loaded"]) - token_j) / all_bytes
    close = dominated = 0
    for each in judged:
        plan, name = each.setting.plan, each.setting.name
        error = statistics.median(np.divide(each.measured_s, each.foretold_s)) - 1
        share = statistics.median(each.shares)
        if share > 0.5:
            dominated += 1
            close += abs(error) <= WITHIN
        expected, measured = statistics.median(each.foretold_s), statistics.median(each.measured_s)
        found = f"{name:36} hit rate {each.told.hit_rate:.3f}, transfers {share:4.0%} of the time: "
        found += f"foretold {1 / expected:7.2f}, measured {1 / measured:7.2f} tokens/s ({-error / (1 + error):+.1%})"
        if line and energy[name] and plan.miss == "load":
            token_j, byte_j = line
            priced = Prices(prices.token_s, prices.link_byte_s, token_j=token_j, link_byte_j=byte_j)
            wished = joules(each.curve(), priced, *each.bytes(), None)
            assert wished is not None
            has = statistics.fmean(energy[name])
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
