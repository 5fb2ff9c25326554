"""The model behind an estimate: what a CPU is said to draw by how many of its logical CPUs are busy."""

from __future__ import annotations

BASE_W = 10.0
"""What the package is said to draw when nothing runs."""
WATTS_PER_CPU = 4.0
"""What each busy logical CPU adds."""
