"""Columns of the tables that runs of agents have, with their types in Arrow."""

from __future__ import annotations

TEXT, WHOLE, REAL, TRUTH = "string", "int64", "double", "bool"
OF_QUERIES = {
    "task": TEXT, "conversation": WHOLE, "turn": WHOLE, "tool": TEXT, "role": TEXT, "model": TEXT, "api": TEXT,
    "continues": TEXT, "retries": TEXT,
}  # fmt: skip
"""What `queries.parquet` has beside its columns of where a request stands."""
TASKS = {
    "task": TEXT, "conversations": WHOLE, "turns": WHOLE, "forks": WHOLE, "requests": WHOLE, "failed": WHOLE,
    "tool_calls": WHOLE, "calls_measured": WHOLE, "start_ns": WHOLE, "end_ns": WHOLE,
    "energy_j": REAL, "energy_low_j": REAL, "energy_high_j": REAL, "net_energy_j": REAL,
    "turn_energy_j": REAL, "tool_energy_j": REAL, "pause_energy_j": REAL, "failed_energy_j": REAL,
    "repeated_tool_energy_j": REAL, "babbling_energy_j": REAL, "ended_energy_j": REAL, "tool_s": REAL,
    "prompt_tokens": WHOLE, "cached_tokens": WHOLE, "completion_tokens": WHOLE, "tokens": WHOLE,
    "resent_tokens": WHOLE, "first_prompt_tokens": WHOLE, "most_prompt_tokens": WHOLE,
    "named": TRUTH, "alike": TEXT, "opens": TEXT, "score": REAL,
}  # fmt: skip
TOOLS = {
    "task": TEXT, "conversation": WHOLE, "turn": WHOLE, "query_id": TEXT, "tool": TEXT, "call_id": TEXT,
    "start_ns": WHOLE, "end_ns": WHOLE, "at_once": WHOLE, "repeated": TRUTH, "failed": TRUTH,
    "energy_j": REAL, "energy_low_j": REAL, "energy_high_j": REAL, "net_energy_j": REAL,
}  # fmt: skip
COSTS = {
    "by": TEXT, "name": TEXT, "count": WHOLE, "measured": WHOLE, "seconds": REAL,
    "energy_j": REAL, "energy_low_j": REAL, "energy_high_j": REAL, "net_energy_j": REAL,
    "prompt_tokens": WHOLE, "cached_tokens": WHOLE, "completion_tokens": WHOLE,
}  # fmt: skip
