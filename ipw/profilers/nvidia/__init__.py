"""Sensors of NVIDIA GPUs."""
