"""What local learning costs and saves beside backpropagation.

python tools/bench/local_learning.py time                    # ratios of step times, methods in turns, one thread
python tools/bench/local_learning.py memory                  # ResNet-32, batch 128, SGD: tensors and resident pages
python tools/bench/local_learning.py blocks                  # peak of activations against the number of blocks
python tools/bench/local_learning.py cuda                    # on a GPU: peaks of its allocator, and steps in bfloat16
python tools/bench/local_learning.py images                  # on a GPU: networks and batches as large as the papers'

Times are processor time of this process, which another process on the machine changes little.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ipw.workloads.training.anatomy import anatomy
from ipw.workloads.training.edges import Edges
from ipw.workloads.training.heads import LayeredHead
from ipw.workloads.training.memory import PeakMemory, settled_bytes
from ipw.workloads.training.methods import make_method
from ipw.workloads.training.parameters import Parameters
from ipw.workloads.training.subjects import load_task, next_token_loss
from ipw.workloads.training.task import Task

CPU = torch.device("cpu")
GRADIENTS = ("backprop", "checkpointing", "local", "momentum-local")
LIMITS = {("text", "local"): 2.05, ("image", "local"): 1.85, ("text", "momentum-local"): 2.6,
          ("image", "momentum-local"): 2.4}  # fmt: skip
"""AugLocal's and MAN's own layouts took 1.94, 1.74, 2.45 and 2.26 on a quiet machine."""
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
"""Lets glibc give freed tensors back at once; else resident pages tell of what was, up to five times what is."""
RESNET = Parameters(model="resnet-32", batch_size=128, optimizer="sgd", evaluations=0)


def ready(name: str, parameters: Parameters) -> tuple[Task, Any, Callable[[], float]]:
    """A task, its method, and a step of it that returns the loss."""
    task = load_task(parameters)
    method: Any = make_method(name, task, parameters)
    edges = Edges(next(task.model.parameters()).device)

    def step() -> float:
        edges.begin()
        loss = method.step(next(task.batches), edges)
        edges.end()
        return float(loss)

    step()
    return task, method, step


# --- time -----------------------------------------------------------------------------------------------------------


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, tuple[float, float, float]]:
    """Median over rounds of each method's time over the base's, with a 95 % bootstrap interval over rounds."""
    random, found = np.random.default_rng(0), {}
    for name, mine in seconds.items():
        each = np.array(mine) / np.array(seconds[base])
        drawn = np.median(each[random.integers(len(each), size=(2000, len(each)))], axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        found[name] = (float(np.median(each)), float(low), float(high))
    return found


def measure_time(models: Sequence[str], rounds: int, inner: int) -> None:
    """Take steps of all methods in turns, round by round, and compare within each round."""
    torch.set_num_threads(1)
    variants: dict[str, tuple[str, dict[str, Any]]] = {
        "backprop": ("backprop", {}),
        "local": ("local", {}),
        "local, --blocks layers": ("local", {"blocks": "layers"}),
        "momentum-local": ("momentum-local", {}),
        "momentum-local, depth 2": ("momentum-local", {"auxiliary_depth": 2}),
        "checkpointing": ("checkpointing", {}),
        "zeroth-order": ("zeroth-order", {}),
    }
    for model in models:
        steps = {n: ready(m, Parameters(model=model, evaluations=0, **o))[2] for n, (m, o) in variants.items()}
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for number in range(rounds):
            order = list(variants) if number % 2 else list(variants)[::-1]
            for name in order:
                start = time.process_time()
                for _ in range(inner):
                    steps[name]()
                seconds[name].append((time.process_time() - start) / inner)
        for name, (ratio, low, high) in ratios(seconds, "backprop").items():
            most = LIMITS.get((model, name))
            limit = f"   at most {most}: {'holds' if ratio <= most else 'DOES NOT HOLD'}" if most else ""
            ms = 1e3 * statistics.median(seconds[name])
            print(f"{model:6} {name:26} {ms:7.1f} ms   {ratio:.3f} [{low:.3f}, {high:.3f}]{limit}", flush=True)
    print(
        f"load average {os.getloadavg()[0]:.1f}, {rounds} rounds of {inner} steps, batch 16, torch {torch.__version__}"
    )


# --- memory ---------------------------------------------------------------------------------------------------------


def modules(task: Task, method: Any) -> list[torch.nn.Module]:
    """What holds the weights."""
    return [task.model, *([method.heads] if hasattr(method, "heads") else [])]


def told(label: str, found: dict[str, float | None], base: float | None, key: str = "tensors") -> None:
    """One line: megabytes, and how the key figure compares with the base's."""
    parts = "  ".join(f"{name} {x / 1e6:8.1f}" for name, x in found.items() if x is not None)
    value = found.get(key)
    share = f"   {value / base - 1:+.1%}" if base and value is not None else ""
    print(f"{label:34} {parts}  MB{share}", flush=True)


