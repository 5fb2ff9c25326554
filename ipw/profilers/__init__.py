"""Sensors, and the process that reads them."""
