"""Sensors on, spans marked, sensors off."""
