"""Models that come with code of their own: it is run only where that was typed, and then it is told which code.

What such code does inside is not known, so it is only ever asked for whole passes: token ids in, logits out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipw.errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KNOWN = ("llada", "Dream")
"""They come with code too, which is not needed."""
CLASSES = ("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModel")
"""What may be asked for logits, the likeliest first."""
COMMIT = re.compile(r"[0-9a-f]{40}")
PLACE = re.compile(r"\w+\.\w+")
"""A module of the folder, and its class; what lies in another repository has its name and `--` in front."""


def needs_own_code(config: Mapping[str, Any]) -> bool:
    """Whether only code that comes with the model can read it."""
    kind = config.get("model_type")
    if not config.get("auto_map") or kind in KNOWN:
        return False
    from transformers import CONFIG_MAPPING

    return kind not in CONFIG_MAPPING


def check_pinned(name: str, revision: str | None, *, hub: bool, trusted: bool) -> None:
    """Raise UsageError where code would be fetched that nobody can have read, or a revision is given in vain."""
    if hub and trusted and not COMMIT.fullmatch(revision or ""):
        raise UsageError(
            f"the code that comes with {name} may change: which of it was read must be said",
            "--revision, and the commit's 40 digits",
        )
    if revision is not None and not hub:
        raise UsageError(f"{name} is a folder and has no revisions", "leave --revision out")


def own_code(folder: Path) -> dict[str, Any]:
    """Names and digest of all Python files of a folder, as the manifest has them."""
    whole, paths = hashlib.sha256(), sorted(folder.rglob("*.py"))
    for path in paths:
        whole.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return {
        "files": [path.relative_to(folder).as_posix() for path in paths],
        "digest": f"sha256:{whole.hexdigest()}",
    }


def check_own_code(name: str, folder: Path, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Raise UsageError unless the code may run and lies in the folder."""
    if not trusted:
        raise UsageError(
            f"{name} comes with code of its own, which would run here",
            "read it, then give --trust-remote-code; or give a LLaDA or a Dream",
        )
    for place in _places(config.get("auto_map")):
        if not PLACE.fullmatch(place) or not (folder / f"{place.partition('.')[0]}.py").is_file():
            raise UsageError(f"the code of {name} is not in its folder: {place}", "copy it there, and read it")


def open_own_code(folder: Path, config: Mapping[str, Any], dtype: str, device: str) -> PreTrainedModel:
    """Load a model by its own code. Raises UsageError where that does not give logits."""
    import torch
    import transformers

    named = config.get("auto_map")
    kind = next((kind for kind in CLASSES if isinstance(named, dict) and kind in named), None)
    if kind is None:
        raise UsageError(f"{folder} does not say which of its classes gives logits", f"auto_map with {CLASSES[0]}")
    try:
        made = getattr(transformers, kind).from_pretrained(folder, dtype=dtype, trust_remote_code=True)
        model: PreTrainedModel = made.to(device).eval()
        with torch.inference_mode():
            logits = model(input_ids=torch.zeros((1, 2), dtype=torch.int64, device=device)).logits
        width = logits.shape[2]
        assert logits.shape[:2] == (1, 2)
    except Exception as error:  # noqa: BLE001 - whatever code of others may raise
        told = str(error).strip().splitlines() or [""]
        raise UsageError(
            f"the code of {folder} gives no logits: {type(error).__name__}: {told[0][:200]}", "is it made for this use?"
        ) from None
    if not isinstance(getattr(model.config, "vocab_size", None), int):
        model.config.vocab_size = width
    return model


def _places(auto_map: Any) -> list[str]:
    """All that `auto_map` names."""
    values = auto_map.values() if isinstance(auto_map, dict) else [auto_map]
    flat = [each for value in values for each in (value if isinstance(value, list | tuple) else [value])]
    return [str(each) for each in flat if each is not None]
