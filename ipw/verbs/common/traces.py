"""Sends runs that have just been derived to a collector of traces."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ipw.errors import IpwError
from ipw.interchange.exports import StoredRun
from ipw.interchange.otlp_send import endpoint, send_traces
from ipw.interchange.to_otlp import traces_of
from ipw.metrics.summary import stored_summary
from ipw.runs.directory import RunDir
from ipw.verbs.common import terminal


def trace(runs: Sequence[RunDir], url: str | None) -> None:
    """Send them, where an address is given. What goes wrong is told and costs nothing else: the runs are kept."""
    if url is None:
        return
    try:
        derived = [(run, summary) for run in runs if (summary := stored_summary(run)) is not None]
        spans = send_traces(traces_of([StoredRun(run.manifest(), summary, run) for run, summary in derived]), url)
        terminal.say(f"{spans} spans sent to {endpoint(url)}", err=True)
    except IpwError as error:
        later = shlex.join(map(str, runs))
        terminal.say(f"no trace was sent: {error.message}; ipw export {later} --otlp {url}", err=True)
