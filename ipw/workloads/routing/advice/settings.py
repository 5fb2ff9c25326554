"""An advice in the words of the runtimes: what can be set today, and what changes that are proposed would take.

llama.cpp: `--n-cpu-moe N` leaves the experts of the first N layers on the CPU; `-ot REGEX=CPU` does so for tensors by
name (common/arg.cpp, LLM_FFN_EXPS_REGEX). Proposed: llama.cpp's `--moe-expert-cache` (pull request 27861, misses on the
CPU) and vLLM's `--moe-expert-cache-size` (37190, misses loaded). A fork pins by a profile: `--moe-cache-slots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

EXPERTS = r"ffn_(up|down|gate|gate_up)_(ch|)exps"
CACHES = ("lru", "lfru", "lru-bounded")


def settings(advice: Mapping[str, Any], layers: Sequence[int], whole_layers: int, inserts: int) -> list[dict[str, str]]:
    """Settings for the advised policy, and what llama.cpp can do today: `whole_layers` at the end in fast memory."""
    found = [_whole(layers, whole_layers)]
    policy, per, slots = advice.get("policy"), advice.get("per"), advice.get("slots")
    if policy in CACHES and per == "layer":
        found += [
            {
                "runtime": "llama.cpp",
                "settings": f"--cpu-moe --moe-expert-cache {slots} --moe-expert-cache-inserts {inserts}",
                "status": "proposed: an LRU whose misses are computed on the CPU",
            },
            {
                "runtime": "vLLM",
                "settings": f"--moe-expert-cache-size {slots}",
                "status": "proposed: an LRU, later LFRU, whose misses are loaded",
            },
        ]
    if policy == "static" and per == "layer":
        found.append(
            {
                "runtime": "llama.cpp with a moe-trace profile",
                "settings": f"--n-cpu-moe 999 --moe-cache-profile TRACE.csv --moe-cache-slots {slots}",
                "status": "a fork: the most used experts of a profile, misses on the CPU",
            }
        )
    return found


def _whole(layers: Sequence[int], kept: int) -> dict[str, str]:
    """Keep the experts of the last `kept` layers in fast memory."""
    left = layers[: len(layers) - kept]
    first = left[-1] + 1 if left else 0
    pattern = rf"blk\.({'|'.join(map(str, left))})\.{EXPERTS}=CPU"
    override = f", or -ot '{pattern}'" if left else ""
    return {
        "runtime": "llama.cpp",
        "settings": f"--n-cpu-moe {first}{override}",
        "status": f"released: whole layers; the experts of {kept} of {len(layers)} fit",
    }
