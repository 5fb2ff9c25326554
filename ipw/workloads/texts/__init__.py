"""Questions, data sets and texts that workloads read."""
