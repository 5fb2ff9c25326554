"""What AIPerf leaves: `profile_export_aiperf.json`, its figures, and `profile_export.jsonl`, its requests.

Its terminal's figures are those of the first. GenAI-Perf, from which it came, writes a file of the same form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ipw.interchange.documents import Document, first_text, in_our_units, setting, within
from ipw.interchange.imported import Imported, amount, word
from ipw.interchange.load_test import QUANTILES, LoadTest, as_run, quantiles_of

SOURCE = "aiperf"
CAVEAT = "its client's clocks and token counts are its own; joules, where it has some, are those of the GPUs alone"
FIRST, LATENCY, CHUNKS = ("time_to_first_token", "ttft"), ("request_latency",), ("inter_chunk_latency",)
"""Names of its metrics, the newer first. `inter_token_latency` is a mean a request, and so another thing than ours."""
ITL = "AIPerf tells a mean a request (inter_token_latency), not of all gaps between chunks"
ENERGY = {
    "energy_j": "total_gpu_energy",
    "mean_power_w": "average_gpu_power",
    "energy_per_query_j": "energy_per_request",
    "energy_per_output_token_j": "energy_per_output_token",
    "energy_per_token_j": "energy_per_total_token",
}
PARTIAL = "AIPerf read the GPUs of two makers, whose joules it does not sum up"
SETTINGS = {"concurrency": ("concurrency",), "rate": ("request_rate", "rate")}
PHASE, STARTED = "profiling", ("request_start_ns", "timestamp_ns")


def read_aiperf(found: Sequence[Document], name: str) -> list[Imported] | None:
    """Read either file; `None` where it is another's. Raises UsageError for what cannot be."""
    if found and all("metadata" in each and "metrics" in each for each in found):
        return [_of_requests(found, name)]
    tests = [each for each in found if _is_summary(each)]
    return [_of_summary(each, name) for each in tests] or None


def _is_summary(document: Document) -> bool:
    metrics = within(document, "records") or document
    return "input_config" in document and bool(within(metrics, "request_latency") or within(metrics, "request_count"))


def _of_summary(document: Document, name: str) -> Imported:
    metrics = within(document, "records") or document
    version, config = word(document.get("aiperf_version")), within(document, "input_config")
    own = version or "records" in document or "aiperf" in (first_text(config, "cli_command") or "aiperf")

    def of(names: Sequence[str], entry: str = "avg") -> float | None:
        told = next((within(metrics, each) for each in names if within(metrics, each)), {})
        return in_our_units(told.get(entry), told.get("unit"), f"{name}: {names[0]}.{entry}")

    seconds = {
        f"{ours}_p{q}_s": of(names, f"p{q}")
        for ours, names in (("ttft", FIRST), ("latency", LATENCY), ("itl", CHUNKS))
        for q in QUANTILES
    }
    makers = [maker for maker in ("nvidia", "amd") if within(metrics, f"{maker}_total_gpu_energy")]
    joules = {ours: of([f"{makers[0]}_{theirs}"]) for ours, theirs in ENERGY.items()} if len(makers) == 1 else {}
    answered = of(["request_count"])
    answered = of(["completed_request_count"]) if answered is None else answered
    errors = document.get("error_summary")
    details = [within(each, "error_details") for each in errors] if isinstance(errors, list) else []
    complete = document.get("was_cancelled") is not True and document.get("is_complete") is not False
    test = LoadTest(
        source=SOURCE if own else "genai-perf",
        version=version,
        model=first_text(config, "model_names", "models", "items", "model") or "model",
        answered=None if answered is None else int(answered),
        failed=_failed(of(["error_request_count"]), errors),
        failed_because=next((word(each.get("message")) for each in details if word(each.get("message"))), None),
        duration_s=of(["benchmark_duration"]),
        prompt_tokens=of(["total_isl"]),
        output_tokens=of(["total_osl"]),
        seconds=seconds,
        joules=joules,
        goodput_per_s=of(["goodput"]),
        reasons={"itl_": ITL} | ({"energy_": PARTIAL, "mean_power_w": PARTIAL} if len(makers) > 1 else {}),
        stopped=None if complete else word(document.get("incomplete_reason")) or "it was cancelled",
        parameters=_settings(config),
        started=word(document.get("start_time")),
        told={"error_summary": errors if isinstance(errors, list) else []},
    )
    return as_run(test, CAVEAT)


def _failed(told: float | None, errors: object) -> int | None:
    """Count failed requests: as told, or else by the list of errors, which is there and empty where nothing failed."""
    if told is not None or not isinstance(errors, list):
        return None if told is None else int(told)
    counts = [amount(within({"error": each}, "error").get("count"), "error_summary: count") for each in errors]
    return None if None in counts else int(sum(count or 0 for count in counts))


def _of_requests(lines: Sequence[Document], name: str) -> Imported:
    requests = [each for each in lines if _phase(each) == PHASE]
    answered = [each for each in requests if not each.get("error")]

    def values(names: Sequence[str]) -> list[float]:
        found = []
        for count, each in enumerate(answered, start=1):
            told = next((within(each, "metrics", n) for n in names if within(each, "metrics", n)), {})
            value = told.get("value")
            for x in value if isinstance(value, list) else [value]:
                known = in_our_units(x, told.get("unit"), f"{name}, request {count}: {names[0]}")
                found += [] if known is None else [known]
        return found

    def whole(names: Sequence[str]) -> float | None:
        found = values(names)
        return sum(found) if found and len(found) == len(answered) else None

    starts = [amount(_moment(each), f"{name}: {STARTED[0]}") for each in requests]
    ends = [_end_ns(each, name) for each in answered]
    known = [x for x in (*starts, *ends) if x is not None]
    messages = Counter(
        word(within(each, "error").get("message")) or "an error" for each in requests if each.get("error")
    )
    test = LoadTest(
        source=SOURCE,
        version=None,
        model="model of AIPerf",
        answered=len(answered),
        failed=len(requests) - len(answered),
        failed_because=messages.most_common(1)[0][0] if messages else None,
        duration_s=(max(known) - min(known)) / 1e9 if known and max(known) > min(known) else None,
        prompt_tokens=whole(["input_sequence_length"]),
        output_tokens=whole(["output_sequence_length"]),
        seconds={
            **quantiles_of("ttft", values(FIRST)),
            **quantiles_of("latency", values(LATENCY)),
            **quantiles_of("itl", values(CHUNKS)),
        },
        reasons={"energy_": "AIPerf tells joules in profile_export_aiperf.json alone"},
        told={"requests": len(requests)},
    )
    return as_run(test, f"{CAVEAT}; the model's name is in profile_export_aiperf.json")


def _phase(line: Document) -> str:
    """Which phase a request was of; warm-up is no part of the test."""
    metadata = within(line, "metadata")
    return str(metadata.get("benchmark_phase") or metadata.get("credit_phase") or PHASE)


def _moment(line: Document) -> object:
    metadata = within(line, "metadata")
    return next((metadata[name] for name in STARTED if name in metadata), None)


def _end_ns(line: Document, name: str) -> float | None:
    told = within(line, "metadata").get("request_end_ns")
    told = within(line, "metrics", "max_response_timestamp").get("value") if told is None else told
    return amount(told, f"{name}: request_end_ns")


def _settings(config: Mapping[str, object]) -> dict[str, float]:
    found = {ours: setting(config, *names) for ours, names in SETTINGS.items()}
    return {name: value for name, value in found.items() if value is not None}
