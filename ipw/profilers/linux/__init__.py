"""Sensors that the Linux kernel shows as files."""
