"""The command line without a process of its own: what a start of Python and all imports cost is spared."""

from __future__ import annotations

import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

import pytest

from ipw.cli import main


def typed(*arguments: str, cwd: Path = Path()) -> CompletedProcess[str]:
    """Run `ipw` here, to its exit code. What is no error for the user is raised; children write elsewhere."""
    command, out, err = ["ipw", *arguments], StringIO(), StringIO()
    with patch.object(sys, "argv", command), chdir(cwd), redirect_stdout(out), redirect_stderr(err):  # noqa: SIM117
        with pytest.raises(SystemExit) as ended:
            main()
    return CompletedProcess(command, int(ended.value.code or 0), out.getvalue(), err.getvalue())
