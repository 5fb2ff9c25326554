"""All that decides what a training run trains, how, and for how long."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

METHODS = ("backprop", "checkpointing", "lora", "local", "momentum-local", "zeroth-order")
OPTIMIZERS = ("adamw", "sgd")
LEARNING_RATES = {"adamw": 2e-3, "sgd": 5e-2}
ZEROTH_ORDER_RATE = 1e-3
"""Where --lr is not given."""
AUXILIARY_DEPTHS = {"local": 2, "momentum-local": 0}
"""Where --auxiliary-depth is not given."""
CLASSIFIERS = ("tied", "own")
TIED = CLASSIFIERS[0]
EACH_LAYER = "layers"
"""What --blocks takes for one block a layer."""
DEFAULT_STEPS = 100
MOST_STEPS = 1_000_000
"""Where a target or a budget ends the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The options of `ipw run train`."""

    model: str = "text"
    """`text`, `image` or `resnet-N`, made here; a folder or hub name of a causal language model, or the bundled `moe`;
    or `module:function`, which returns a model, its batches and its loss function."""
    methods: tuple[str, ...] = METHODS[:1]
    steps: int | None = None
    """At most so many of each method."""
    target_loss: float | None = None
    """Stop a method when its smoothed training loss is as low as this."""
    budget_j: float | None = None
    """Stop a method when so many joules were drawn since its first step."""
    batch_size: int = 16
    accumulate: int = 1
    """Compute the gradient of each batch in so many pieces."""
    sequence_length: int = 96
    """Tokens of each sample of text."""
    learning_rate: float | None = None
    warmup: int = 3
    """Steps before measuring, on weights that are thrown away."""
    evaluations: int = 2
    """Batches of held-out data, before the first and after the last step."""
    amp: bool = False
    """Compute in bfloat16 where that is safe; weights stay as they are."""
    device: str = "auto"
    seed: int = 0
    """Of the weights, of made data, and of the order of the data."""
    data: str = "bundled"
    """Text to read: `bundled`, a text or data-set file, or a folder."""
    optimizer: str = "adamw"
    """Of the methods with gradients: one of OPTIMIZERS."""
    blocks: int | str | None = None
    """Gradient-isolated blocks of the local methods: so many of one size, or `layers` for one each. By default each
    layer is one, but the last is as deep as the others are with their auxiliary networks."""
    auxiliary_depth: int | None = None
    """Layers of the deepest auxiliary network of the local methods; 0 is a classifier alone."""
    classifier: str = TIED
    """Of the heads of language models: `tied` to the model's own unembedding, or each its `own`."""
    pyramid: bool = True
    """Auxiliary networks get shallower towards the end."""
    ema_momentum: float = 0.995
    """μ of momentum-local: how much of the average is left after a step."""
    peers: int = 1
    """Processes that train together by zeroth order."""
    join_at: int | None = None
    """The last of them comes after so many steps, and first makes the weights of these from their bytes."""
    directions: int = 1
    """Directions that each process looks along in a step of zeroth order, each on its part of the batch."""
    lora_rank: int = 8

    def as_dict(self) -> dict[str, Any]:
        """For the manifest and for the process that trains."""
        return asdict(self)

    def most_steps(self) -> int:
        """Steps after which a method ends in any case."""
        if self.steps is not None:
            return self.steps
        return DEFAULT_STEPS if self.target_loss is None and self.budget_j is None else MOST_STEPS

    def comes_late(self, rank: int) -> bool:
        """Tell whether a peer joins while the others train."""
        return self.join_at is not None and rank == self.peers - 1

    def learning_rate_of(self, method: str) -> float:
        """Give the learning rate, as told or by default."""
        default = ZEROTH_ORDER_RATE if method == "zeroth-order" else LEARNING_RATES[self.optimizer]
        return default if self.learning_rate is None else self.learning_rate

    def auxiliary_depth_of(self, method: str) -> int:
        """Give the auxiliary depth of a local method, as told or by default."""
        return AUXILIARY_DEPTHS[method] if self.auxiliary_depth is None else self.auxiliary_depth


def from_dict(stored: dict[str, Any]) -> Parameters:
    """Undo `as_dict`, also after JSON."""
    return Parameters(**stored | {"methods": tuple(stored["methods"])})
