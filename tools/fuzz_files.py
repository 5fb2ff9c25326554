"""Damaged files of people and of other programs: data sets, headers, logs, suites, gates, calibrations, imports."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fuzz_peers import peers
from fuzz_runs import ROOT, Case, verb, whole

RECORDINGS = ROOT / "tests" / "recordings"
Read = Callable[[Path], object]


def files() -> Iterator[Case]:
    """List what is read beside runs."""
    yield from _headers()
    yield from _questions()
    yield from _sensors()
    yield from _documents()
    yield from _imports()
    yield from _answers()


def _file(name: str, content: bytes | str, read: Read, file: str) -> Case:
    def make(folder: Path) -> Path:
        path = folder / file
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return Case(name, make, read)


def _folder(name: str, contents: Mapping[str, bytes], read: Read) -> Case:
    def make(folder: Path) -> Path:
        path = folder / "folder"
        path.mkdir()
        for file, content in contents.items():
            (path / file).write_bytes(content)
        return path

    return Case(name, make, read)


def lines(rows: list[Any]) -> bytes:
    """Write JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


# --- headers of models -----------------------------------------------------------------------------------------------


def _headers() -> Iterator[Case]:
    from ipw.workloads.lm.servers.gguf import gguf_facts
    from ipw.workloads.lm.servers.safetensors import folder_weights

    def facts(path: Path) -> object:
        return json.dumps(gguf_facts(path))

    def weights(path: Path) -> object:
        return json.dumps(folder_weights(path))

    dense = next((ROOT / "ipw" / "data").rglob("*.gguf"))
    yield _file("gguf", dense.read_bytes()[:200_000], facts, "m.gguf")
    yield _file("gguf of a mixture", _gguf(), facts, "m.gguf")
    config = b'{"num_experts": 8, "num_experts_per_tok": 2, "model_type": "a", "torch_dtype": "bfloat16"}'
    tensors = {"a.experts.0.w": {"shape": [4, 4], "dtype": "F16", "data_offsets": [0, 32]},
               "b": {"shape": [4], "dtype": "F32", "data_offsets": [32, 48]}}  # fmt: skip
    one = _safetensors(tensors | {"__metadata__": {"format": "pt"}})
    yield _folder("safetensors", {"model.safetensors": one, "config.json": config}, weights)
    index = {"metadata": {"total_size": 48}, "weight_map": dict.fromkeys(tensors, "model-1.safetensors")}
    parts = {"model-1.safetensors": one, "model.safetensors.index.json": json.dumps(index).encode()}
    yield _folder("safetensors in parts", parts | {"config.json": config}, weights)


def _safetensors(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(48)


def _gguf() -> bytes:
    """Make the header of a small mixture, with a value of every type that the format has."""

    def text(said: str) -> bytes:
        return struct.pack("<Q", len(said)) + said.encode()

    values = [
        ("general.architecture", 8, text("qwen3moe")), ("general.name", 8, text("a")),
        ("qwen3moe.expert_count", 4, struct.pack("<I", 8)), ("qwen3moe.expert_used_count", 4, struct.pack("<I", 2)),
        ("qwen3moe.context_length", 10, struct.pack("<Q", 4096)),
        ("qwen3moe.rope.freq_base", 6, struct.pack("<f", 1e4)),
        ("a.b", 7, b"\1"), ("a.c", 12, struct.pack("<d", 0.5)), ("a.d", 0, b"\7"), ("a.e", 3, struct.pack("<h", -2)),
        ("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 3) + text("x") + text("y") + text("z")),
        ("a.f", 9, struct.pack("<IQ", 5, 2) + struct.pack("<2i", 1, -1)),
    ]  # fmt: skip
    tensors = [("blk.0.ffn_gate_exps.weight", [32, 32, 8], 8), ("token_embd.weight", [32, 3], 1)]
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    for name, kind, value in values:
        header += text(name) + struct.pack("<I", kind) + value
    for name, shape, kind in tensors:
        header += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)
    return header


# --- data sets -------------------------------------------------------------------------------------------------------


def _questions() -> Iterator[Case]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ipw.workloads.lm.parameters import Parameters
    from ipw.workloads.lm.plan import plan

    def read(path: Path) -> object:
        return plan(Parameters(dataset=str(path)))

    plain = [{"id": f"q{i}", "prompt": f"{i}+1", "answer": str(i + 1), "subject": "a"} for i in range(20)]
    chosen = [{"question": f"{i}?", "choices": ["a", "b", "c", "d"], "answer": i % 4} for i in range(8)]
    talk = [{"prompt": [{"role": "user", "content": "a"}], "answer": ["b", "c"]} for _ in range(4)]
    yield _file("questions", lines(plain), read, "q.jsonl")
    yield _file("questions with choices", lines(chosen), read, "q.jsonl")
    yield _file("questions of a chat", lines(talk), read, "q.jsonl")
    yield _file("questions csv", "prompt,answer\n1+1,2\n2+2,4\n", read, "q.csv")
    yield _file("questions with semicolons", "prompt;A;B;answer\n1+1;2;3;A\n2+2;4;5;B\n", read, "q.csv")
    yield _file("questions as a list", json.dumps(plain), read, "q.json")
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(chosen), table)
    yield _file("questions parquet", table.getvalue(), read, "q.parquet")


