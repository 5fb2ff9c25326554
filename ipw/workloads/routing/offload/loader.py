"""Runs a model with only some experts of each layer in fast memory; the others are loaded, or computed where they lie.

The experts' own code runs unchanged: where it takes the weights of one expert out of a stack of all, it finds an
object that fetches them. So every sum is formed in the same order, and outputs are the same bits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.workloads.routing.capture import NOT_ROUTED, experts_of
from ipw.workloads.routing.measures.prediction import guess
from ipw.workloads.routing.offload.on_disk import OnDisk
from ipw.workloads.routing.offload.residents import Pool, Residents, residents_of

if TYPE_CHECKING:
    import torch
    from torch import nn

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the experts of a model are kept."""

    policy: str
    """`lru`, `lfu`, `lfru`, `slru`, `lru-bounded` or `static`."""
    size: int
    """Experts of each layer, or so many of every layer's in one pool."""
    per: str = "layer"
    """`pool` is one memory for all layers, for `lru`; pins may differ in number between layers anyway."""
    miss: str = "load"
    """`cpu` computes a miss where it lies; what a cache takes in is brought in meanwhile."""
    prefetch: str | None = None
    """`layer` or `token`: what guesses are made from, which are fetched ahead while the model computes."""
    inserts: int = 1
    pins: Sequence[Collection[int]] | None = None
    """Of each layer."""
    chances: Sequence[Floats] | None = None
    """[E, E] of each layer, from what the layer or the token before used."""


@dataclass(slots=True)
class Traffic:
    """What the layers asked for in forward passes of one kind, and what had to be loaded."""

    accesses: int = 0
    hits: int = 0
    """Accesses to experts that were in fast memory before their token came."""
    loads: int = 0
    """Experts that were waited for."""
    loaded_bytes: int = 0
    hidden: int = 0
    """Misses that had been fetched ahead."""
    fetched: int = 0
    """Experts that were brought in meanwhile, used or not."""
    computed: int = 0
    """Misses that were computed where they lie."""

    def clear(self) -> None:
        """Count anew."""
        for name in self.__slots__:
            setattr(self, name, 0)


class OnDemand:
    """Stands where a stack of weights [E, …] stood; taking an expert out of it fetches that expert."""

    def __init__(self, layer: Layer, name: str) -> None:
        self._layer, self._name = layer, name

    def __getitem__(self, expert: Any) -> Any:
        return self._layer.fetch(int(expert))[self._name]


class Slots:
    """Memory of experts that went, for those that come: asking the system for it anew costs more than the copy."""

    def __init__(self) -> None:
        self._free: deque[dict[str, Any]] = deque()
        self._link = threading.Lock()
        self._nobody_waits = threading.Event()
        self._nobody_waits.set()

    @contextmanager
    def link(self, *, ahead: bool) -> Iterator[None]:
        """Let one expert come at a time; what is needed now goes before what is fetched ahead."""
        if ahead:
            while True:
                self._nobody_waits.wait()
                self._link.acquire()
                if self._nobody_waits.is_set():
                    break
                self._link.release()
        else:
            self._nobody_waits.clear()
            self._link.acquire()
        try:
            yield
        finally:
            if not ahead:
                self._nobody_waits.set()
            self._link.release()

    def give(self, weights: dict[str, Any] | None) -> None:
        """Take back what is not needed any more; on a GPU the allocator of torch does the same."""
        if weights and all(weight.device.type == "cpu" for weight in weights.values()):
            self._free.append(weights)

    def fill(self, sources: dict[str, Any]) -> dict[str, Any]:
        """Copy weights into free memory of their shapes, or into new."""
        import torch

        shapes = {name: source.shape for name, source in sources.items()}
        with torch.inference_mode(mode=False), torch.no_grad():  # filled again outside of inference mode, too
            weights = self._free.pop() if self._free else {}
            if {name: weight.shape for name, weight in weights.items()} != shapes:
                weights = {name: torch.empty_like(source) for name, source in sources.items()}
            for name, source in sources.items():
                weights[name].copy_(source)
        return weights


class WhereItLies:
    """Weights in host memory that stand in a GPU's computation: what they take part in is computed by the CPU."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    @classmethod
    def __torch_function__(
        cls, function: Any, _types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Bring the other operands to the CPU, and the result back."""
        import torch

        device: Any = "cpu"

        def here(value: Any) -> Any:
            nonlocal device
            if isinstance(value, cls):
                return value.weight
            if torch.is_tensor(value):
                device = value.device
                return value.cpu()
            return value

        found = function(*map(here, args), **{name: here(value) for name, value in (kwargs or {}).items()})
        return found.to(device)


