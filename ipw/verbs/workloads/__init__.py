"""Verbs of `ipw run`: one a workload."""
