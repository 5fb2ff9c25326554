"""What the files of a run must look like for the rest of the program to read them without looking twice.

Whoever sends a run may have written anything. Named here is what is computed with or gone through; what is only shown
may be anything, since what shows it makes text of it (printable.py).
"""

from __future__ import annotations

from typing import Any

from ipw.foreign_json import parsed
from ipw.runs.schema import SCHEMA_VERSION
from ipw.shapes import COUNT, MOMENT, Shape, misfit

SCALAR_INTERVAL = {"value?": float, "low?": float, "high?": float}
CHANNEL = {
    "name!": str, "kind?": str, "scope?": str, "method?": str, "device?": str,
    "driver?": str, "unit?": str, "included_in?": str, "shape?": str, "range_j?": float, "max_power_w?": float,
    "resolution_j?": float, "update_period_s?": float, "ticks?": bool, "poll_s?": float, "gain_rel?": float,
    "status?": str, "reason?": str, "hint?": str, "asked?": bool, "note?": str,
    "host?": str, "here?": bool, "clock?": str, "age_periods?": float,
    "index": range(2**16), "in_total?": bool,
}  # fmt: skip
"""As profilers/base.py has it."""
READ_CHANNEL = {"kind": {"counter", "power", "gauge"}}
"""Of one with an `index`, which was read."""
ATTRIBUTION = {
    "window_ns?": [MOMENT], "windows_ns?": [[MOMENT]], "coverage?": float, "mean_power_w?": float,
    "measured_j?": float, "measured_error_j?": [float], "attributed_j?": float, "idle_j?": float,
    "unattributed_j?": float, "idle_power_w?": SCALAR_INTERVAL, "levels?": {}, "rule?": str,
    "costs?": {}, "engine?": {"kind?": str, "sure?": float, "why?": str, "steps?": COUNT, "step_ms?": [float]},
    "flags?": [str], "gain_rel?": float, "method?": str, "channels?": {"*": float},
}  # fmt: skip
PROCESS = {"pid?": int, "created_s?": float, "boot_id?": str}
NEIGHBOUR = {"gpu?": str, "pid?": int, "name?": str}
ANCHORS = [[range(2**63)]]
STRAIN = {
    "wall_s?": float, "cpu_s?": float, "queued_s?": float, "saturated_s?": float, "late_p50_s?": float,
    "late_p99_s?": float, "late_most_s?": float, "asked?": COUNT, "died?": str, "lost?": COUNT,
}  # fmt: skip
PART = {"status?": str, "outage?": {"told?": str}}
MANIFEST: Shape = {
    "schema_version": object, "run_id": str, "label?": str, "status?": str, "status_reason?": str, "started?": str,
    "ended_ns?": MOMENT,
    "workload?": {"kind?": str, "parameters?": {}, "digest?": str, "seal?": str,
                  "slo?": {"*": float}, "series?": {"id?": str, "levels?": [int], "repeat?": int, "channels?": [str]},
                  "together?": {"id?": str, "methods?": [str]}},
    "model?": {"name?": str, "device?": str, "expert_bytes?": COUNT},
    "server?": {"url?": str, "local?": bool, "told_by?": str, "machine?": str, "ended?": str, "processes_unseen?": str},
    "turns?": bool, "tools?": {"names?": [str], "digest?": str},
    "dataset?": {"name?": str, "digest?": str, "questions?": COUNT, "tasks?": COUNT,
                 "questions_digest?": str, "ids_digest?": str,
                 "scorer?": str, "notes?": [str]},
    "sensors_asked?": str, "process?": PROCESS, "basis?": str, "basis_reason?": str, "method?": str,
    "sensors": [CHANNEL],
    "host?": {"name?": str, "cpu?": str, "threads?": COUNT, "memory_bytes?": COUNT, "power_source?": str},
    "software?": {}, "command_line?": str,
    "neighbours?": {"start?": [NEIGHBOUR], "end?": [NEIGHBOUR]}, "anchors": ANCHORS,
    "ranks": {"on_this_host!": range(1, 2**16)}, "progress?": {"finished?": COUNT, "of?": COUNT},
    "sampler?": {"died?": str, "cpu_s?": float, "wall_s?": float, "records?": COUNT,
                 "failures?": [{"channel?": str, "status?": str, "reason?": str}]},
    "recorded?": {"journal?": {"bytes?": COUNT, "sha256?": str}, "readings?": COUNT, "readings_sha256?": str,
                  "files?": {"*": str}},
    "server_metrics": [{"engine!": str, "before!": {"*": float}, "after!": {"*": float}}],
    "server_counts": [{"engine!": str, "told!": {"*": float}, "counted!": {"*": float}, "running_before?": float}],
    "client": [{"processes": [STRAIN], "schedule?": STRAIN}],
    "arrivals?": {"requests?": COUNT, "chunks?": COUNT, "missing?": COUNT, "torn_bytes?": COUNT, "cut_bytes?": COUNT},
    "attribution?": ATTRIBUTION, "attribution_reason?": str,
    "scoring?": {"scorer?": str}, "scoring_reason?": str, "outage?": {"told?": str},
    "resumed": [PART], "merged": [{"run_id?": str, "path?": str}], "mismatched?": bool, "imported": {"from?": str},
    "resonance?": [{}], "exit_code?": int,
}  # fmt: skip

METRIC = {**SCALAR_INTERVAL, "unit?": str, "n?": float, "method?": str, "interval?": str, "reason?": str,
          "gain_rel?": float}  # fmt: skip
CHECK = {"check!": str, "ok!": bool, "detail!": str, "level": str}
METHOD = {"status?": str, "reason?": str, "target_loss?": float, "budget_j?": float, "metrics?": {"*": METRIC}}
OTHER_LOAD = {"cpus?": int, "idle?": float, "window?": float, "own?": float, "share?": float, "most_share?": float,
              "idle_share?": float, "each_w?": float}  # fmt: skip
