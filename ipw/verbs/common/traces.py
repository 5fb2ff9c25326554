"""Sends a run that has just been derived to a collector of traces."""

from __future__ import annotations

from ipw.errors import IpwError
from ipw.interchange.exports import StoredRun
from ipw.interchange.otlp_send import endpoint, send_traces
from ipw.interchange.to_otlp import traces_of
from ipw.metrics.summary import stored_summary
from ipw.runs.directory import RunDir
from ipw.verbs.common import terminal


def trace(run: RunDir, url: str) -> None:
    """Send it. What goes wrong is told and costs nothing else: the run is kept."""
    try:
        summary = stored_summary(run)
        if summary is not None:
            spans = send_traces(traces_of([StoredRun(run.manifest(), summary, run)]), url)
            terminal.say(f"{spans} spans sent to {endpoint(url)}", err=True)
    except IpwError as error:
        terminal.say(f"no trace was sent: {error.message}; ipw export {run} --otlp {url}", err=True)
