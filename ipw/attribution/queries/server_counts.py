"""What the server counted while a run asked it, beside what the run itself counted: for a check, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.attribution.queries.phases import MISSING, Timing
from ipw.runs.directory import RunDir

COUNTERS = (
    "prompt_tokens", "computed_prompt_tokens", "cached_tokens", "generated_tokens", "steps", "draft_tokens",
    "accepted_tokens",
)  # fmt: skip


def server_counts(run: RunDir, asked: Timing) -> list[dict[str, Any]]:
    """For each part of the run what both counted; of requests without a count of tokens only how many they are."""
    found = []
    for part in run.manifest().get("server_metrics") or []:
        before, after = part["before"], part["after"]
        told = {name: after[name] - before[name] for name in COUNTERS if name in before and name in after}
        since, until = before.get("t_ns", 0), after.get("t_ns", 0)
        mine = (asked.start_ns >= since) & (asked.start_ns < until)
        counted = _counted(Timing(*(column[mine] for column in asked)))
        for again in run.journal("retry"):
            if since <= (again.get("start_ns") or 0) < until:
                for name, value in _counted(_timing(again)).items():
                    counted[name] += value
        found.append({"engine": part["engine"], "told": told, "counted": counted})
        if "running" in before:
            found[-1]["running_before"] = before["running"]
    return found


def _counted(asked: Timing) -> dict[str, int]:
    cached = np.maximum(asked.cached_tokens, 0)
    prompt, generated = asked.prompt_tokens, asked.completion_tokens
    return {
        "requests": int(asked.start_ns.size),
        "uncounted": int(((prompt == MISSING) | (generated == MISSING)).sum()),
        "prompt_tokens": int(np.maximum(prompt, 0).sum()),
        "computed_prompt_tokens": int(np.maximum(prompt - cached, 0).sum()),
        "cached_tokens": int(cached.sum()),
        "generated_tokens": int(np.maximum(generated, 0).sum()),
    }


def _timing(record: Mapping[str, Any]) -> Timing:
    return Timing(*(np.array([MISSING if (x := record.get(name)) is None else x]) for name in Timing._fields))
