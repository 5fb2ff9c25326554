"""Joules of what an engine computes in steps."""
