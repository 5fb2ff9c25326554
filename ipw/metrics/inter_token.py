"""Percentiles of the time between tokens, over all gaps of a run: counted, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ipw.metrics.definitions import INTER_TOKEN
from ipw.metrics.metric import Metric, metric
from ipw.metrics.stats import percentile_interval
from ipw.runs.directory import RunDir

Ints = npt.NDArray[np.int64]
CELLS, REPLICATES = 256, 500
"""Queries go at random into so many cells, which are resampled: gaps of one answer are not independent."""
EXACT, STEPS, DECADES = 1000, 900, 8
"""Gaps are whole microseconds up to three digits, and 900 steps a decade from there on."""
BATCH = 1 << 16


def inter_token_metrics(run: RunDir, seed: int) -> dict[str, Metric]:
    """Percentiles with intervals from a bootstrap over queries, or why there are none."""
    counts = gap_counts(run, np.random.default_rng(seed))
    total = counts.sum(axis=0)
    used = np.flatnonzero(total)
    if not used.size:
        reason = "no answer came as a stream of several tokens"
        return {definition.name: metric(definition, None, method="timed", reason=reason) for definition in INTER_TOKEN}
    seconds = gap_us(used) / 1e6
    filled = counts[counts.any(axis=1)][:, used].astype(np.float64)
    cells = len(filled)
    drawn = np.random.default_rng([seed, 4]).multinomial(cells, np.full(cells, 1 / cells), REPLICATES)
    below = np.cumsum(drawn.astype(np.float64) @ filled, axis=1)
    found = {}
    for definition in INTER_TOKEN:
        q = int(definition.name.removeprefix("itl_p").removesuffix("_s")) / 100
        value = float(seconds[_at(np.cumsum(total[used])[np.newaxis].astype(np.float64), q)[0]])
        interval = percentile_interval(seconds[_at(below, q)], value, cells)
        n = int(total.sum())
        found[definition.name] = metric(
            definition, value, interval, n=n, method="timed", interval_by="bootstrap over queries"
        )
    return found


def gap_counts(run: RunDir, rng: np.random.Generator) -> Ints:
    """Count the gaps of the answered queries by cell and length: (CELLS, lengths)."""
    size = EXACT + STEPS * DECADES
    counts = np.zeros((CELLS, size), np.int64)
    for query, gap, times in _gaps(run):
        cell = rng.integers(CELLS, size=int(query[-1]) + 1 if query.size else 0)[query]
        flat = np.bincount(cell * size + gap_index(gap), weights=times, minlength=CELLS * size)
        counts += flat.astype(np.int64).reshape(CELLS, size)
    return counts


def _gaps(run: RunDir) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Yield, many queries at once: the number of the query, the gap and how often it came up."""
    import pyarrow.compute as pc

    for table in run.read_parts("queries", ("status", "itl_us", "itl_counts"), BATCH):
        if {"itl_us", "itl_counts"} <= set(table.column_names):
            rows = table.filter(pc.equal(table["status"], "ok")).combine_chunks()
            query = pc.list_parent_indices(rows["itl_us"])
            gaps, times = pc.list_flatten(rows["itl_us"]), pc.list_flatten(rows["itl_counts"])
            if len(query) == len(gaps) == len(times):
                yield tuple(column.to_numpy().astype(np.int64) for column in (query, gaps, times))


def gap_index(us: Ints) -> Ints:
    """Place of a gap among the lengths that are told apart."""
    whole = np.clip(us, 0, 10 ** (3 + DECADES) - 1)
    decade = np.maximum(np.floor(np.log10(np.maximum(whole, 1))).astype(np.int64) - 2, 0)
    digits = whole // 10**decade
    return np.where(decade > 0, EXACT + STEPS * (decade - 1) + digits - 100, whole)


def gap_us(index: Ints) -> npt.NDArray[np.float64]:
    """Length of a gap in microseconds by its place."""
    beyond = np.maximum(index - EXACT, 0)
    return np.where(index < EXACT, index, (100 + beyond % STEPS) * 10.0 ** (1 + beyond // STEPS))


def _at(cumulative: npt.NDArray[np.float64], q: float) -> Ints:
    """Place of the `q` quantile in each row of cumulated counts."""
    places: Ints = (cumulative >= q * cumulative[:, -1:]).argmax(axis=1)
    return places