# --- sensors ---------------------------------------------------------------------------------------------------------


def _sensors() -> Iterator[Case]:
    from ipw.foreign_json import read_json
    from ipw.profilers.apple.battery import discharge_w
    from ipw.profilers.apple.powermetrics import PowerMetrics
    from ipw.profilers.base import SensorError
    from ipw.profilers.meter_answers import parse
    from ipw.profilers.probe.profile import stored_profiles
    from ipw.profilers.replay import open_sensor

    def told(read: Read) -> Read:
        """A sensor's own error is an answer."""

        def reading(path: Path) -> object:
            with suppress(SensorError):
                return read(path)
            return None

        return reading

    def replayed(path: Path) -> object:
        os.environ["IPW_REPLAY"] = str(path)
        return open_sensor().channels

    def streamed(path: Path) -> object:
        stream = PowerMetrics(["cat", str(path)])
        found = [stream.read(index) for index in range(len(stream.channels))]
        stream.close()
        return found, "\n" not in stream.complaint

    def drained(path: Path) -> object:
        program = path.parent / "ioreg"
        program.write_text(f"#!/bin/sh\ncat {path}\n")
        program.chmod(0o755)
        os.environ["PATH"] = f"{path.parent}:{os.environ['PATH']}"
        return discharge_w()

    for path in sorted([*RECORDINGS.glob("*.csv"), *RECORDINGS.glob("*.log")]):
        yield _file(f"recording {path.name}", path.read_bytes(), told(replayed), path.name)
    ours = "t_s,channel,kind,value\n" + "".join(f"{i / 10},gpu,power,{100 + i}\n" for i in range(20))
    yield _file("replay", ours, told(replayed), "log.csv")
    yield Case("run replayed", lambda folder: _copy(whole("command"), folder), told(replayed), ("command",))
    for path in sorted(RECORDINGS.glob("*.plist")):
        samples = path.read_bytes().split(b"\0")[:2]
        yield _file(f"powermetrics {path.stem}", b"\0".join(samples), told(streamed), "stream.plist")
    battery = (
        b'<?xml version="1.0"?><plist version="1.0"><array><dict><key>Voltage</key><integer>12000</integer>'
        b"<key>Amperage</key><integer>18446744073709550616</integer><key>ExternalConnected</key><false/>"
        b"<key>InstantAmperage</key><integer>-1000</integer></dict></array></plist>"
    )
    yield _file("battery of a Mac", battery, told(drained), "battery.plist")
    meters = {
        "tasmota": {"StatusSNS": {"ENERGY": {"Total": 1.5, "Power": [40, 2]}}},
        "shelly": {"switch:0": {"apower": 8.9, "aenergy": {"total": 6.5}}},
        "first generation": {"meters": [{"power": 10.5, "total": 5000, "is_valid": True}]},
        "plain": {"energy_j": 5.5, "power_w": 2.0},
    }
    for name, meter in meters.items():
        yield _file(f"meter {name}", json.dumps(meter), told(lambda path: parse(read_json(path))), "meter.json")
    profile = {"channel": "a", "device": "b", "driver": "c", "kind": "power", "unit": "W", "measured": "d"}
    profiles = json.dumps({"schema_version": 1, "profiles": [profile | {"update_period_s": 0.1}]})
    yield _file("profile", profiles, stored_profiles, "sensors.json")


