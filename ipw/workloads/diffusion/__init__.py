"""Decoding of masked diffusion language models: samplers, caches, and what their steps cost."""

from ipw.workloads.diffusion.decoding import decode
from ipw.workloads.diffusion.selection import select
from ipw.workloads.diffusion.subject import load

__all__ = ["decode", "load", "select"]
