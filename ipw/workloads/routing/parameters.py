"""All that decides what a routing run reads and looks at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

OnlinePolicy = Literal["lru", "lfu", "lfru", "slru", "static", "lru-bounded", "lru+layer", "lru+token"]
"""What a loader can follow. `lru-bounded` computes misses where they lie; `lru+layer` and `lru+token` guess ahead."""

SEGMENT_LENGTHS = (4, 16, 64, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The options of `ipw run routing`."""

    model: str = "moe"
    """The bundled `moe`, a folder, or a name on the Hugging Face hub."""
    corpus: str = "bundled"
    """`bundled`, a data-set or text file, or a folder of such."""
    limit: int | None = None
    """Read at most so many sequences."""
    sequence_length: int = 512
    """Cut texts into sequences of so many tokens."""
    write: int = 0
    """Let the model go on after each sequence for up to so many tokens."""
    seed: int = 0
    warmup: int = 2
    trace: str | None = None
    """Look at this routing, recorded elsewhere, and run no model."""
    num_experts: int | None = None
    """Of each layer, for a trace that does not say it."""
    offload: tuple[OnlinePolicy, ...] = ()
    """Policies under which to run with a part of the experts in fast memory."""

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)
