"""`power.bin`: what a sensor's reading is on disk."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

READINGS = "power.bin"

Kind = Literal["counter", "power", "gauge"]
"""`counter`: joules since some moment. `power`: watts now. `gauge`: anything else (temperature, clocks, flags)."""
Status = Literal["ok", "permission", "unsupported", "absent", "lost"]

STATUS_CODES: dict[Status, int] = {"ok": 0, "permission": 1, "unsupported": 2, "absent": 3, "lost": 4}
RECORD = struct.Struct("<qdHHI")
"""One reading on disk: `t_ns`, `value`, channel index, status code, `uncertainty_ns` (half-width, saturating)."""
RECORD_FIELDS = [("t_ns", "<i8"), ("value", "<f8"), ("channel", "<u2"), ("status", "<u2"), ("uncertainty_ns", "<u4")]
"""The same as a numpy structure."""
Readings: TypeAlias = "npt.NDArray[np.void]"
"""As RunDir.readings() gives them; where curves are made of them, all on the run's clock (one_clock.py)."""

ESTIMATE = "model_estimate"
"""The method of joules that were not measured."""


def is_estimate(method: object) -> bool:
    """Whether joules of this method, or of several that are joined by `+`, are estimated: in part is in whole."""
    return isinstance(method, str) and ESTIMATE in method.split("+")
