"""The methods of one call, or what is left of them, in turns over the same questions: each with a meter of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from ipw.metering.meter import Meter
from ipw.runs.directory import RunDir
from ipw.runs.owner import Owner
from ipw.workloads.base import Audience
from ipw.workloads.diffusion.methods import Method
from ipw.workloads.diffusion.parameters import Parameters
from ipw.workloads.diffusion.run import Arm, Asked, run_diffusion
from ipw.workloads.diffusion.settings import Settings
from ipw.workloads.diffusion.subject import Subject
from ipw.workloads.lm.plan import Plan
from ipw.workloads.terminable import terminable
from ipw.workloads.training.resonance import periods


class Ready(NamedTuple):
    """What all methods have in common."""

    parameters: Parameters
    planned: Plan
    subject: Subject
    asked: Sequence[Asked]


class Part(NamedTuple):
    """One method, and the run that keeps its answers."""

    run: RunDir
    manifest: Mapping[str, Any]
    method: Method
    settings: Settings
    finished: Collection[str] = frozenset()
    """Ids of the questions that are not asked."""
    owner: Owner | None = None
    """Where the run was taken before."""


class Taken(NamedTuple):
    """What came of it."""

    runs: list[RunDir]
    failed: list[str]
    """In words."""
    interrupted: bool


def take_turns(
    parts: Iterable[Part],
    ready: Ready,
    idle_s: float,
    audience: Audience,
    known: Mapping[str, Mapping[str, str]] | None = None,
) -> Taken:
    """Measure every method once. `known` holds texts by question and method, of earlier parts of the runs."""
    arms: list[Arm] = []
    runs: list[RunDir] = []
    interrupted = False
    try:
        with ExitStack() as stack:
            meters = []
            for part in parts:
                meter = Meter(part.run, part.manifest, part.manifest["sensors_asked"], owner=part.owner)
                meters.append(stack.enter_context(meter))
                runs.append(part.run)
                arms.append(Arm(part.method, part.settings, meter, meter.journal, part.finished))
            name, estimated = str(ready.subject.facts["name"]), meters[0].basis == "estimate"
            with audience.show(name, meters[0].live, estimated=estimated) as progress, terminable():
                _idle(meters, "idle before", idle_s)
                run_diffusion(
                    arms, ready.subject, ready.asked, ready.planned.scorer, progress,
                    batch_size=ready.parameters.batch_size, warmup=ready.parameters.warmup,
                    period_s=max(periods(meters[0].channels).values(), default=None), known=known,
                )  # fmt: skip
                _idle(meters, "idle after", idle_s)
    except KeyboardInterrupt:
        interrupted = True
    return Taken(runs, [f"{arm.method.name}: {arm.failed}" for arm in arms if arm.failed], interrupted)


def _idle(meters: Sequence[Meter], name: str, seconds: float) -> None:
    """Sit still once, and mark it in every run."""
    with ExitStack() as stack:
        for meter in meters[1:]:
            if seconds > 0:
                stack.enter_context(meter.span(name, "idle"))
        meters[0].idle(name, seconds)
