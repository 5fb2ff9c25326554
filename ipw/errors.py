"""What people can cause, told in one line with a hint. `cli.main` prints it and exits with its code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ipw.secrets_out import without_secrets

OK, REGRESSION, USAGE, INCONCLUSIVE, INVALID, FAILURE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""Exit codes of every verb."""
EXIT_CODES = {
    OK: "Done. Of `ipw ab`: the gate passed.",
    REGRESSION: "`ipw ab`: a metric got worse by more than its margin.",
    USAGE: "The command line, a file or a stored run asks for what cannot be.",
    INCONCLUSIVE: "`ipw ab`: neither can be said with these many pairs.",
    INVALID: "The measurement is not valid (with `--strict`; of `ipw ab` always). The results were written first.",
    FAILURE: "The environment, a server or a tool failed.",
    INTERRUPTED: "Interrupted. What was finished is kept, and `ipw resume` goes on with runs that ask questions.",
}
"""What each says. `ipw measure` exits with its command's own code, and `ipw gateway` with that of a failed program."""
WITH_TORCH = {"torch", "lora", "lightning", "train-bundled"}
"""Extras whose torch brings gigabytes of CUDA on Linux."""


class IpwError(Exception):
    """The environment, a tool or a server failed. `hint` says what to do or run. One line, without secrets."""

    exit_code = FAILURE

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = " ".join(without_secrets(message).splitlines())
        self.hint = hint and without_secrets(hint)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def as_dict(self) -> dict[str, Any]:
        """Give what `--json` prints of it."""
        return {"error": self.message, "hint": self.hint, "exit_code": self.exit_code}


class UsageError(IpwError):
    """The command line, a data set or a configuration asks for what cannot be."""

    exit_code = USAGE


class InvalidMeasurementError(IpwError):
    """The numbers exist and cannot be believed; the results were written first."""

    exit_code = INVALID


class OutageError(IpwError):
    """What is measured was lost meanwhile: the run ends, keeps what it has, and can be resumed."""

    def __init__(self, message: str, facts: Mapping[str, Any], hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.facts: dict[str, Any] = {**facts, "told": message}
        """For the manifest."""


class MissingExtraError(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}', which is not installed", install_hint(extra))


def install_hint(extra: str) -> str:
    """Say what installs an extra, from where this ipw was installed; torch without a GPU should not bring CUDA's."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        source = json.loads(distribution("ipw").read_text("direct_url.json") or "{}")
        url, folder, scheme = str(source.get("url") or ""), source.get("dir_info"), source.get("vcs_info")
    except (PackageNotFoundError, ValueError, AttributeError):
        url, folder, scheme = "", None, None
    if isinstance(folder, dict) and folder.get("editable") and url.startswith("file://"):
        command = f"pip install -e '{_path(url)}[{extra}]'"
    elif url:
        kind = f"{scheme['vcs']}+" if isinstance(scheme, dict) and isinstance(scheme.get("vcs"), str) else ""
        command = f"pip install 'ipw[{extra}] @ {kind}{url}'"
    else:
        command = f"pip install 'ipw[{extra}]'"
    if extra in WITH_TORCH and not os.path.exists("/proc/driver/nvidia") and sys.platform == "linux":  # noqa: PTH110
        command += " (without an NVIDIA GPU take torch's CPU build first, as the README says)"
    return command


def _path(url: str) -> str:
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(url).path)


def near(wrong: str, known: Iterable[str]) -> str:
    """Make the hint for a name that is not known: the nearest ones, else all."""
    from difflib import get_close_matches

    names = list(known)
    close = get_close_matches(wrong, names, 2)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
