"""Servers of language models: ours, and those that users start."""
