"""What a run is asked, as a digest, under the name that programs of others import."""

from ipw.workloads.texts.identity import digest, questions_digest

__all__ = ["digest", "questions_digest"]
