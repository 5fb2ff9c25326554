"""`ipw --install-completion`: a file where the shell looks, that names the verbs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ipw import __version__
from ipw.cli import cli
from ipw.errors import UsageError


@pytest.mark.parametrize(
    ("shell", "file"),
    [
        ("/bin/bash", ".local/share/bash-completion/completions/ipw"),
        ("/usr/bin/zsh", ".zfunc/_ipw"),
        ("/usr/bin/fish", ".config/fish/completions/ipw.fish"),
    ],
)
def test_each_shell_gets_its_script_where_it_looks(
    shell: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR"):
        monkeypatch.delenv(variable, raising=False)
    done = CliRunner().invoke(cli, ["--install-completion"], env={"HOME": str(tmp_path), "SHELL": shell})
    assert done.exit_code == 0, done.output
    assert str(tmp_path / file) in done.output
    assert "_IPW_COMPLETE" in (tmp_path / file).read_text()


def test_another_shell_is_told_which_there_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["--install-completion"], env={"HOME": str(tmp_path), "SHELL": "/bin/tcsh"})
    assert isinstance(done.exception, UsageError)
    assert "bash, zsh and fish" in str(done.exception)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("words", "completed"), [("ipw repo", "report"), ("ipw run lm --concurr", "--concurrency")])
def test_verbs_and_options_are_completed(words: str, completed: str) -> None:
    asked = {"_IPW_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert completed in CliRunner().invoke(cli, prog_name="ipw", env=asked).output


def test_the_citation_names_this_version() -> None:
    assert f"version: {__version__}" in (Path(__file__).parents[2] / "CITATION.cff").read_text()