def _copy(source: Path, folder: Path) -> Path:
    import shutil

    return Path(shutil.copytree(source, folder / "run"))


# --- what people write -----------------------------------------------------------------------------------------------


def _documents() -> Iterator[Case]:
    from ipw.foreign_toml import read_toml
    from ipw.gate.calibration import calibrated, levels, read_jobs, runner
    from ipw.gate.policy import read_policy
    from ipw.reports.facts import read_facts
    from ipw.studies.book import read_study
    from ipw.studies.runfile import load
    from ipw.studies.suite import read_suite
    from ipw.verbs.common.lazy import WORKLOADS
    from ipw.verbs.common.study_table import drawn

    suite = (
        'name = "a"\nrepeat = 2\nseeds = [0, 1]\n[run]\nworkload = "lm"\nmodel = "dense"\nidle = 0.5\n'
        '[matrix]\nlimit = [1, 2]\nscorer = ["exact", "number"]\n[[include]]\nlimit = 9\n[[exclude]]\nlimit = 2\n'
        "[placement]\ngpus = 1\nmemory_gb = 2.5\n"
    )
    yield _file("suite", suite, lambda path: read_suite(path, WORKLOADS), "suite.toml")
    run = '[run]\nworkload = "lm"\nmodel = "dense"\nlimit = 3\nbase-url = "http://127.0.0.1:9/v1"\ntemperature = 0.0\n'
    yield _file("run file", run, lambda path: load(path, WORKLOADS), "run.toml")
    gate = (
        "[gate]\nalpha = 0.05\n[metrics.energy_per_query_j]\nmargin = 0.03\n[metrics.accuracy]\nmargin_points = 1.5\n"
        "[metrics.latency_p90_s]\nmargin = 0.1\ngates = false\n"
        "[validity]\nequal = ['responses']\nallow = ['cached tokens']\n"
    )
    yield _file("gate", gate, lambda path: read_policy(read_toml(path), str(path), "lm"), "gate.toml")
    facts = 'grid_g_co2e_per_kwh = 380\n[models."a"]\nreleased = 2025-04-29\nprice_per_million_tokens = [0.1, 0.2]\n'
    yield _file("facts", facts, read_facts, "facts.toml")
    measured = {"log_ratio": [0.1, 0.2, 0.1, 0.12], "start": [0, 0, 1, 1]}
    jobs = [{"runner": runner(), "workload": "lm", "basis": "package+dram", "created": "a",
             "metrics": {"energy_per_query_j": measured, "accuracy": measured}} for _ in range(2)]  # fmt: skip
    calibration = json.dumps({"schema_version": 1, "jobs": jobs})
    yield _file("calibration", calibration, lambda path: levels(read_jobs(path)), "calibration.json")
    yield _file("calibration of a gate", calibration, lambda path: calibrated(path, "lm").start_sd, "calibration.json")
    comparison = _file("calibration of a comparison", calibration, _compared, "calibration.json")
    yield comparison._replace(needs=("lm", "scored"))
    cell = {"key": "a", "cell": "b", "status": "done", "attempts": 1, "run": "r", "energy_j": 2.0, "marks": []}
    study = json.dumps({"schema_version": 1, "name": "s", "cells": [cell, cell | {"key": "c", "status": "failed"}]})
    yield _file("study", study, lambda path: drawn("s", read_study(path.parent)["cells"], 80).renderables, "study.json")


def _compared(path: Path) -> None:
    verb("compare", whole("lm"), whole("scored"), "--calibration", path)


# --- what other tools and nodes leave --------------------------------------------------------------------------------


