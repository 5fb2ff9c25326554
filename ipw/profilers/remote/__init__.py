"""Sensors of other machines: served by ipw there, or by exporters that are there already."""
