"""Residual networks for small images, as for CIFAR: three stages of basic blocks (He et al. 2015, section 4.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, STAGES, BLOCKS_PER_STAGE = 16, 3, 2


class Residual(nn.Module):
    """Two convolutions beside a shortcut; halves the image where the width grows."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        stride = 2 if width > width_in else 1
        self.width = width
        self.first = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if width == width_in else nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """`[samples, width, height, width]` in and out."""
        hidden = functional.relu(self.first_norm(self.first(image)))
        return functional.relu(self.second_norm(self.second(hidden)) + self.shortcut(image))


class Pooled(nn.Sequential):
    """Average over the image and classify."""

    def __init__(self, width: int, classes: int, *, normalise: bool = False) -> None:
        norm = [nn.BatchNorm2d(width)] if normalise else []
        super().__init__(*norm, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class ResNet(nn.Module):
    """Stem, residual blocks, classifier."""

    def __init__(self, classes: int, width: int = WIDTH, blocks_per_stage: int = BLOCKS_PER_STAGE) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = [width, *(width * 2**stage for stage in range(STAGES) for _ in range(blocks_per_stage))]
        self.layers = nn.ModuleList(Residual(before, here) for before, here in pairwise(widths))
        self.head = Pooled(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[samples, classes]` of images `[samples, 3, height, width]`."""
        hidden = self.stem(images)
        for layer in self.layers:
            hidden = layer(hidden)
        return torch.as_tensor(self.head(hidden))


def blocks_per_stage(name: str) -> int | None:
    """Read the name of a model: `image`, or `resnet-N` for one of N = 6 n + 2 layers; `None` for others."""
    named = re.fullmatch(r"resnet-?(\d+)", name)
    stage, rest = divmod(int(named[1]) - 2, STAGES * 2) if named else (0, 0)
    return BLOCKS_PER_STAGE if name == "image" else stage if stage > 0 and not rest else None


def auxiliary(model: ResNet, classes: int, after: int, sampled: Sequence[int]) -> nn.Module:
    """Fresh blocks of the sampled blocks' widths behind block `after`, and a classifier (AugLocal, section 3).

    With at most one block the classifier normalises first; the paper's code does so after the mean over the image.
    """
    widths = [_width(model, i) for i in (after, *sampled)]
    blocks = [Residual(before, here) for before, here in pairwise(widths)]
    return nn.Sequential(*blocks, Pooled(widths[-1], classes, normalise=len(sampled) <= 1))


def _width(model: ResNet, layer: int) -> int:
    width = model.layers[layer].width
    assert isinstance(width, int)
    return width
