"""What `llama-bench -o json` (or jsonl) prints: tokens per second of each test, and no energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ipw.errors import UsageError
from ipw.foreign_text import json_values
from ipw.interchange.imported import OF_MODELS, Imported, amount, metrics_of, word
from ipw.metrics.definitions import Definition
from ipw.metrics.metric import Metric, mapping
from ipw.shapes import finite

SOURCE = "llama-bench"
NEEDED = frozenset({"model_filename", "model_type", "n_prompt", "n_gen", "avg_ns", "avg_ts"})
SETTINGS = ("n_threads", "n_gpu_layers", "n_batch", "n_ubatch", "type_k", "type_v", "flash_attn", "backends")
CAVEAT = "it times bursts of made-up tokens, without tokenisation, sampling or a server, and measures no energy"


def read_llama_bench(text: str, name: str) -> list[Imported] | None:
    """Read every test of a file, `None` where it holds something else. Raises UsageError for a damaged one."""
    if not all(f'"{key}"' in text for key in NEEDED):
        return None
    try:
        rows = [row for row in _rows(text) if isinstance(row, dict) and set(row) >= NEEDED]
    except (ValueError, RecursionError):
        raise UsageError(f"{name} holds JSON that breaks off or is damaged", "was the file copied whole?") from None
    return [_run(row, f"{name}, test {count}: ") for count, row in enumerate(rows, start=1)]


def _rows(text: str) -> Iterator[Any]:
    """Yield what stands in JSON lists, or in lines; its own log lines may stand around them."""
    for value in json_values(text):
        yield from value if isinstance(value, list) else [value]


def _run(row: Mapping[str, Any], where: str) -> Imported:
    told = {key: amount(row[key], where + key) or 0.0 for key in ("n_prompt", "n_gen", "avg_ns", "avg_ts")}
    depth = int(amount(row.get("n_depth"), f"{where}n_depth") or 0)
    prompt, output = int(told["n_prompt"]), int(told["n_gen"])
    test = "+".join([f"pp{prompt}"] * bool(prompt) + [f"tg{output}"] * bool(output)) + (f"@d{depth}" if depth else "")
    if not test or not told["avg_ns"]:
        raise UsageError(f"{where}no token was timed", "was the file copied whole?")
    times_ns = row.get("samples_ns")
    times_ns = times_ns if isinstance(times_ns, list) and times_ns else None
    spent = [amount(t, f"{where}samples_ns") for t in times_ns or []]
    n = len(spent) or None
    values = {"duration_s": sum(t or 0.0 for t in spent) / 1e9 if spent else None}
    if output:  # of a mixed test, avg_ts counts the prompt's tokens too
        values["output_tokens_per_s"] = output * 1e9 / told["avg_ns"] if prompt else told["avg_ts"]
    metrics = metrics_of(OF_MODELS, values, _why, n=n)
    if prompt and not output:
        metrics["prompt_tokens_per_s"] = _prompt_rate(told["avg_ts"], n)
    model = f"{word(row['model_type']) or word(row['model_filename']) or 'model'} {test}"
    settings = {
        key: row[key] for key in SETTINGS if isinstance(row.get(key), str | bool) or finite(row.get(key)) is not None
    }
    commit, build = word(row.get("build_commit")), row.get("build_number")
    return Imported(
        source=SOURCE,
        version=" ".join(str(x) for x in (build, commit) if x) or None,
        kind="lm",
        name=model,
        metrics=metrics,
        caveat=CAVEAT,
        started=word(row.get("test_time")),
        model={
            "name": model,
            "file": word(row["model_filename"]),
            "parameters": int(amount(row.get("model_n_params"), f"{where}model_n_params") or 0) or None,
            "bytes": int(amount(row.get("model_size"), f"{where}model_size") or 0) or None,
        },
        parameters={"dataset": "made-up tokens", "test": test, **settings},
        host={"cpu": word(row.get("cpu_info")), "gpu": word(row.get("gpu_info"))},
        told=mapping(dict(row)),
    )


def _prompt_rate(value: float, n: int | None) -> Metric:
    return {"value": value, "low": None, "high": None, "unit": "1/s", "n": n, "method": "imported", "interval": None,
            "reason": None}  # fmt: skip


def _why(definition: Definition) -> str:
    if definition.is_energy:
        return "llama-bench does not measure energy"
    if definition.numerator in {"score", "right"}:
        return "llama-bench asks no questions: nothing is right or wrong"
    if definition.name == "output_tokens_per_s":
        return "this test writes no tokens"
    if definition.name == "duration_s":
        return "the file holds no samples_ns"
    return "llama-bench times tests, not requests"