def one_memory(name: str, options: dict[str, Any]) -> dict[str, float | None]:
    """Peaks of one method in this process: of tensors, by parts, and of resident pages."""
    torch.set_num_threads(1)
    parameters = Parameters(**RESNET.as_dict() | {"methods": (name,)} | options)
    _, _, step = ready("backprop", Parameters(**parameters.as_dict() | {"batch_size": 4}))  # libraries are warm
    del step
    before = settled_bytes()
    task, method, step = ready(name, parameters)
    watch = PeakMemory(CPU)
    watch.reset()
    step()
    resident = None if before is None else float(watch.host_bytes() - before)
    batch, edges = next(task.batches), Edges(CPU)
    parts = anatomy(lambda: method.step(batch, edges), modules(task, method))
    named = {key.removesuffix("_bytes"): float(value) for key, value in parts._asdict().items()}
    return {"resident": resident, **named}


def measure_memory(names: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """Measure each method in a process of its own."""
    base: dict[str, float | None] = {}
    for label, name, options in names:
        order = json.dumps({"name": name, "options": options})
        said = subprocess.run(
            [sys.executable, __file__, "one", "--order", order],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            env=os.environ | RETURNED,
        ).stdout
        found: dict[str, float | None] = json.loads(said)
        base = base or found
        told(label, found, base["tensors"])
        if found["resident"] and base["resident"] and found is not base:
            print(f"{'':34} resident {found['resident'] / base['resident'] - 1:+.1%}", flush=True)


def compared() -> None:
    """All methods on ResNet-32."""
    measure_memory([
        ("backprop", "backprop", {}),
        ("checkpointing", "checkpointing", {}),
        *((f"local, d = {d}", "local", {"auxiliary_depth": d}) for d in (1, 2, 3, 6)),
        ("momentum-local", "momentum-local", {}),
        ("zeroth-order", "zeroth-order", {}),
    ])  # fmt: skip


def by_blocks() -> None:
    """One method, cut into more and more blocks."""
    measure_memory([
        (f"local, {blocks} blocks", "local", {"blocks": blocks, "auxiliary_depth": 1})
        for blocks in (1, 2, 3, 5, 8, 15)
    ])  # fmt: skip


# --- on a GPU -------------------------------------------------------------------------------------------------------


def language_model(
    width: int, layers: int, vocabulary: int, tokens: tuple[int, int], *, tied: bool, device: str
) -> Task:
    """A causal language model of transformers with fresh weights, on random tokens."""
    import transformers

    config = transformers.Qwen3Config(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, num_key_value_heads=width // 128, head_dim=64, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.Qwen3ForCausalLM(config)
    decoder = list(model.model.layers)

    def batches() -> Any:
        while True:
            yield torch.randint(vocabulary, (tokens[0], tokens[1] + 1), device=device)

    return Task(
        model=model.train(),
        batches=batches(),
        loss=lambda net, ids: next_token_loss(net(input_ids=ids[:, :-1], use_cache=False).logits, ids),
        layers=decoder,
        criterion=next_token_loss,
        auxiliary=lambda _after, sampled: LayeredHead(model, [decoder[i] for i in sampled], tied=tied),
    )


def device_peak(make: Callable[[], Task], name: str, parameters: Parameters, steps: int = 4) -> dict[str, float]:
    """Peak of the allocator in a step after two others, milliseconds of a step, and the last loss."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.manual_seed(0)
    task = make()
    with torch.device("cuda"):
        method: Any = make_method(name, task, parameters)
    edges, loss, spent = Edges(torch.device("cuda")), float("nan"), []
    for number in range(steps):
        batch = next(task.batches)
        if number == 2:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        edges.begin()
        loss = float(method.step(batch, edges))
        edges.end()
        spent.append(1e3 * (time.perf_counter() - start))
    return {"peak": float(torch.cuda.max_memory_allocated()), "ms": statistics.median(spent[2:]), "loss": loss}


Case = tuple[str, Callable[[], Task], str, Parameters]


def language_cases() -> list[Case]:
    """All methods on ResNet-32 and a language model of 12 layers, then one of 28."""
    image = RESNET.as_dict() | {"device": "cuda"}
    text: dict[str, Any] = {"device": "cuda"}
    small = partial(language_model, 384, 12, 8192, (16, 256), device="cuda")
    cases: list[Case] = []
    for amp in (False, True):
        kind = "bf16" if amp else "fp32"
        pictures, words = Parameters(**image | {"amp": amp}), Parameters(**text | {"amp": amp})
        for name in (*GRADIENTS, "zeroth-order"):
            cases.append((f"resnet-32 {kind}", partial(load_task, pictures), name, pictures))
            cases.append((f"12 layers {kind}", partial(small, tied=True), name, words))
        cases.append((f"12 layers {kind}, heads own", partial(small, tied=False), "local", words))
    for length in (96, 512):
        large = partial(language_model, 1024, 28, 151_936, (16, length), tied=True, device="cuda")
        cases += [(f"0.6 B, 16 x {length}", large, name, Parameters(**text)) for name in GRADIENTS[::2] + GRADIENTS[3:]]
    return cases


def image_cases() -> list[Case]:
    """Residual networks as deep and batches as large as in the papers; convolutions as they come, and the fastest."""

    def pictures(parameters: Parameters, *, fastest: bool) -> Task:
        torch.backends.cudnn.benchmark = fastest  # as in the papers' code
        return load_task(parameters)

    cases: list[Case] = []
    for model, batch_size, fastest in (("resnet-32", 128, True), ("resnet-32", 1024, True), ("resnet-110", 1024, True),
                                       ("resnet-32", 1024, False)):  # fmt: skip
        for name, depth in (("backprop", None), ("local", 2), ("local", 6), ("momentum-local", None)):
            changed = {"model": model, "batch_size": batch_size, "device": "cuda", "auxiliary_depth": depth}
            parameters = Parameters(**RESNET.as_dict() | changed)
            label = f"{model} x {batch_size}{' fastest' if fastest else ''}"
            told_as = f"{label}, heads {depth}" if depth else label
            cases.append((told_as, partial(pictures, parameters, fastest=fastest), name, parameters))
    return cases


def on_cuda(cases: Sequence[Case], budget_s: float) -> None:
    """Peaks of the allocator and times of steps, case by case, each beside the first of its label."""
    until = time.monotonic() + budget_s
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    base: dict[str, float] = {}
    for label, make, name, parameters in cases:
        if time.monotonic() > until:
            print("the time is up: what is missing was not measured")
            return
        try:
            found = device_peak(make, name, parameters)
        except torch.cuda.OutOfMemoryError as error:
            print(f"{label:30} {name:16} out of memory: {str(error).splitlines()[0][:80]}")
            continue
        peak = found["peak"]
        share = f"{peak / base.setdefault(label.partition(', heads')[0], peak) - 1:+.1%}"
        print(
            f"{label:30} {name:16} {peak / 1e6:10.1f} MB {share:>8} {found['ms']:8.1f} ms  loss {found['loss']:.3f}",
            flush=True,
        )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory", "blocks", "cuda", "images", "one"])
    parser.add_argument("--models", default="text,image")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--inner", type=int, default=3)
    parser.add_argument("--budget-s", type=float, default=80.0)
    parser.add_argument("--order")
    asked = parser.parse_args()
    match asked.what:
        case "time":
            measure_time(asked.models.split(","), asked.rounds, asked.inner)
        case "memory":
            compared()
        case "blocks":
            by_blocks()
        case "cuda":
            on_cuda(language_cases(), asked.budget_s)
        case "images":
            on_cuda(image_cases(), asked.budget_s)
        case _:
            order = json.loads(asked.order)
            print(json.dumps(one_memory(order["name"], order["options"])))


if __name__ == "__main__":
    main()
