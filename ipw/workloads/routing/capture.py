"""Which experts a model chooses, noted by hooks while it runs: what was chosen, never worked out again from logits.

Most architectures of transformers hand the chosen ids to a module whose class is named `…Experts`. The few that do not
have an entry in `ROUTERS`, which reads the choice from what their router returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.errors import IpwError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

Choice = Callable[["nn.Module", Any], "torch.Tensor"]
"""From a router and its output to the chosen ids, [tokens, k]."""


def _llama4(router: nn.Module, output: Any) -> torch.Tensor:
    """Scores [tokens, E] that are 0 for all but the chosen."""
    chosen: torch.Tensor = output[0].topk(router.top_k, dim=1).indices
    return chosen


def _jetmoe(router: nn.Module, output: Any) -> torch.Tensor:
    """Flat places sorted by expert, and how many places each expert has."""
    import torch

    places, sizes = output[0], torch.tensor(output[3], device=output[0].device)
    chosen = torch.empty_like(places)
    chosen[places] = torch.repeat_interleave(torch.arange(len(sizes), device=places.device), sizes)
    return chosen.view(-1, router.top_k)


def _nllb(_router: nn.Module, output: Any) -> torch.Tensor:
    """Weights [tokens, E] that are 0 for all but two."""
    weights, chosen = output[1].topk(2, dim=1)
    return _none_dropped(chosen, weights > 0)


def _switch(_router: nn.Module, output: Any) -> torch.Tensor:
    """One-hot rows [sequences, tokens, E]."""
    import torch

    rows = output[0].flatten(0, 1)
    return _none_dropped(rows.argmax(dim=1, keepdim=True), torch.sum(rows, 1, keepdim=True) > 0)


def _none_dropped(chosen: torch.Tensor, served: torch.Tensor) -> torch.Tensor:
    if not bool(served.all()):
        raise UsageError(
            "the router dropped tokens that were over an expert's capacity, so k is not the same for all",
            "raise expert_capacity in the model's config.json, or use shorter sequences",
        )
    return chosen


ROUTERS: dict[str, Choice] = {
    "Llama4Router": _llama4,
    "JetMoeTopKGating": _jetmoe,
    "NllbMoeTop2Router": _nllb,
    "SwitchTransformersTop1Router": _switch,
}
NOT_ROUTED = {
    "Llama4TextExperts",
    "JetMoeParallelExperts",
    "NllbMoeExperts",
    "SwitchTransformersExperts",
    "InklingSharedExperts",
}
"""`…Experts` that are not given ids, or are shared by all tokens."""
EXPERT_COUNTS = ("num_experts", "moe_num_experts", "num_local_experts", "n_routed_experts")


class Capture:
    """Hooks on every routed layer of a model, from making to `close`."""

    def __init__(self, model: nn.Module) -> None:
        self._chosen: dict[str, list[torch.Tensor]] = {}
        self._modules = dict(model.named_modules())
        self._handles = []
        for name, module in self._modules.items():
            kind = type(module).__name__
            if kind in ROUTERS and not _is_attention(self._modules, name):
                self._handles.append(module.register_forward_hook(self._router_hook(name, ROUTERS[kind])))
            elif kind.endswith("Experts") and kind not in NOT_ROUTED:
                self._handles.append(module.register_forward_pre_hook(self._experts_hook(name), with_kwargs=True))
        if not self._handles:
            raise UsageError(f"{type(model).__name__} has no routed experts: it is dense", "give a mixture of experts")
        self.layers: tuple[str, ...] = ()
        """Names of the routed layers, known once something was taken."""
        self.num_experts = 0
        self.experts_per_token = 0

    def take(self) -> npt.NDArray[np.int16]:
        """Return what was chosen since the last time, [tokens, layers, k], and forget it."""
        import torch

        found = {name: torch.cat(self._chosen[name]) for name in self._modules if self._chosen.get(name)}
        self._chosen = {}
        if not self.layers:
            self.layers = tuple(found)
            self.num_experts = self._count_experts()
            self.experts_per_token = found[self.layers[0]].shape[1]
        shapes = {tuple(ids.shape) for ids in found.values()}
        if tuple(found) != self.layers or len(shapes) != 1:
            raise UsageError(f"layers differ in the tokens or experts a token that they route: {sorted(shapes)}")
        return torch.stack(list(found.values()), dim=1).to(torch.int16).cpu().numpy()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()

    def _count_experts(self) -> int:
        if not self.layers:
            raise IpwError("the model ran, but no layer of it told which experts it chose", "report its architecture")
        counts = {experts_of(self._modules[name]) for name in self.layers}
        if len(counts) > 1:
            raise UsageError(f"layers differ in their number of experts: {sorted(counts)}")
        return counts.pop()

    def _experts_hook(self, name: str) -> Callable[..., None]:
        import torch

        def hook(_module: nn.Module, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
            for value in (*args, *kwargs.values()):
                if torch.is_tensor(value) and value.dtype in (torch.int64, torch.int32) and value.ndim == 2:
                    self._chosen.setdefault(name, []).append(value.detach())
                    return

        return hook

    def _router_hook(self, name: str, choice: Choice) -> Callable[..., None]:
        def hook(module: nn.Module, _args: Sequence[Any], output: Any) -> None:
            self._chosen.setdefault(name, []).append(choice(module, output))

        return hook


def _is_attention(modules: dict[str, nn.Module], name: str) -> bool:
    """Tell JetMoe's attention experts from those of its feed-forward layers."""
    return type(modules[name.rpartition(".")[0]]).__name__ == "JetMoeMoA"


def expert_bytes(model: nn.Module) -> int | None:
    """Bytes of the weights of one expert; `None` where they are not kept in one module a layer."""
    for module in model.modules():
        kind = type(module).__name__
        if kind.endswith("Experts") and kind not in {"JetMoeParallelExperts", "InklingSharedExperts"}:
            size: int = sum(weight.nbytes for weight in module.parameters()) // experts_of(module)
            return size
    return None


def experts_of(module: nn.Module) -> int:
    """How many experts a module of experts, or a router, has."""
    counts = (getattr(module, name, None) for name in EXPERT_COUNTS)
    stacked = (len(weight) for weight in module.parameters() if weight.ndim == 3)
    return next((count for count in counts if isinstance(count, int)), None) or next(stacked)
