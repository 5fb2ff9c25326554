"""Peak rates of accelerators, from their makers' data sheets."""

from __future__ import annotations

import re
from typing import NamedTuple


class Peak(NamedTuple):
    """Of one device; what its data sheet does not say is `None`."""

    flops_per_s: float | None
    """Dense 16-bit matrix products (BF16 or FP16, accumulated in 32 bits), without sparsity."""
    bytes_per_s: float | None
    """Between its memory and its cores."""
    source: str


def _nvidia(name: str) -> str:
    return f"NVIDIA {name} data sheet"


PEAKS: tuple[tuple[str, Peak], ...] = (
    (r"\bB200\b", Peak(2250e12, 8.0e12, _nvidia("DGX B200"))),
    (r"\bH200\b", Peak(989.4e12, 4.8e12, _nvidia("H200"))),
    (r"\bGH200\b(?!.*\b144)", Peak(989.4e12, 4.0e12, _nvidia("GH200 (HBM3)"))),
    (r"\bH100 PCIe\b", Peak(756e12, 2.0e12, _nvidia("H100"))),
    (r"\bH100\b.*\bHBM3\b|\bH100 SXM", Peak(989.4e12, 3.35e12, _nvidia("H100"))),
    (r"\bA100\b.*\b40GB\b", Peak(312e12, 1.555e12, _nvidia("A100"))),
    (r"\bA100\b.*SXM.*\b80GB\b", Peak(312e12, 2.039e12, _nvidia("A100"))),
    (r"\bA100\b.*PCIe.*\b80GB\b|\bA100 80GB PCIe\b", Peak(312e12, 1.935e12, _nvidia("A100"))),
    (r"\bL40S\b", Peak(362.05e12, 0.864e12, _nvidia("L40S"))),
    (r"\bL4\b", Peak(121e12, 0.3e12, _nvidia("L4"))),
    (r"\bMI300X\b", Peak(1307.4e12, 5.3e12, "AMD Instinct MI300X data sheet")),
    (r"\bM4 Max\b", Peak(None, 0.546e12, "Apple M4 Max technical specifications (40-core GPU)")),
)
"""By a pattern of the name that the driver gives; the first that fits."""


def peak_of(device: str) -> Peak | None:
    """Peak rates of a device by its name, where they are known."""
    return next((peak for pattern, peak in PEAKS if re.search(pattern, device, re.IGNORECASE)), None)
