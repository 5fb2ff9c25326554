"""Old names of what lives in ipw/runs, until all that is being written has moved."""

from __future__ import annotations

from ipw.runs.directory import MANIFEST, PAGE, SUMMARY, RunDir
from ipw.runs.files import replacing
from ipw.runs.journal import JOURNAL, RANK_JOURNALS, Journal
from ipw.runs.readings import READINGS, RECORD_FIELDS
from ipw.runs.schema import SCHEMA_VERSION

__all__ = [
    "JOURNAL",
    "MANIFEST",
    "PAGE",
    "RANK_JOURNALS",
    "READINGS",
    "RECORD_FIELDS",
    "SCHEMA_VERSION",
    "SUMMARY",
    "Journal",
    "RunDir",
    "replacing",
]
