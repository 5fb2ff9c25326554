"""Routing of any length, layer by layer on disk, from whoever recorded it."""
