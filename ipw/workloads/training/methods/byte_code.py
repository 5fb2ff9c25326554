"""A slope in one byte: its sign and the logarithm of its size. "Just One Byte", arXiv 2306.10015.

One bit of sign and seven of magnitude m: 0 stands for nothing, m = 1 … 127 for exp((m - 64) / 8), which is 3.8e-4 to
2.6e3. Inside this range a decoded value is wrong by a factor of at most exp(1/16), 6.4 %; beyond it, it is held at the
range's end, or nothing. The paper's code goes from 3.6e-4 to 2.8e3 in steps of exp(1/16): with a sign, nine bits.
"""

from __future__ import annotations

import math

STEPS = 8
OFFSET = 64
MOST = 127
SMALLEST, LARGEST = math.exp((1 - OFFSET) / STEPS), math.exp((MOST - OFFSET) / STEPS)
RELATIVE_ERROR = math.exp(0.5 / STEPS) - 1
"""Bound between SMALLEST and LARGEST."""
DIVERGED = 128
"""A negative nothing, which no number needs, tells that there is no finite slope; it decodes as 0."""


def encode(slope: float) -> int:
    """Give the byte of a finite number, 0 to 255."""
    if slope == 0:
        return 0
    magnitude = math.floor(STEPS * math.log(abs(slope)) + OFFSET + 0.5)
    magnitude = min(max(magnitude, 0), MOST)
    return magnitude | (128 if slope < 0 and magnitude else 0)


def decode(byte: int) -> float:
    """Give the number that a byte stands for."""
    magnitude = byte & 127
    size = math.exp((magnitude - OFFSET) / STEPS) if magnitude else 0.0
    return -size if byte & 128 else size


def clipped(slope: float) -> bool:
    """Tell whether a finite slope lies beyond the range, so that its byte is further off than RELATIVE_ERROR."""
    return slope != 0 and abs(decode(encode(slope)) / slope - 1) > RELATIVE_ERROR * (1 + 1e-9)
