"""A static site of many runs: an index that ranks and filters, a page a run, and the figures as data."""
