"""One file a verb: it turns options into a run or a report, and says in the terminal what came out."""
