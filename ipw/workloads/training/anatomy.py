"""What takes memory in a step: weights, the optimiser's states, gradients, and all else that the step makes.

Counted from the tensors themselves, by watching every operation of one step: the same on every device, and exact but
for what operations use inside. Watching is slow, so it is done to a step of the warm-up.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Anatomy(NamedTuple):
    """Bytes of tensors in one step."""

    weights_bytes: int
    """Of the model and of all heads, buffers and averages too."""
    optimizer_bytes: int
    gradients_bytes: int
    activations_bytes: int
    """The most that tensors made in the step took at one time before the update, gradients of weights left out."""
    tensors_bytes: int
    """The most that all of these took at one time in the step."""


class Event(NamedTuple):
    """A tensor that came, or went."""

    number: int
    bytes: int


class Watch(TorchDispatchMode):
    """Notes when the memory of each tensor that operations make comes and goes."""

    def __init__(self, there: Iterable[Tensor]) -> None:
        super().__init__()
        self.events: list[Event] = []
        self._there = {_place(tensor) for tensor in there}
        self._numbers: dict[int, int] = {}
        self._made = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Do the operation, and look at what it made."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return result

    def forgive(self, tensors: Iterable[Tensor]) -> None:
        """Leave out what was there before the step."""
        self._there.update(_place(tensor) for tensor in tensors)

    def number_of(self, tensor: Tensor) -> int | None:
        """Tell which of the memories that came this tensor's is."""
        return self._numbers.get(_place(tensor))

    def _see(self, tensor: Tensor) -> None:
        place, storage = _place(tensor), tensor.untyped_storage()
        if place in self._numbers or place in self._there:
            return
        event = Event(self._made, storage.nbytes())
        self._made += 1
        self._numbers[place] = event.number
        self.events.append(event)
        weakref.finalize(storage, self._gone, place, event)

    def _gone(self, place: int, event: Event) -> None:
        self._numbers.pop(place, None)
        self.events.append(event._replace(bytes=-event.bytes))


def anatomy(step: Callable[[], object], modules: Sequence[nn.Module]) -> Anatomy:
    """Take one step and tell what its memory was for; `modules` hold the weights. States must have been made before."""
    weights = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    states: list[Tensor] = []
    gradients: dict[int, int] = {}
    before_update: list[int] = []

    def at_update(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        before_update.append(len(watch.events))
        states.extend(t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor))
        watch.forgive(states)
        for group in optimizer.param_groups:
            for weight in group["params"]:
                number = None if weight.grad is None else watch.number_of(weight.grad)
                if number is not None:
                    gradients[number] = weight.grad.untyped_storage().nbytes()

    watch = Watch(weights)
    hook = register_optimizer_step_pre_hook(at_update)
    try:
        with watch:
            step()
    finally:
        hook.remove()
    events = list(watch.events)
    made = events[: before_update[0] if before_update else None]
    weights_bytes, states_bytes = _total(weights), _total(states)
    return Anatomy(
        weights_bytes,
        states_bytes,
        sum(gradients.values()),
        _most(event.bytes for event in made if event.number not in gradients),
        weights_bytes + states_bytes + _most(event.bytes for event in events),
    )


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - the one name of a memory that views share


def _total(tensors: Sequence[Tensor]) -> int:
    return sum({_place(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def _most(changes: Iterable[int]) -> int:
    most = total = 0
    for change in changes:
        total += change
        most = max(most, total)
    return most