class Layer:
    """The experts of one layer, of which `residents.held` are in fast memory."""

    def __init__(
        self,
        module: nn.Module,
        folder: Path,
        prefill: Traffic,
        decode: Traffic,
        beside: ThreadPoolExecutor,
        slots: Slots,
        *,
        past_cache: bool,
    ) -> None:
        self._module = module
        self._prefill, self._decode, self._traffic = prefill, decode, prefill
        count = experts_of(module)
        own = {n: w for n, w in module.named_parameters(recurse=False) if w.ndim > 1 and len(w) == count}
        self._device = next(iter(own.values())).device
        self._slow = {
            name: _slow_copy(weight, folder / f"{name}.bin", past_cache=past_cache) for name, weight in own.items()
        }
        self.expert_bytes: int = sum(stack[0].nbytes for stack in self._slow.values())
        self._fast: dict[int, dict[str, Any]] = {}
        self._passing: tuple[int, dict[str, Any]] | None = None
        self._coming: dict[int, Future[dict[str, Any]]] = {}
        self._beside, self._slots = beside, slots
        self._plan = Plan("lru", count)
        self._chances: Floats | None = None
        self.residents: Residents = residents_of("lru", count, 1, None)
        self.following: Layer | None = None
        """The layer that is computed next; behind the last one comes the first, for the next token."""
        for name in own:
            delattr(module, name)
            setattr(module, name, OnDemand(self, name))
        self._handles = [
            module.register_forward_pre_hook(self._before, with_kwargs=True),
            module.register_forward_hook(self._after),
        ]

    def start(self, plan: Plan, residents: Residents, chances: Floats | None) -> None:
        """Begin with an empty cache, or with the pins in it."""
        self._plan, self.residents, self._chances = plan, residents, chances
        self._drop(())
        self._forget()
        if plan.policy == "static":
            self._fast |= {expert: self._load(expert) for expert in sorted(residents.held)}

    def fetch(self, expert: int) -> dict[str, Any]:
        """Weights of one expert: resident, fetched ahead, where they lie, or loaded now.

        An expert that the cache will not keep stays for its turn.
        """
        if expert in self._fast:
            return self._fast[expert]
        if self._passing is not None and self._passing[0] == expert:
            return self._passing[1]
        if expert in self._coming and (self._plan.miss == "load" or self._coming[expert].done()):
            weights = self._coming.pop(expert).result()
            self._traffic.hidden += 1
        elif self._plan.miss == "cpu" and self._traffic is self._decode:
            self._traffic.computed += 1
            self._pass()
            return {name: self._lies(stack[expert]) for name, stack in self._slow.items()}
        else:
            weights = self._load(expert)
            self._traffic.loads += 1
            self._traffic.loaded_bytes += self.expert_bytes
        if expert in self.residents.held:
            self._fast[expert] = weights
        else:
            self._pass()
            self._passing = expert, weights
        return weights

    def fetch_ahead(self, causes: Sequence[int]) -> None:
        """Bring in beside the computing what this layer will likely use next; older guesses are dropped."""
        if self._chances is None:
            return
        guesses = np.zeros((1, len(causes)), np.int32)
        guess(np.array([causes]), np.zeros(1, np.int64), self._chances[None], guesses)
        self._forget()
        self._bring(guesses[0].tolist())

    def evict(self, expert: int) -> None:
        """Another layer took the place of one of these."""
        self._slots.give(self._fast.pop(expert, None))

    def restore(self) -> None:
        """Put the weights back as they were."""
        from torch import nn

        for handle in self._handles:
            handle.remove()
        for name, stack in self._slow.items():
            delattr(self._module, name)
            setattr(self._module, name, nn.Parameter(stack.to(self._device, copy=True), requires_grad=False))
            if isinstance(stack, OnDisk):
                stack.close()

    def _bring(self, experts: Collection[int]) -> None:
        for expert in experts:
            if expert not in self._fast and expert not in self._coming:
                self._decode.fetched += 1
                self._coming[expert] = self._beside.submit(self._load_beside, expert)

    def _load_beside(self, expert: int) -> dict[str, Any]:
        """Load in another thread; on a GPU on a stream of its own, so that it does not wait for the computing."""
        if self._device.type != "cuda":
            return self._load(expert, ahead=True)
        import torch

        with self._slots.link(ahead=True), torch.cuda.stream(_stream_beside(self._device)):
            weights = {name: stack[expert].to(self._device, non_blocking=True) for name, stack in self._slow.items()}
            torch.cuda.current_stream().synchronize()
        for weight in weights.values():
            weight.record_stream(torch.cuda.default_stream(self._device))
        return weights

    def _load(self, expert: int, *, ahead: bool = False) -> dict[str, Any]:
        with self._slots.link(ahead=ahead):
            sources = {name: stack[expert] for name, stack in self._slow.items()}
            if self._device.type != "cpu":
                return {name: source.to(self._device, copy=True) for name, source in sources.items()}
            return self._slots.fill(sources)

    def _lies(self, weight: torch.Tensor) -> Any:
        return WhereItLies(weight) if self._device.type != "cpu" else weight

    def _before(self, _module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        chosen = next(x for x in (*args, *kwargs.values()) if not x.is_floating_point())
        tokens = chosen.tolist()
        self._traffic = self._decode if len(tokens) == 1 else self._prefill
        for token in tokens:
            self._traffic.accesses += len(token)
            self._traffic.hits += len(set(self.residents.held).intersection(token))
            self.residents.use(token)
        needed = {expert for token in tokens for expert in token}
        self._drop({*self.residents.held, *needed})
        if self._plan.miss == "cpu" and self._traffic is self._decode:
            self._bring([expert for expert in self.residents.held if expert in needed])
        if self._plan.prefetch == "layer" and self.following is not None and self._traffic is self._decode:
            self.following.fetch_ahead(tokens[0])
        self._causes = tokens[-1]

    def _after(self, _module: nn.Module, _args: Sequence[Any], _output: Any) -> None:
        self._pass()
        for expert in [expert for expert in self._coming if self._plan.miss == "cpu"]:
            if self._coming[expert].done():  # taken in meanwhile
                self._fast[expert] = self._coming.pop(expert).result()
        self._drop(self.residents.held)
        if self._plan.prefetch == "token" and self._traffic is self._decode:
            self.fetch_ahead(self._causes)

    def _drop(self, keep: Collection[int]) -> None:
        for expert in self._fast.keys() - set(keep):
            self._slots.give(self._fast.pop(expert))

    def _pass(self) -> None:
        """What stayed for its turn goes."""
        if self._passing is not None:
            self._slots.give(self._passing[1])
            self._passing = None

    def _forget(self) -> None:
        """What was fetched ahead and not used goes, as soon as it is there."""
        for future in self._coming.values():
            future.add_done_callback(lambda done: self._slots.give(done.result()))
        self._coming.clear()


class Offload:
    """A model whose experts live in slow memory: files on disk for the CPU, pinned host memory for a GPU.

    It has to run inside `one_by_one`. Raises UsageError for an architecture whose experts are no stacks of weights.
    """

    def __init__(self, model: Any, folder: Path, *, past_cache: bool = False) -> None:
        """With `past_cache` loads on the CPU read the disk; else the system keeps the files in memory if it can."""
        found = [
            (name, module)
            for name, module in model.named_modules()
            if type(module).__name__.endswith("Experts") and type(module).__name__ not in NOT_ROUTED
        ]
        if not found:
            raise UsageError(f"the experts of {type(model).__name__} are not kept as stacks; they cannot be offloaded")
        self.prefill, self.decode = Traffic(), Traffic()
        self._beside, slots = ThreadPoolExecutor(1), Slots()
        self.layers = [
            Layer(module, _made(folder / name), self.prefill, self.decode, self._beside, slots, past_cache=past_cache)
            for name, module in found
        ]
        for layer, following in zip(self.layers, [*self.layers[1:], self.layers[0]], strict=True):
            layer.following = following

    @property
    def expert_bytes(self) -> int:
        """Of one expert of one layer."""
        size: int = self.layers[0].expert_bytes
        return size

    def start(self, plan: Plan) -> None:
        """Begin anew, every cache empty but for pins."""
        pool = None
        if plan.per == "pool" and plan.policy == "lru":
            each = [layer.expert_bytes for layer in self.layers]
            pool = Pool(plan.size * sum(each), each, lambda number, expert: self.layers[number].evict(expert))
        for number, layer in enumerate(self.layers):
            pins = plan.pins[number] if plan.pins is not None else None
            residents = pool.layer(number) if pool else residents_of(plan.policy, plan.size, plan.inserts, pins)
            layer.start(plan, residents, plan.chances[number] if plan.chances is not None else None)

    def close(self) -> None:
        """Give the model its weights back."""
        self._beside.shutdown()
        for layer in self.layers:
            layer.restore()


@contextmanager
def one_by_one(model: Any) -> Iterator[None]:
    """Let `model` compute its experts one after another, the only way that takes single experts out of a stack."""
    before = model.config._experts_implementation  # noqa: SLF001 (what the setter sets)
    model.set_experts_implementation("eager")
    try:
        yield
    finally:
        model.set_experts_implementation(before)


@cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    import torch

    return torch.cuda.Stream(device)


def _slow_copy(weight: torch.Tensor, path: Path, *, past_cache: bool) -> torch.Tensor | OnDisk:
    import torch

    stack = weight.detach()
    if stack.is_cuda:
        return stack.cpu().pin_memory()
    if past_cache:
        return OnDisk(stack, path)
    slow = torch.from_file(str(path), shared=True, size=stack.numel(), dtype=stack.dtype).view(stack.shape)
    slow.copy_(stack)
    return slow


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
