"""Completion of verbs and options by the Tab key: click writes the script, this puts it where the shell looks."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ipw.errors import UsageError

PLACES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/ipw", "open a new shell"),
    "zsh": (
        "ZDOTDIR",
        "",
        ".zfunc/_ipw",
        "put `fpath+=${ZDOTDIR:-~}/.zfunc; autoload -Uz compinit && compinit` into .zshrc",
    ),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/ipw.fish", "open a new shell"),
}
"""Shell: the variable that names the folder, the folder without it, the file, and what is left to do."""


def install(context: click.Context) -> None:
    """Write the completion script of the shell that `SHELL` names, say where it is, and end."""
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in PLACES:
        raise UsageError(
            f"SHELL is {shell or 'not set'}; completion is for bash, zsh and fish", "SHELL=/bin/bash ipw …"
        )
    variable, default, file, then = PLACES[shell]
    path = Path(os.environ.get(variable) or Path.home() / default) / file
    form = get_completion_class(shell)
    assert form is not None
    source = form(context.command, {}, "ipw", "_IPW_COMPLETE").source()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    click.echo(f"{path} is written; then: {then}")
    context.exit()
