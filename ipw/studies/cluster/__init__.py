"""Cells of a study on the nodes of a Ray cluster: one cell a node, its sensors and its clock, the run brought back."""
