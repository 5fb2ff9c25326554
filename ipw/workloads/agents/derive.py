"""Tables and metrics of a run of agents: its requests as those of a language model, and tools and tasks beside them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ipw.attribution.queries.tables import JOULES, derive_queries, read_finished
from ipw.errors import UsageError
from ipw.metrics.metric import energy_facts
from ipw.metrics.summary import seed_of
from ipw.runs.agent_tables import COSTS, TASKS, TOOLS
from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.workloads.agents.asked import UNNAMED, Asked
from ipw.workloads.agents.babbling import babbled, shown
from ipw.workloads.agents.costs import cost_rows
from ipw.workloads.agents.joules import Drew, beside, each_call, gaps_and_pauses
from ipw.workloads.agents.metrics import task_metrics
from ipw.workloads.agents.structure import Structure, structure
from ipw.workloads.agents.tables import COUNTS, columns_of_queries, table, task_rows, tool_rows, tries
from ipw.workloads.agents.task_scores import read_task_scores


def derive_agent(run: RunDir) -> dict[str, Any]:
    """Write `queries.parquet`, `spans.parquet`, `tasks.parquet`, `tools.parquet` and `costs.parquet`.

    What the devices drew is divided among requests, calls of tools, and pauses of tasks; the rest is idle, or nobody's.
    Returns the metrics of tasks.
    """
    finished = read_finished(run)
    asked, signs = [], []
    for record in counted(run):
        one = Asked.from_record(record)
        asked.append(one)
        signs.append(shown(record, one))
    found = structure(asked)
    query_id = finished.query_id.to_pylist()
    if len(query_id) != len(found.asked):
        raise UsageError(f"{run}: some lines of its journal cannot be read", "was the run copied whole?")
    _name_model(run, found)
    after = babbled(run, finished, signs)
    more = columns_of_queries(found, query_id) | after.columns()
    if not run.manifest().get("turns"):  # nobody said at the time which requests count as questions
        more["final"] = tries(found)
    drew = derive_queries(run, finished, beside(found), more)
    names = (*JOULES, *COUNTS, "decode_energy_j")
    written = run.read_table("queries", names)
    assert written is not None
    numbers = {name: written[name].cast("float64").to_numpy(zero_copy_only=False) for name in names}
    of_gaps, of_pauses = gaps_and_pauses(found, drew)
    of_queries = Drew(*(np.asarray(numbers[name]) for name in JOULES))
    scores = read_task_scores(run)
    late = after.drew(numbers["decode_energy_j"])
    rows = task_rows(found, of_queries, of_gaps, of_pauses, numbers, scores, late)
    run.write_table("tasks", table(rows, TASKS))
    of_calls = each_call(found, of_gaps)
    run.write_table("tools", table(tool_rows(found, of_calls, query_id), TOOLS))
    run.write_table("costs", table(cost_rows(found, of_queries, of_gaps, numbers, rows), COSTS))
    manifest = run.manifest()
    return {"metrics": task_metrics(rows, energy_facts(manifest), seed_of(str(manifest.get("run_id"))))}


def _name_model(run: RunDir, found: Structure) -> None:
    """Give a model that nobody named the name that was asked for most."""
    model = run.manifest().get("model")
    asked = Counter(one.model for one in found.asked if one.model)
    if isinstance(model, dict) and model.get("name") == UNNAMED and asked:
        run.update_manifest(model=model | {"name": asked.most_common(1)[0][0]})
