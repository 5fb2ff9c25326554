"""What `vllm bench serve --save-result` leaves; with `--append-result`, a result a line. SGLang's is much the same."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ipw.interchange.documents import Document, first_text, setting
from ipw.interchange.imported import Imported, amount, word
from ipw.interchange.load_test import QUANTILES, LoadTest, as_run, quantiles_of

SOURCE, SGLANG = "vllm-bench", "sglang-bench"
CAVEAT = "its throughput counts the answered requests, and its first request is sent before the clock starts"
NEEDED = {"duration", "completed", "request_throughput", "total_output_tokens"}
SECONDS = {
    "ttft": (("ttft",), "ttfts"),
    "itl": (("itl",), "itls"),
    "latency": (("e2el", "e2e_latency"), "latencies"),
}
"""Our name, the names of vLLM and SGLang, and the list of what each request took, in seconds."""
NOT_ASKED = "vllm bench serve tells those of --percentile-metrics and --metric-percentiles; all with --save-detailed"


def read_vllm_bench(found: Sequence[Document], name: str) -> list[Imported] | None:
    """Read every result; `None` where it is another's. Raises UsageError for what cannot be."""
    runs = [_run(each, f"{name}, result {count}: ") for count, each in enumerate(found, 1) if set(each) >= NEEDED]
    return runs or None


def _run(result: Document, where: str) -> Imported:
    def of(key: str) -> float | None:
        return amount(result.get(key), where + key)

    answered, planned, failed = of("completed"), of("num_prompts"), of("failed")
    errors = result.get("errors")
    planned = float(len(errors)) if planned is None and isinstance(errors, list) else planned
    if failed is None and planned is not None and answered is not None:
        failed = max(planned - answered, 0)
    messages = Counter(each for each in errors if word(each)) if isinstance(errors, list) else Counter[str]()
    parameters: dict[str, Any] = {
        "concurrency": setting(result, "max_concurrency"),
        "rate": setting(result, "request_rate"),
        "label": word(result.get("label")),
    }
    source = SOURCE if "model_id" in result else SGLANG
    named = first_text(result, "model_id", "served_model_name", "model_path", "model") or word(result.get("tag"))
    test = LoadTest(
        source=source,
        version=None,
        model=named or f"model of {source}",
        answered=None if answered is None else int(answered),
        failed=None if failed is None else int(failed),
        failed_because=messages.most_common(1)[0][0].splitlines()[-1] if messages else None,
        duration_s=of("duration"),
        prompt_tokens=of("total_input_tokens"),
        output_tokens=of("total_output_tokens"),
        seconds={name: value for each in SECONDS for name, value in _quantiles(result, each, where).items()},
        goodput_per_s=of("request_goodput"),
        reasons={"itl_": NOT_ASKED, "latency_": NOT_ASKED, "ttft_": NOT_ASKED},
        parameters={key: value for key, value in parameters.items() if value is not None},
        started=_moment(result.get("date")),
        told={key: result[key] for key in ("backend", "burstiness", "num_prompts") if key in result},
    )
    return as_run(test, CAVEAT)


def _quantiles(result: Document, ours: str, where: str) -> dict[str, float | None]:
    """Quantiles as it tells them; those that it does not, from its list of every request."""
    names, listed = SECONDS[ours]
    found: dict[str, float | None] = {}
    for q in QUANTILES:
        keys = [f"{'median' if q == 50 else f'p{q}'}_{name}_ms" for name in names]
        key = next((key for key in keys if key in result), keys[0])
        told = amount(result.get(key), where + key)
        found[f"{ours}_p{q}_s"] = told / 1e3 if told else None  # without streaming it tells 0
    seconds = _answered(result, listed, where)
    of_all = quantiles_of(ours, seconds) if seconds else {}
    return {name: of_all.get(name) if value is None else value for name, value in found.items()}


def _answered(result: Document, listed: str, where: str) -> list[float]:
    """What each answered request took; its lists hold the failed ones too, with their errors beside them."""
    values, errors = result.get(listed), result.get("errors")
    if not isinstance(values, list):
        return []
    if not isinstance(errors, list) or len(errors) != len(values):
        errors = [""] * len(values)
    good = [value for value, error in zip(values, errors, strict=True) if not error]
    flat = [x for value in good for x in (value if isinstance(value, list) else [value])]
    return [x for x in (amount(each, where + listed) for each in flat) if x is not None]


def _moment(date: object) -> str | None:
    """Its local time, which has no zone, as written."""
    try:
        return dt.datetime.strptime(str(date), "%Y%m%d-%H%M%S").strftime("%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007
    except ValueError:
        return None
