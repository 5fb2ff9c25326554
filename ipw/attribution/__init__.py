"""From curves and spans to joules: what the derivation of every workload shares."""
