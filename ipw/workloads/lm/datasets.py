"""The data sets of `ipw run lm`, under the name that programs of others import."""

from ipw.workloads.texts.datasets import load

__all__ = ["load"]
