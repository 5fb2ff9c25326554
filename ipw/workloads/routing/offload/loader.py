"""Runs a model with only some experts of each layer in fast memory, and loads the others when they are chosen.

The experts' own code runs unchanged: where it takes the weights of one expert out of a stack of all, it finds an
object that fetches them. So every sum is formed in the same order, and outputs are the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipw.errors import UsageError
from ipw.workloads.routing.capture import NOT_ROUTED, experts_of
from ipw.workloads.routing.parameters import OnlinePolicy

if TYPE_CHECKING:
    import torch
    from torch import nn


class Residents:
    """Which experts of one layer a cache holds: the current token's, and of the others those that rank highest.

    The same rule as `pinned=True` of the metrics, so that hits are the ones that those foretell.
    """

    def __init__(self, policy: OnlinePolicy, size: int) -> None:
        self._by_count, self._size = policy == "lfu", size
        self.held: frozenset[int] = frozenset()
        self._last: dict[int, int] = {}
        self._uses: dict[int, int] = {}
        self._token = 0

    def use(self, token: Sequence[int]) -> None:
        """Let one token use its experts."""
        self._token += 1
        for expert in token:
            self._last[expert] = self._token
            self._uses[expert] = self._uses.get(expert, 0) + 1
        ranked = sorted(self.held | set(token), key=lambda expert: (expert in token, *self._rank(expert)), reverse=True)
        self.held = frozenset(ranked[: self._size])

    def _rank(self, expert: int) -> tuple[int, int, int]:
        return self._uses[expert] if self._by_count else 0, self._last[expert], expert


@dataclass(slots=True)
class Traffic:
    """What the layers asked for in forward passes of one kind, and what had to be loaded."""

    accesses: int = 0
    hits: int = 0
    """Accesses to experts that were in fast memory before their token came."""
    loads: int = 0
    loaded_bytes: int = 0

    def clear(self) -> None:
        """Count anew."""
        self.accesses = self.hits = self.loads = self.loaded_bytes = 0


class OnDemand:
    """Stands where a stack of weights [E, …] stood; taking an expert out of it fetches that expert."""

    def __init__(self, layer: Layer, name: str) -> None:
        self._layer, self._name = layer, name

    def __getitem__(self, expert: Any) -> torch.Tensor:
        return self._layer.fetch(int(expert))[self._name]


class Layer:
    """The experts of one layer, of which `residents.held` are in fast memory."""

    def __init__(self, module: nn.Module, folder: Path, prefill: Traffic, decode: Traffic) -> None:
        self._module = module
        self._prefill, self._decode, self._traffic = prefill, decode, prefill
        count = experts_of(module)
        own = {n: w for n, w in module.named_parameters(recurse=False) if w.ndim > 1 and len(w) == count}
        self._device = next(iter(own.values())).device
        self._slow = {name: _slow_copy(weight, folder / f"{name}.bin") for name, weight in own.items()}
        self.expert_bytes: int = sum(stack[0].nbytes for stack in self._slow.values())
        self._fast: dict[int, dict[str, torch.Tensor]] = {}
        self._passing: tuple[int, dict[str, torch.Tensor]] | None = None
        self.residents = Residents("lru", count)
        for name in own:
            delattr(module, name)
            setattr(module, name, OnDemand(self, name))
        self._handles = [
            module.register_forward_pre_hook(self._before, with_kwargs=True),
            module.register_forward_hook(self._after),
        ]

    def start(self, policy: OnlinePolicy, size: int) -> None:
        """Begin with an empty cache of `size` experts."""
        self.residents = Residents(policy, size)
        self._fast.clear()

    def fetch(self, expert: int) -> dict[str, torch.Tensor]:
        """Weights of one expert: resident, or loaded now. An expert that the cache will not keep stays for its turn."""
        if expert in self._fast:
            return self._fast[expert]
        if self._passing is not None and self._passing[0] == expert:
            return self._passing[1]
        weights = {name: stack[expert].to(self._device, copy=True) for name, stack in self._slow.items()}
        self._traffic.loads += 1
        self._traffic.loaded_bytes += self.expert_bytes
        if expert in self.residents.held:
            self._fast[expert] = weights
        else:
            self._passing = expert, weights
        return weights

    def restore(self) -> None:
        """Put the weights back as they were."""
        from torch import nn

        for handle in self._handles:
            handle.remove()
        for name, stack in self._slow.items():
            delattr(self._module, name)
            setattr(self._module, name, nn.Parameter(stack.to(self._device, copy=True), requires_grad=False))

    def _before(self, _module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        chosen = next(x for x in (*args, *kwargs.values()) if not x.is_floating_point())
        tokens = chosen.tolist()
        self._traffic = self._decode if len(tokens) == 1 else self._prefill
        for token in tokens:
            self._traffic.accesses += len(token)
            self._traffic.hits += len(self.residents.held.intersection(token))
            self.residents.use(token)
        needed = {expert for token in tokens for expert in token}
        self._drop(self.residents.held | needed)

    def _after(self, _module: nn.Module, _args: Sequence[Any], _output: Any) -> None:
        self._passing = None
        self._drop(self.residents.held)

    def _drop(self, keep: frozenset[int] | set[int]) -> None:
        for expert in self._fast.keys() - keep:
            del self._fast[expert]


class Offload:
    """A model whose experts live in slow memory: files on disk for the CPU, pinned host memory for a GPU.

    It has to run inside `one_by_one`. Raises UsageError for an architecture whose experts are no stacks of weights.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        found = [
            (name, module)
            for name, module in model.named_modules()
            if type(module).__name__.endswith("Experts") and type(module).__name__ not in NOT_ROUTED
        ]
        if not found:
            raise UsageError(f"the experts of {type(model).__name__} are not kept as stacks; they cannot be offloaded")
        self.prefill, self.decode = Traffic(), Traffic()
        self.layers = [Layer(module, _made(folder / name), self.prefill, self.decode) for name, module in found]

    @property
    def expert_bytes(self) -> int:
        """Of one expert of one layer."""
        size: int = self.layers[0].expert_bytes
        return size

    def start(self, policy: OnlinePolicy, size: int) -> None:
        """Begin with empty caches of `size` experts in every layer."""
        for layer in self.layers:
            layer.start(policy, size)

    def close(self) -> None:
        """Give the model its weights back."""
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


def _slow_copy(weight: torch.Tensor, path: Path) -> torch.Tensor:
    import torch

    stack = weight.detach()
    if stack.is_cuda:
        return stack.cpu().pin_memory()
    slow = torch.from_file(str(path), shared=True, size=stack.numel(), dtype=stack.dtype).view(stack.shape)
    slow.copy_(stack)
    return slow


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
