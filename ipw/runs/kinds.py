"""What kinds of workload have in common, where the rest of the program must know it."""

from __future__ import annotations

ANSWERING = frozenset({"lm", "diffusion"})
"""Workloads that ask questions, whose answers are scored."""


def answers_questions(kind: object) -> bool:
    """Whether a workload's runs hold questions with answers."""
    return kind in ANSWERING
