"""One cell of a study in a process of its own: `python -m ipw.verbs.common.one_cell CELL OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ipw.errors import INTERRUPTED, IpwError
from ipw.studies.cells import run_cell
from ipw.studies.runfile import Cell
from ipw.verbs.common.progress import TERMINAL


def main(out: str) -> int:
    """Measure the cell that standard input gives as JSON; the last line of output tells the run, or what is wrong."""
    told: dict[str, Any]
    try:
        told = {"run": str(run_cell(Cell(**json.load(sys.stdin)), Path(out), TERMINAL).path)}
    except IpwError as error:
        told = {"error": error.message, "hint": error.hint, "exit_code": error.exit_code}
    except KeyboardInterrupt:
        told = {"exit_code": INTERRUPTED}
    print(json.dumps(told))  # noqa: T201 - the parent reads it
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
