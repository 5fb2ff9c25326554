"""Directions that nobody has to store or send: each is made again from its seed, tensor by tensor, bit for bit."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Seed(NamedTuple):
    """Which direction: of which run and step, and its place among all directions of all machines in the step."""

    run: int
    step: int
    place: int


def direction(seed: Seed, number: int, like: Tensor) -> Tensor:
    """Standard normal noise for tensor `number` of a model."""
    digest = hashlib.blake2b(struct.pack("<qqqq", *seed, number), digest_size=8).digest()
    generator = torch.Generator(like.device).manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


class Perturbation:
    """Lets a model compute with weights + scale · direction, while the weights stay as they are, bit for bit.

    Each weight is replaced just before the module that uses it runs, and put back when it is done, so that one module's
    weights at a time are held twice. Adding noise and subtracting it again would leave rounding errors behind.
    """

    def __init__(self, model: nn.Module, weights: list[nn.Parameter]) -> None:
        self._model = model
        self._numbers = {id(weight): k for k, weight in enumerate(weights)}
        self._users: dict[nn.Module, list[nn.Parameter]] = {}

    @contextmanager
    def applied(self, seed: Seed, scale: float) -> Iterator[None]:
        """Inside, every forward pass of the model is perturbed."""
        if not self._users:
            raise RuntimeError("find_users comes first")
        handles: list[Any] = []
        kept: dict[nn.Module, list[tuple[nn.Parameter, Tensor]]] = {}
        replaced: set[int] = set()

        def replace(module: nn.Module, *_: Any) -> None:
            mine = [weight for weight in self._users[module] if id(weight) not in replaced]
            replaced.update(map(id, mine))
            kept[module] = [(weight, weight.data) for weight in mine]
            for weight in mine:
                weight.data = direction(seed, self._numbers[id(weight)], weight).mul_(scale).add_(weight.data)

        def restore(module: nn.Module, *_: Any) -> None:
            for weight, data in kept.pop(module, []):
                weight.data = data
                replaced.discard(id(weight))

        for module in self._users:
            handles.append(module.register_forward_pre_hook(replace))
            handles.append(module.register_forward_hook(restore, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module in list(kept):
                restore(module)

    @property
    def known(self) -> bool:
        """Whether find_users was called."""
        return bool(self._users)

    @contextmanager
    def find_users(self) -> Iterator[None]:
        """Watch one forward pass: a weight is used by its module, or by the next one around it that is called."""
        called: set[nn.Module] = set()
        handles = [m.register_forward_pre_hook(lambda m, _: called.add(m)) for m in self._model.modules()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        for name, module in self._model.named_modules(remove_duplicate=False):
            for weight in module.parameters(recurse=False):
                if id(weight) in self._numbers:
                    users = self._users.setdefault(self._nearest(name, called), [])
                    if not any(weight is other for other in users):
                        users.append(weight)

    def _nearest(self, name: str, called: set[nn.Module]) -> nn.Module:
        while name and self._model.get_submodule(name) not in called:
            name = name.rpartition(".")[0]
        return self._model.get_submodule(name) if name else self._model
