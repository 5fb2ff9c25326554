from __future__ import annotations

from pathlib import Path

import pytest

from ipw.errors import UsageError
from ipw.studies.runfile import Cell, load
from ipw.verbs.common.lazy import WORKLOADS


def read(folder: Path, text: str) -> Cell:
    path = folder / "cell.toml"
    path.write_text(text)
    return load(path, WORKLOADS)


def test_options_have_the_names_and_defaults_of_the_command_line(tmp_path: Path) -> None:
    cell = read(
        tmp_path, '[run]\nworkload = "lm"\nmodel = "dense"\nmax-tokens = 64\nbase_url = "http://x/v1"\nidle = 0.5\n'
    )
    assert (cell.name, cell.workload) == ("cell", "lm")
    assert {name: cell.options[name] for name in ("model", "max_tokens", "base_url", "idle_s", "seed", "sensors")} == {
        "model": "dense", "max_tokens": 64, "base_url": "http://x/v1", "idle_s": 0.5, "seed": 0, "sensors": "auto"
    }  # fmt: skip
    assert not set(cell.options) & {"out", "as_json", "strict", "sweep", "repeat", "restart"}


def test_a_command_is_a_list_of_its_words(tmp_path: Path) -> None:
    cell = read(tmp_path, '[run]\nworkload = "measure"\ncommand = ["sleep", "-h"]\n')
    assert cell.options["command"] == ("sleep", "-h")


@pytest.mark.parametrize(
    ("lines", "told", "hint"),
    [
        ('workload = "lm"\nmodle = "dense"', "lm has no option 'modle'", "model"),
        ('workload = "lm"\nlimit = "ten"', "limit: 'ten' is not a valid integer", None),
        ('workload = "lm"\nlimit = 1.5', "limit: '1.5' is not a valid integer", None),
        ('workload = "lm"\nlimit = true', "limit: True does not fit", None),
        ('workload = "lm"\nlimit = 0', "limit: 0 is not in the range", None),
        ('workload = "lm"\nlimit = [1]', "limit: [1] is not a number", None),
        ('workload = "lm"\nmodel = 3', "model: 3 is not a text", None),
        ('workload = "lm"\nengine = "nonsense"', "engine: 'nonsense' is not one of", None),
        ('workload = "lm"\nout = "x"', "lm has no option 'out'", None),
        ('workload = "lm"\nmax-tokens = 1\nmax_tokens = 2', "is there twice", None),
        ('workload = "measure"', "command: must be given", None),
        ('workload = "measure"\ncommand = "sleep 1"', "command must be a list of texts", None),
        ('workload = "measure"\ncommand = []', "command must be a list of texts", None),
        ('workload = "lmm"', "there is no 'lmm'", "lm"),
        ('model = "dense"', "no workload is named", "lm"),
        ('workload = ["lm"]', "workload", "lm"),
        ('workload = "lm"\n[other]\nx = 1', "'other' is not known here", None),
        ("workload = ", "is not valid TOML", None),
    ],
)
def test_what_cannot_be_is_told_with_the_file_and_the_key(
    lines: str, told: str, hint: str | None, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, f"[run]\n{lines}\n")
    assert told in error.value.message
    assert "cell.toml" in error.value.message
    assert "\n" not in error.value.message
    assert hint is None or hint in str(error.value.hint)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "missing.toml", WORKLOADS)
    with pytest.raises(UsageError, match="no table"):
        read(tmp_path, "")
