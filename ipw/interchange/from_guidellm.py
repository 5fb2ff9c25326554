"""What GuideLLM leaves: `benchmarks.json`, with a benchmark for each load that it tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipw.interchange.documents import Document, first_text, moment, setting, within
from ipw.interchange.imported import Imported, amount, word
from ipw.interchange.load_test import QUANTILES, LoadTest, as_run

SOURCE = "guidellm"
CAVEAT = "it leaves out warm-up and cool-down, and requests that were under way at its end count as neither"
SECONDS = {"latency": ("request_latency", 1.0), "ttft": ("time_to_first_token_ms", 1e-3)}
ITL = "GuideLLM tells a mean a request, not of all gaps between chunks"
NEEDED = {"request_latency", "request_totals"}


def read_guidellm(found: Sequence[Document], name: str) -> list[Imported] | None:
    """Read every benchmark of a report; `None` where it is another's. Raises UsageError for what cannot be."""
    runs = []
    for report in found:
        benchmarks = report.get("benchmarks")
        for count, each in enumerate(benchmarks if isinstance(benchmarks, list) else [], start=1):
            if set(within(each, "metrics")) >= NEEDED:
                runs.append(_run(report, each, f"{name}, benchmark {count}: "))
    return runs or None


def _run(report: Document, benchmark: Document, where: str) -> Imported:
    metrics = within(benchmark, "metrics")

    def of(metric: str, *path: str) -> float | None:
        return amount(within(metrics, metric, "successful", *path[:-1]).get(path[-1]), where + metric)

    def total(status: str) -> int | None:
        told = amount(within(metrics, "request_totals").get(status), f"{where}request_totals.{status}")
        return None if told is None else int(told)

    seconds: dict[str, float | None] = {}
    for ours, (theirs, factor) in SECONDS.items():
        for q in QUANTILES:
            told = of(theirs, "percentiles", f"p{q}")
            answered = of(theirs, "count") or 0
            seconds[f"{ours}_p{q}_s"] = factor * told if told is not None and answered else None
    start, end = (_moment(benchmark, edge, where) for edge in ("start", "end"))
    strategy = within(benchmark, "config", "strategy") or within(benchmark, "args", "strategy")
    streams, rate = setting(strategy, "streams", "max_concurrency"), setting(strategy, "rate")
    parameters: dict[str, Any] = {"load": word(strategy.get("type_")), "concurrency": streams, "rate": rate}
    goodput = of("request_goodput", "mean") if within(metrics, "request_goodput") else None
    test = LoadTest(
        source=SOURCE,
        version=word(within(report, "metadata").get("guidellm_version")),
        model=first_text([within(report, "config", "backend"), report.get("args"), benchmark], "model", "backend_model")
        or "model",
        answered=total("successful"),
        failed=total("errored"),
        failed_because=_error(benchmark),
        duration_s=end - start if start is not None and end is not None and end > start else None,
        prompt_tokens=of("prompt_token_count", "total_sum"),
        output_tokens=of("output_token_count", "total_sum"),
        seconds=seconds,
        goodput_per_s=goodput,
        reasons={"itl_": ITL},
        parameters={key: value for key, value in parameters.items() if value is not None},
        started=moment(start),
        told={"request_totals": dict(within(metrics, "request_totals")), "strategy": dict(strategy)},
    )
    return as_run(test, CAVEAT)


def _moment(benchmark: Document, edge: str, where: str) -> float | None:
    """Seconds since 1970 at which its measuring began or ended."""
    scheduler = within(benchmark, "scheduler_metrics")
    told = scheduler.get(f"measure_{edge}_time", benchmark.get(f"{edge}_time"))
    return amount(told, f"{where}{edge}_time")


def _error(benchmark: Document) -> str | None:
    """Why a request failed, of the requests that the report kept."""
    errored = within(benchmark, "requests").get("errored")
    told = [within(each, "info").get("error") or each.get("error") for each in errored if isinstance(each, dict)] \
        if isinstance(errored, list) else []  # fmt: skip
    return next((word(each) for each in told if word(each)), None)