def _imports() -> Iterator[Case]:
    import pyarrow as pa

    from ipw.runs.archive import digest, pack, unpack
    from ipw.workloads.routing.imports import import_trace

    def imported(path: Path) -> None:
        out = path.parent / "out"
        verb("import", path, "--out", out)
        verb("report", *out.iterdir(), "--page", path.parent / "page.html")

    for name, (file, content) in peers().items():
        yield _file(name, content, imported, file)
    bench = {"model_filename": "a", "model_type": "b", "n_prompt": 8, "n_gen": 4, "avg_ns": 5, "avg_ts": 1.5,
             "samples_ns": [5, 6], "samples_ts": [1.5, 1.6], "test_time": "2026-04-24T11:58:51Z"}  # fmt: skip
    yield _file("llama-bench", json.dumps([bench, bench]), imported, "bench.json")
    yield _file("llama-bench lines", lines([bench, bench]), imported, "bench.jsonl")
    emissions = "timestamp,project_name,duration,emissions,energy_consumed\n2026-01-01T00:00:00,a,10,0.1,0.5\n"
    yield _file("codecarbon", emissions, imported, "emissions.csv")
    query = {"energy_metrics": {"per_query_joules": 10.0}, "latency_metrics": {"total_query_seconds": 2.0},
             "token_metrics": {"input": 10, "output": 20}, "evaluation": {"is_correct": True}}  # fmt: skip
    table = pa.Table.from_pylist([{"problem": "p", "model_metrics": {"org/m": query}} for _ in range(3)])
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    told = {"model": "org/m", "dataset": "ipw", "profiler_config": {}, "total_queries": 3, "generated_at": 1.7e9}
    upstream = {"data-00000-of-00001.arrow": stream.getvalue(), "summary.json": json.dumps(told).encode()}
    yield _folder("upstream", upstream, imported)
    turns = [{"input_tokens": 5, "output_tokens": 7, "gpu_energy_joules": 3.0}] * 2
    trace = {"turns": turns, "total_wall_clock_s": 1.5, "is_resolved": True, "query_gpu_energy_joules": 6.0}
    totals = b'{"config": {"model": "m", "concurrency": 1}, "totals": {}, "efficiency": {}}'
    yield _folder("upstream traces", {"traces.jsonl": lines([trace, trace]), "summary.json": totals}, imported)

    def traced(path: Path, experts: int | None = 8) -> None:
        out = path.parent / "out"
        out.mkdir()
        import_trace(path, out, experts)

    import numpy as np

    array = io.BytesIO()
    np.save(array, np.arange(48, dtype=np.int16).reshape(6, 4, 2) % 8)
    yield _file("experts npy", array.getvalue(), traced, "experts.npy")
    held = base64.b64encode(array.getvalue()).decode()
    responses = [{"choices": [{"routed_experts": held}], "usage": {"prompt_tokens": 3}},
                 {"routed_experts": [[[0, 1]] * 4] * 2, "prompt_tokens": 1, "domain": "a"}]  # fmt: skip
    yield _file("experts of vLLM", lines(responses), traced, "experts.jsonl")
    parts = sorted((ROOT / "tests" / "runs" / "version-1" / "routing").glob("routing-*.safetensors"))
    yield _file("experts in parts", parts[0].read_bytes(), partial(traced, experts=None), "routing-00000.safetensors")

    def packed(folder: Path) -> Path:
        return pack(_copy(whole("command"), folder))

    def unpacked(path: Path) -> None:
        out = path.parent / "out"
        out.mkdir()
        unpack(path, out, digest(path)).manifest()

    yield Case("archive of a node", packed, unpacked, ("command",))


# --- what servers answer ---------------------------------------------------------------------------------------------


def _answers() -> Iterator[Case]:
    from ipw.workloads.lm.http.parser import HttpError, ResponseParser
    from ipw.workloads.lm.http.reply import Reply

    def read(path: Path) -> object:
        parser, reply = ResponseParser(), Reply()
        reply.sent(1)
        told = False
        raw = path.read_bytes()
        for at in range(0, len(raw), 50):
            try:
                body = parser.feed(raw[at : at + 50])
            except HttpError as error:
                reply.fail("error", str(error), "transport")
                break
            if parser.has_head and not told:
                reply.head(parser.status, parser.headers)
                told = True
            if body and reply.block(body, at + 2):
                break
        reply.close()
        return repr(reply.answer("secret"))

    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("a", " b", " c")
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}})
    body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    yield _file("answer", f"{head}Content-Length: {len(body)}\r\n\r\n{body}", read, "answer.http")
    framed = "".join(f"{len(part):x}\r\n{part}\r\n" for part in body.splitlines(keepends=True) if part)
    yield _file("answer in chunks", f"{head}Transfer-Encoding: chunked\r\n\r\n{framed}0\r\n\r\n", read, "answer.http")
