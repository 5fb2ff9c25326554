"""What answers drew after they were complete: the signs of `ends.py`, the times of arrival, and joules of decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.attribution.queries.arrivals import read_arrivals
from ipw.attribution.queries.phases import MISSING, Timing
from ipw.attribution.queries.tables import Finished
from ipw.runs.directory import RunDir
from ipw.workloads.agents.asked import Asked
from ipw.workloads.agents.ends import behind, end_of
from ipw.workloads.agents.tables import After

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
CUT = "length"


class Shown(NamedTuple):
    """That an answer shows where it was complete."""

    sign: str
    share: float
    """Of the characters of its thinking and its text, those behind."""


class Babbled(NamedTuple):
    """Requests as columns, in their order."""

    sign: Sequence[str | None]
    """By which it shows where it was complete; `None` where nothing does."""
    tokens: Floats
    """Of the answer, those behind; NaN where unknown."""
    seconds: Floats
    """From the chunk in which it was complete to its end; NaN where unknown."""
    share: Floats
    """Of the time of decoding, that part; NaN where unknown."""

    def columns(self) -> dict[str, pa.Array]:
        """Make the columns of `queries.parquet`."""
        import pyarrow as pa

        whole = [None if np.isnan(count) else round(count) for count in self.tokens]
        return {
            "complete_by": pa.array(self.sign, pa.string()),
            "after_tokens": pa.array(whole, pa.int64()),
            "after_s": pa.array(self.seconds, pa.float64(), from_pandas=True),
        }

    def drew(self, decoding_j: Floats) -> After:
        """Give to each that part of what its decoding drew."""
        shows = np.array([sign is not None for sign in self.sign], np.bool_)
        return After(shows, np.where(self.share == 0, 0.0, decoding_j * self.share))


def shown(record: Mapping[str, Any], one: Asked) -> Shown | None:
    """Look at an answer for a sign; one that asks for tools, and one that failed, is none."""
    text, thinking = record.get("response"), record.get("reasoning")
    if not one.ok or not isinstance(text, str) or (one.said is not None and one.said.calls):
        return None
    end = end_of(text, json_asked=one.json, cut=record.get("finish_reason") == CUT)
    if end is None:
        return None
    count = len(text) + (len(thinking) if isinstance(thinking, str) else 0)
    return Shown(end.sign, behind(text, end) / count)


def babbled(run: RunDir, finished: Finished, signs: Sequence[Shown | None]) -> Babbled:
    """Find when each answer was complete: the place among its characters is that among its tokens."""
    timing, count = finished.timing, len(signs)
    behind_share = np.array([np.nan if one is None else one.share for one in signs], np.float64)
    tokens = np.where(timing.completion_tokens == MISSING, np.nan, timing.completion_tokens) * behind_share
    seconds = np.where(behind_share == 0, 0.0, np.nan)
    late = np.flatnonzero(behind_share > 0)
    chunks, _ = read_arrivals(run, Timing(*(column[late] for column in timing)), finished.arrivals_at[:count][late])
    if chunks is not None:
        begins = np.flatnonzero(np.diff(chunks.row, prepend=-1))  # those of one answer stand together
        for mine in map(slice, begins, np.append(begins[1:], chunks.row.size)):
            number = late[chunks.row[mine.start]]
            come = np.cumsum(chunks.tokens[mine].astype(np.int64))
            complete = min(int(np.searchsorted(come, (1 - behind_share[number]) * come[-1])), come.size - 1)
            lasted = timing.end_ns[number] - timing.start_ns[number] - chunks.since_ns[mine][complete]
            seconds[number] = max(int(lasted), 0) / 1e9
    decoding = np.where(timing.first_token_ns == MISSING, np.nan, (timing.end_ns - timing.first_token_ns) / 1e9)
    share = np.divide(seconds, decoding, out=np.full(count, np.nan), where=decoding > 0)
    share = np.where(behind_share == 0, 0.0, np.minimum(share, 1.0))
    return Babbled([one and one.sign for one in signs], tokens, seconds, share)
