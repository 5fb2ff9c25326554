"""What people see of an advice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SHOWN = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the experts whose rows are shown."""
LAYERS, MOST = 4, 24
"""So many layers, and experts of each, are named to people."""


def show(found: Mapping[str, Any]) -> None:
    """Print the advice, the memory, the best policies and what more memory would buy."""
    from ipw.verbs.common.terminal import output

    out = output()

    def say(lines: Iterable[str]) -> None:
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)

    say(_first(found["advice"], found["memory"]))
    out.print(_table(found["candidates"]))
    say(_curve(found["more_memory"]))
    say(_findings(found))


def _first(advice: Mapping[str, Any], memory: Mapping[str, Any]) -> Iterator[str]:
    yield _headline(advice)
    yield advice["reason"]
    if advice["beats"]:
        yield _beats(advice["beats"])
    held = ("resident", "kv_cache", "experts", "in_transit", "free")
    parts = ", ".join(f"{name.replace('_', ' ')} {_bytes(memory[f'{name}_bytes'])}" for name in held)
    yield f"memory {_bytes(memory['total_bytes'])}: {parts}; all experts take {_bytes(memory['all_experts_bytes'])}"
    for each in advice["settings"]:
        yield f"{each['runtime']}: {each['settings']}  ({each['status']})"
    kept = list(advice.get("experts", {}).items())
    for layer, own in kept[:LAYERS]:
        yield f"layer {layer} keeps {', '.join(map(str, own[:MOST]))}{' …' if len(own) > MOST else ''}"
    if len(kept) > LAYERS:
        yield "the other layers: --json"


def _table(candidates: list[dict[str, Any]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table("policy", "slots", "memory", "hit rate", "tokens/s", "J/token", box=SIMPLE_HEAD)
    for row in best_rows(candidates):
        name = _name(row) + (" (looks ahead)" if row["looks_ahead"] else "")
        table.add_row(
            name, f"{row['slots']} {_per(row)}", _bytes(row["memory_bytes"]), _range(row["hit_rate"], 3),
            _range(row["tokens_per_s"], 1), _range(row["energy_per_token_j"], 3),
        )  # fmt: skip
    return table


def _curve(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "with other memory:"
    for at in sorted({max(round(share * len(rows)) - 1, 0) for share in SHOWN}):
        row = rows[at]
        speed = row["tokens_per_s"]["value"]
        told = f", {speed:.3g} tokens/s" if speed else ""
        yield f"  {_bytes(row['total_bytes'])}: {row['slots']} slots, hit rate {row['hit_rate']['value']:.3f}{told}"


def _findings(found: Mapping[str, Any]) -> Iterator[str]:
    for each in found["findings"]:
        yield f"{each['domain']}: {each['text']}" if each["domain"] is not None else each["text"]
    for each in found["excluded"]:
        yield f"left out: {each['rows']:,} rows: {each['reason']}"
    for note in (*found["prices"]["how"], *found["notes"]):
        yield f"mind: {note}"
    if found["trace"]:
        yield f"{found['trace']['counted_tokens']:,} tokens; {found['trace']['intervals']}"


def best_rows(candidates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The row with the most slots that fits, of each policy in each form; best first."""
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in candidates:
        if row["fits"]:
            best[tuple(row[name] for name in ("policy", "per", "miss", "prefetch"))] = row
    return sorted(
        best.values(), key=lambda row: (row["tokens_per_s"]["value"] or 0, row["hit_rate"]["value"]), reverse=True
    )


def _headline(advice: Mapping[str, Any]) -> str:
    if advice["policy"] is None:
        return "no experts fit"
    speed = advice["tokens_per_s"]["value"]
    told = f", {_range(advice['tokens_per_s'], 1)} tokens/s" if speed else ""
    return f"take {_name(advice)}, {advice['slots']} {_per(advice)}: hit rate {_range(advice['hit_rate'], 3)}{told}"


def _beats(beats: Mapping[str, Any]) -> str:
    gain = beats["gain"]
    if gain["of"] == "hit rate":
        return f"against {_name(beats)}: {gain['value']:+.3f} of the uses ({gain['low']:+.3f} to {gain['high']:+.3f})"
    return f"against {_name(beats)}: {gain['value']:+.1%} tokens/s ({gain['low']:+.1%} to {gain['high']:+.1%})"


def _name(row: Mapping[str, Any]) -> str:
    ahead = f" with guesses from the {row['prefetch']} before" if row["prefetch"] else ""
    lies = ", misses on the CPU" if row["miss"] == "cpu" else ""
    return f"{row['policy']}{ahead}{lies}"


def _per(row: Mapping[str, Any]) -> str:
    return {"layer": "a layer", "pool": "in all", "model": "whole layers"}[row["per"]]


def _range(entry: Mapping[str, Any], digits: int) -> str:
    if entry["value"] is None:
        return "-"
    if entry["low"] is None or entry["high"] is None:
        return f"{entry['value']:.{digits}f}"
    return f"{entry['value']:.{digits}f} ({entry['low']:.{digits}f} to {entry['high']:.{digits}f})"


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.0f} B"
