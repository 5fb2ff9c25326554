"""The CI check: a verdict on two sets of runs."""
