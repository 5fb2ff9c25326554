"""Which metrics stand in the columns of a table, by workload."""

from __future__ import annotations

from ipw.registry import load, workload

Columns = tuple[tuple[str, str], ...]

LM = (
    ("accuracy", "Accuracy"),
    ("accuracy_per_watt", "IPW"),
    ("accuracy_per_joule", "IPJ"),
    ("energy_per_query_j", "Query"),
    ("energy_per_output_token_j", "Token"),
    ("mean_power_w", "Power"),
    ("latency_p50_s", "Latency"),
    ("output_tokens_per_s", "Output"),
)
DIFFUSION = (
    ("accuracy", "Accuracy"),
    ("accuracy_per_joule", "IPJ"),
    ("energy_per_query_j", "Answer"),
    ("energy_per_correct_j", "Right"),
    ("energy_per_committed_token_j", "Token"),
    ("forwards_per_answer", "Work"),
    ("computed_share", "Computed"),
    ("latency_p50_s", "Latency"),
)
WINDOW = (
    ("energy_j", "Energy"),
    ("net_energy_j", "Above idle"),
    ("mean_power_w", "Power"),
    ("idle_power_w", "Idle"),
    ("duration_s", "Time"),
)


def columns_of(kind: object) -> Columns:
    """Metric and heading of each column; of a workload that names none, those of any measured window."""
    entry = workload(kind)
    found: Columns = load(entry.columns) if entry and entry.columns else WINDOW
    return found
