"""How far conventions of dividing joules among requests in flight are apart, on one run.

    python tools/bench/conventions.py RUN

The run's own rule shares what a step costs among those in it, and charges tokens to whose they are. Beside it: an equal
share of each moment; a share by tokens, of prompt and answer alike; and what each request adds, its tokens alone, which
leaves the steps to nobody. All are of the joules above idle of the requests that have them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]

from ipw.energy.arrays import Floats, Ints
from ipw.runs.directory import RunDir

COLUMNS = ("prompt_tokens", "cached_tokens", "completion_tokens", "start_ns", "end_ns", "net_energy_j")


def of_moments(start_ns: Ints, end_ns: Ints) -> Floats:
    """Seconds of each request, each moment shared by those in flight."""
    edges = np.unique(np.concatenate([start_ns, end_ns]))
    first, last = np.searchsorted(edges, start_ns), np.searchsorted(edges, end_ns)
    change = np.bincount(first, minlength=edges.size) - np.bincount(last, minlength=edges.size)
    flying = np.maximum(np.cumsum(change)[:-1], 1)
    shared = np.concatenate([[0.0], np.cumsum(np.diff(edges) / 1e9 / flying)])
    found: Floats = shared[last] - shared[first]
    return found


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = RunDir.open(parser.parse_args().run)
    attribution = run.manifest().get("attribution") or {}
    table = run.read_table("queries", COLUMNS)
    costs = {name: cost["value"] for name, cost in (attribution.get("costs") or {}).items()}
    if table is None or "step" not in costs:
        raise SystemExit(f"{run} was not divided by steps: {attribution.get('rule')}")
    cached = table["cached_tokens"].fill_null(0)
    table = table.set_column(table.column_names.index("cached_tokens"), "cached_tokens", cached).drop_null()
    prompt, cached, tokens, start_ns, end_ns, net_j = (table[name].to_numpy() for name in COLUMNS)
    computed = prompt - cached
    parts = {
        "by steps and tokens (the rule)": net_j,
        "an equal share of each moment": of_moments(start_ns, end_ns),
        "by tokens, of prompt and answer alike": computed + tokens,
    }
    shown = {name: part * net_j.sum() / part.sum() for name, part in parts.items()}
    shown["what each adds: its tokens alone"] = costs["token"] * tokens + costs["prompt token"] * computed
    print(f"{table.num_rows} requests, {net_j.sum():.4g} J above idle\n")
    print("| | mean distance from the rule | 95th percentile | least to most | of the joules |")
    print("|---|---|---|---|---|")
    for name, joules in shown.items():
        ratio = joules / net_j
        far = np.abs(ratio - 1)
        spread, whole = f"{ratio.min():.2f} to {ratio.max():.2f}", joules.sum() / net_j.sum()
        print(f"| {name} | {far.mean():.1%} | {np.quantile(far, 0.95):.1%} | {spread} | {whole:.0%} |")


if __name__ == "__main__":
    main()
