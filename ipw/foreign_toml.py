"""The one reader of TOML (suites, run files, gates, facts): a file is a table, or one line that says why it is none."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ipw.errors import UsageError

MOST_BYTES = 16 << 20


def read_toml(path: Path, hint: str = "see https://toml.io") -> dict[str, Any]:
    """Read a TOML file. Raises UsageError where it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is larger than {MOST_BYTES >> 20} MiB", hint)
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give the path of a TOML file") from None
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}", hint) from None
    except RecursionError:
        raise UsageError(f"{path} is not valid TOML: it is nested too deep", hint) from None
