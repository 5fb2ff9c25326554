"""Decoding with a part of the experts in fast memory, for every policy and cache size, beside the plain model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from collections.abc import Sequence as Rows
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

from ipw.workloads.base import Book, Counters, Marker, Progress
from ipw.workloads.routing.forward import Pass, read
from ipw.workloads.routing.offload.loader import Offload, Plan, Traffic, one_by_one
from ipw.workloads.routing.offload.profile import Profile, profile_behind
from ipw.workloads.routing.parameters import OnlinePolicy
from ipw.workloads.routing.subject import Subject
from ipw.workloads.texts.corpus import Sequence

PHASE = "offload"
PROFILED = ("static", "lru+layer", "lru+token")
"""Policies that take a profile."""
SEQUENCES = 12
"""So many sequences are decoded under each configuration."""
SIZES = 8
"""At most so many cache sizes, from k to all experts."""
WRITE = 16
"""Tokens to write where the run itself lets the model write none."""


def run_offload(
    marker: Marker,
    book: Book,
    subject: Subject,
    folder: Path,
    sequences: Rows[Sequence],
    policies: Rows[OnlinePolicy],
    shape: tuple[int, int],
    write: int,
    progress: Progress,
) -> None:
    """Decode `sequences` with the plain model, and then under each policy and cache size; `shape` is (E, k).

    `folder` has the routing of the run, which begins with that of `sequences`: pins and guesses come from what follows.

    Caches are empty when a sequence begins. Each configuration is one `offload` record of the journal, which also says
    whether the model wrote the same tokens as the plain one. Raises UsageError for experts that cannot be offloaded.
    """
    num_experts, k = shape
    sizes = sorted({k + round(i * (num_experts - k) / (SIZES - 1)) for i in range(SIZES)})
    counters = Counters(total=1 + len(policies) * len(sizes))

    def note(passes: Rows[Pass], policy: str | None, size: int, traffic: Traffic, expert_bytes: int) -> None:
        record = {
            "policy": policy,
            "cache_size": size,
            "expert_bytes": expert_bytes,
            "decode_ns": [[p.first_token_ns, p.end_ns] for p in passes],
            "sequences": len(passes),
            "decoded_tokens": sum(len(p.written) - 1 for p in passes),
            "same_output": [p.written for p in passes] == [p.written for p in plain],
            **asdict(traffic),
        }
        book.append(PHASE, record)
        counters.done += 1
        progress(counters)

    profile = profile_behind(folder, len(sequences)) if any(policy in PROFILED for policy in policies) else None
    with one_by_one(subject.model), tempfile.TemporaryDirectory(prefix="ipw-experts-") as slow:
        traffic = Traffic()
        with marker.span("all experts in fast memory", PHASE):
            plain = _read_all(subject, sequences, write, lambda: None, traffic)
        note(plain, None, num_experts, traffic, 0)
        offload = Offload(subject.model, Path(slow))
        try:
            for policy, size in product(policies, sizes):
                with marker.span(f"{policy}, {size} experts a layer", PHASE):
                    begin = partial(offload.start, plan_of(policy, size, profile))
                    passes = _read_all(subject, sequences, write, begin, offload.decode)
                note(passes, policy, size, offload.decode, offload.expert_bytes)
        finally:
            offload.close()


def plan_of(policy: OnlinePolicy, size: int, profile: Profile | None) -> Plan:
    """Make the plan of a policy by its name."""
    base, _, ahead = policy.partition("+")
    return Plan(
        base,
        size,
        miss="cpu" if base == "lru-bounded" else "load",
        prefetch=ahead or None,
        pins=profile.pins(size) if profile and base == "static" else None,
        chances=profile.guesses(ahead) if profile and ahead else None,
    )


def _read_all(
    subject: Subject, sequences: Rows[Sequence], write: int, begin: Callable[[], None], traffic: Traffic
) -> list[Pass]:
    """Read all sequences, the first of them once more before, to warm up; `traffic` counts from behind that."""
    passes: list[Pass] = []
    for sequence in (sequences[0], *sequences):
        begin()
        if len(passes) == 1:
            traffic.clear()
        passes.append(read(subject, sequence.token_ids, write or WRITE))
    return passes[1:]
