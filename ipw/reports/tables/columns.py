"""Which metrics stand in the columns of a table, by workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ipw.registry import load, workload
from ipw.runs.recorded import part_of

Columns = tuple[tuple[str, str], ...]
EITHER = (("tokens_per_s", "samples_per_s"),)
"""Metrics of which one column is enough."""

LM = (
    ("accuracy", "Accuracy"),
    ("accuracy_per_watt", "IPW"),
    ("accuracy_per_joule", "IPJ"),
    ("energy_per_query_j", "Query"),
    ("mean_query_power_w", "Query"),
    ("energy_per_output_token_j", "Token"),
    ("mean_power_w", "Power"),
    ("latency_p50_s", "Latency"),
    ("output_tokens_per_s", "Output"),
)
"""IPW is accuracy / power of a query, IPJ accuracy / energy of a query: both denominators stand in the row."""
DIFFUSION = (
    ("accuracy", "Accuracy"),
    ("agreement", "Agree"),
    ("accuracy_per_joule", "IPJ"),
    ("energy_per_query_j", "Answer"),
    ("energy_per_correct_j", "Right"),
    ("energy_per_committed_token_j", "Token"),
    ("forwards_per_answer", "Passes"),
    ("computed_share", "Computed"),
    ("latency_p50_s", "Latency"),
)
ROUTING = (
    ("segment_routing_best_performance", "SRP"),
    ("segment_cache_best_hit_rate_corrected", "SCH"),
    ("lru_hit_rate_corrected", "LRU hits"),
    ("cache_knee_experts", "Cache"),
    ("cache_knee_bytes", "Memory"),
    ("energy_per_token_j", "Token"),
    ("energy_j", "Energy"),
    ("duration_s", "Time"),
)
TRAIN = (
    ("energy_per_step_j", "Step"),
    ("step_time_s", "Step time"),
    ("tokens_per_s", "Tokens"),
    ("samples_per_s", "Samples"),
    ("training_memory_bytes", "Memory"),
    ("final_loss", "Held-out"),
    ("energy_to_target_loss_j", "To loss"),
)
AGENT = (
    ("tasks", "Tasks"),
    ("task_accuracy", "Solved"),
    ("energy_per_task_j", "Task"),
    ("energy_per_solved_task_j", "Solved task"),
    ("turns_per_task", "Turns"),
    ("tool_energy_share", "Tools"),
    ("energy_per_turn_j", "Turn"),
    ("energy_per_output_token_j", "Token"),
    ("mean_power_w", "Power"),
    ("task_s", "Time"),
)
WINDOW = (
    ("energy_j", "Energy"),
    ("net_energy_j", "Above idle"),
    ("mean_power_w", "Power"),
    ("idle_power_w", "Idle"),
    ("duration_s", "Time"),
)


def columns_of(kind: object, rows: Sequence[Mapping[str, object]]) -> Columns:
    """Metric and heading of each column, given the metrics of the rows.

    Of a workload that names none, or whose rows have none of them, those of any measured window. Of rates that exclude
    one another (`EITHER`) the first that is known stands.
    """
    entry = workload(kind)
    found: Columns = load(entry.columns) if entry and entry.columns else WINDOW
    if not any(name in metrics for metrics in rows for name, _ in found):
        return WINDOW
    known = {name for metrics in rows for name in metrics if part_of(metrics, name).get("value") is not None}
    left_out = {other for names in EITHER for other in names if other != next(filter(known.__contains__, names), None)}
    return tuple(column for column in found if column[0] not in left_out)
