"""A routing run of a tiny model, without sensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.routing.architectures import ByteTokenizer, tiny

from ipw.clock import now_ns
from ipw.runs.directory import RunDir
from ipw.runs.journal import Journal
from ipw.workloads.routing.parameters import Parameters
from ipw.workloads.routing.run import run_routing
from ipw.workloads.routing.subject import subject_of


@dataclass
class Spans:
    """Marks spans as a meter does."""

    journal: Journal

    @contextmanager
    def span(self, name: str, phase: str) -> Iterator[None]:
        start_ns = now_ns()
        yield
        self.journal.append("span", {"name": name, "phase": phase, "start_ns": start_ns, "end_ns": now_ns()})


def measured_run(folder: Path, corpus: str, name: str = "Qwen3Moe", **options: Any) -> RunDir:
    """Run `name` over the text `corpus`."""
    path = folder / "corpus.jsonl"
    path.write_text(corpus)
    run = RunDir.create(folder, "routing")
    parameters = Parameters(corpus=str(path), **options)
    subject = subject_of(tiny(name), ByteTokenizer(), "tiny")
    run.write_manifest({"workload": {"kind": "routing", "parameters": parameters.as_dict()}, "model": subject.facts})
    with Journal(run) as journal:
        run_routing(Spans(journal), journal, run.path, subject, parameters, lambda _counters: None)
    return run
