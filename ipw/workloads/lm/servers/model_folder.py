"""Which model a folder of Hugging Face's form holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ipw.errors import IpwError, UsageError
from ipw.workloads.lm.servers.safetensors import folder_weights

PARTS = ("*.json", "*.jinja", "*.safetensors", "*.bin", "*.model")
"""All that decides what a model answers: settings, templates, weights, tokenizer."""


def folder_facts(folder: Path) -> dict[str, Any]:
    """Name, digest, and parameters where its weights tell them.

    Raises UsageError where the folder holds no model, IpwError where it cannot be read.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} holds no model: it has no config.json", "give --model a folder as Hugging Face's")
    found = sorted({path for pattern in PARTS for path in folder.glob(pattern)})
    whole = hashlib.sha256()
    try:
        for path in found:
            with path.open("rb") as file:
                whole.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    except OSError as error:
        raise IpwError(f"model {folder} cannot be read: {error.strerror}", "was it downloaded to the end?") from None
    return folder_weights(folder) | {"name": folder.resolve().name, "digest": f"sha256:{whole.hexdigest()}"}