OTHER_GPU_LOAD = {"idle?": float, "window?": float, "own?": float, "share?": float, "most_share?": float}
SUMMARY: Shape = {
    "schema_version?": int, "run_id!": str, "label?": str, "status?": str,
    "workload?": MANIFEST["workload?"], "model?": MANIFEST["model?"], "basis?": str, "method?": str, "devices?": [str],
    "valid!": bool, "validity!": [CHECK], "other_load?": OTHER_LOAD, "other_gpu_load?": OTHER_GPU_LOAD,
    "metrics!": {"*": METRIC},
    "by_subject?": {"*": {"*": METRIC}}, "by_turn?": {"*": {"*": METRIC}}, "by_method?": {"*": METHOD},
    "questions?": {}, "files?": {"*": str},
}  # fmt: skip

ASKED = {
    "query_id?": str, "subject?": str, "status?": str, "error?": str, "failure?": str, "finish_reason?": str,
    "tokens_source?": str, "usage_doubt?": str, "question?": str, "response?": str,
    "reasoning?": str, "answer?": str,
    "prompt_tokens?": COUNT, "completion_tokens?": COUNT, "cached_tokens?": COUNT, "start_ns?": MOMENT,
    "first_token_ns?": MOMENT, "end_ns?": MOMENT, "concurrency?": COUNT, "logprob_tokens?": COUNT,
    "last_token_ns?": MOMENT, "scheduled_ns?": MOMENT, "http_status?": COUNT, "chunks?": COUNT, "tool_calls?": COUNT,
    "score?": float, "logprob_sum?": float, "parsed?": bool, "itl_us?": [COUNT], "itl_counts?": [COUNT],
    "arrivals?": COUNT, "timings?": {"*": float}, "task?": str,
    "conversation?": COUNT, "turn?": COUNT, "graded?": bool, "final?": bool, "attempt?": COUNT, "question_id?": str,
    "forwards?": COUNT, "positions?": COUNT, "committed?": [COUNT], "computed?": [COUNT], "agrees?": bool,
}  # fmt: skip
LINES: dict[str, Shape] = {
    "span": {"name?": str, "phase!": str, "start_ns!": MOMENT, "end_ns!": MOMENT, "status?": str, "error?": str,
             "rank?": COUNT, "thread?": int},
    "query": ASKED, "warmup": ASKED, "retry": ASKED, "cut_off": ASKED, "probe": ASKED,
    "step": {"method": str, "step": COUNT, "rank?": COUNT, "start_ns": MOMENT, "end_ns": MOMENT, "loss?": float,
             "samples?": COUNT, "tokens?": COUNT, "phases": [str], "edges_ns": [MOMENT], "data_ns": [MOMENT],
             "status?": str,
             "peak_device_memory_bytes?": COUNT, "peak_host_memory_bytes?": COUNT, "host_memory_before_bytes?": COUNT},
    "loss": {"method": str, "step": COUNT, "rank?": COUNT, "loss?": float},
    "evaluation": {"method": str, "step": COUNT, "loss?": float},
    "method": {"method": str, "status?": str, "reason?": str, "jitter?": object},
    "example": {"pieces?": [str]},
    "offload": {"policy?": str, "cache_size!": COUNT, "expert_bytes!": COUNT, "decode_ns!": [[MOMENT]],
                "decoded_tokens!": COUNT, "same_output?": bool, "accesses!": COUNT, "hits!": COUNT, "loads?": COUNT,
                "loaded_bytes!": COUNT},
    "rank": {"rank!": COUNT, "devices!": [str], "ended!": bool},
    "agreement": {"query_id!": str, "agrees!": bool},
}  # fmt: skip
"""Of a journal, by kind. A line that does not fit is none: it is left out, and the record's check tells of it."""


IN_ORDER = {*LINES} - {"loss", "evaluation", "method", "example", "rank", "agreement"}
"""Kinds with moments, which must follow one another."""


def _in_order(record: dict[str, Any]) -> bool:
    """Whether the moments of a line follow one another."""
    moments = [record[name] for name in ("start_ns", "first_token_ns", "end_ns") if record.get(name) is not None]
    pairs, edges = record.get("decode_ns", []), record.get("edges_ns", [])
    intervals = all(len(pair) == 2 and pair[0] <= pair[1] for pair in pairs)
    return intervals and moments == sorted(moments) and edges == sorted(edges)


def manifest_fault(manifest: Any) -> str | None:
    """Say what of a manifest cannot be, `None` where all can. Of a newer version nothing is known."""
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if type(version) is int and version > SCHEMA_VERSION:
        return None
    if fault := misfit(manifest, MANIFEST):
        return fault
    for place, anchor in enumerate(manifest.get("anchors", ())):
        if len(anchor) != 2:  # by the monotonic and by the wall clock
            return f"anchors[{place}] has {len(anchor)} moments, not 2"
    for place, channel in enumerate(manifest.get("sensors", ())):
        if "index" in channel and (fault := misfit(channel, READ_CHANNEL, f"sensors[{place}]")):
            return fault
    return None


def record_of(line: bytes) -> dict[str, Any] | None:
    """Read a line of a journal; `None` where it is not whole, or not what a line of its kind is."""
    try:
        record = parsed(line)
    except ValueError:
        return None
    kind = record.get("kind") if isinstance(record, dict) else None
    if not isinstance(kind, str) or (kind in LINES and misfit(record, LINES[kind])):
        return None
    if kind in IN_ORDER and not _in_order(record):
        return None
    found: dict[str, Any] = record
    return found
