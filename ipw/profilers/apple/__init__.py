"""Sensors of Apple silicon."""
