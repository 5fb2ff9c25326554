"""The masked diffusion model that is looked at: its weights, its tokens, and which questions it can take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.diffusion.checkpoints import open_checkpoint, read_config
from ipw.workloads.diffusion.own_code import (
    KNOWN,
    check_own_code,
    check_pinned,
    needs_own_code,
    open_own_code,
    own_code,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BUNDLED = "diffusion"
AUTOREGRESSIVE = ("dense", "moe")
"""The other bundled models."""
SMALL = 50_000_000
"""A model of fewer parameters runs on one thread: waiting for others costs more than they help."""
MOST_DIGESTED = 4 << 30
END_TOKENS = ("<|endoftext|>", "<|eot_id|>", "<|im_end|>")
"""What ends an answer, where the tokenizer has it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model and what its tokens mean."""

    model: PreTrainedModel
    mask: int
    """The token that stands for what is not written yet."""
    shift: bool
    """Whether position p predicts the token of p + 1, as in models that were adapted from autoregressive ones."""
    ends: frozenset[int]
    """Tokens that end an answer."""
    tokenizer: Any
    """`None` where the folder has none: then token ids can be decoded, and no questions asked."""
    facts: dict[str, Any]
    """For the manifest."""
    whole: bool = False
    """Whether only whole passes can be asked for: the model runs by code of its own."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.model.device

    def states(self, ids: torch.Tensor, at: torch.Tensor, options: Mapping[str, Any]) -> torch.Tensor:
        """Last hidden states of tokens [sequences, positions] at places `at`; the logits of a model of its own code."""
        if self.whole:
            logits: torch.Tensor = self.model(input_ids=ids).logits
            return logits
        hidden: torch.Tensor = self.model.get_decoder()(input_ids=ids, position_ids=at, **options).last_hidden_state
        return hidden

    def head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of hidden states."""
        if self.whole:
            return hidden
        found: torch.Tensor = self.model.get_output_embeddings()(hidden)
        return found

    def unfit(self, prompt: Sequence[int], length: int) -> str | None:
        """Say why an answer of `length` tokens to this prompt cannot be decoded."""
        config = self.model.config
        most, size = getattr(config, "max_position_embeddings", None), len(prompt) + length
        if not prompt:
            return "the prompt is empty"
        if self.mask in prompt:
            return "the prompt holds the mask token"
        if not 0 <= min(prompt) <= max(prompt) < config.vocab_size:
            return "the prompt holds a token that the model does not know"
        if most is not None and size > most:
            return f"the prompt and its answer have {size} tokens, the model takes up to {most}"
        return None

    def encode(self, question: str, messages: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """Token ids of a question, as the model's chat template has it, where it has one."""
        if not self.tokenizer.chat_template:
            return list(self.tokenizer(question)["input_ids"])
        turns = [dict(turn) for turn in messages or [{"role": "user", "content": question}]]
        asked = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        return list(self.tokenizer(asked, add_special_tokens=False)["input_ids"])

    def until_end(self, tokens: Sequence[int]) -> list[int]:
        """The tokens of an answer before the first that ends it."""
        return list(tokens[: next((k for k, token in enumerate(tokens) if token in self.ends), len(tokens))])

    def text(self, tokens: Sequence[int]) -> str:
        """An answer as text, up to its end."""
        return str(self.tokenizer.decode(self.until_end(tokens), skip_special_tokens=True))


class Found(NamedTuple):
    """A model's folder, looked at and not loaded yet."""

    name: str
    folder: Path
    config: dict[str, Any]
    mask: int
    own_code: dict[str, Any] | None = None
    """Files and digest of the code that comes with the model, where that is what runs it."""

    @property
    def shift(self) -> bool:
        """Whether position p predicts the token of p + 1."""
        return self.config.get("model_type") == "Dream" or bool(self.config.get("ipw_shift"))


def load(
    name: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    mask_id: int | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> Subject:
    """Load the bundled `diffusion`, a folder, or a model of the Hugging Face hub. Raises UsageError.

    Code that comes with a model is run where `trust_remote_code` says so, and only if nothing else can read it.
    """
    found = find(name, mask_id, trust_remote_code=trust_remote_code, revision=revision)
    return opened(found, dtype=dtype, device=device)


def find(
    name: str | Path, mask_id: int | None = None, *, trust_remote_code: bool = False, revision: str | None = None
) -> Found:
    """Find a model and refuse what is no masked diffusion model. Raises UsageError."""
    if not (find_spec("torch") and find_spec("transformers")):
        raise MissingExtraError("decoding a masked diffusion model", "torch")
    folder = _folder(name, revision, trusted=trust_remote_code)
    config = read_config(folder)
    own = None
    if needs_own_code(config):
        check_own_code(str(name), folder, config, trusted=trust_remote_code)
        own = own_code(folder) | ({"revision": revision} if revision else {})
    return Found(str(name), folder, config, _mask(folder, config, str(name), mask_id, own_code=own is not None), own)


def opened(found: Found, *, dtype: str = "auto", device: str = "auto") -> Subject:
    """Load the weights. Raises UsageError."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, config = found.folder, found.config
    load_weights = open_own_code if found.own_code else open_checkpoint
    model = load_weights(folder, config, _known_dtype(dtype), _known_device(device))
    tokenizer = _tokenizer(folder, config, trusted=bool(found.own_code))
    parameters = sum(weight.numel() for weight in model.parameters())
    if parameters < SMALL:
        torch.set_num_threads(1)
    return Subject(
        model=model,
        mask=found.mask,
        shift=found.shift,
        ends=_ends(folder, config, tokenizer),
        tokenizer=tokenizer,
        facts={
            "name": "ipw-tiny-diffusion" if found.name == BUNDLED else Path(found.name).name,
            "architecture": config.get("model_type"),
            "parameters": parameters,
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "predicts": "the next position" if found.shift else "its own position",
            "digest": _digest(folder),
            **({"own_code": found.own_code} if found.own_code else {}),
        },
        whole=bool(found.own_code),
    )


def _folder(name: str | Path, revision: str | None, *, trusted: bool) -> Path:
    hub = name != BUNDLED and not Path(name).is_dir() and str(name).count("/") == 1
    check_pinned(str(name), revision, hub=hub, trusted=trusted)
    if name == BUNDLED:
        return Path(str(files("ipw") / "data" / "diffusion"))
    if Path(name).is_dir():
        return Path(name)
    if name in AUTOREGRESSIVE:
        raise UsageError(
            f"{name} predicts the next token: it is not a masked diffusion model", f"ipw run lm --model {name}"
        )
    if str(name).count("/") != 1 or Path(name).is_absolute() or str(name).startswith("."):
        raise UsageError(
            f"there is no folder {name}", "--model 'diffusion', a folder, or a name on the Hugging Face hub"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.txt", "*.jinja", *(["*.py"] if trusted else [])]
    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=wanted))
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()
        raise UsageError(
            f"cannot load {name}: {reason[0] if reason else type(error).__name__}", "give a folder, or see the network"
        ) from None


def _known_dtype(name: str) -> str:
    import torch

    if name != "auto" and not isinstance(getattr(torch, name, None), torch.dtype):
        raise UsageError(f"there is no dtype {name!r}", "--dtype auto, float32 or bfloat16")
    return name


def _known_device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"the device {name!r} cannot be used: {error}".splitlines()[0], "--device cpu") from None
    return name


def _digest(folder: Path) -> str | None:
    """Digest of a folder's weights, so that two runs can tell whether they decoded with the same ones.

    `None` where reading them all once more would take long.
    """
    whole, paths = hashlib.sha256(), sorted(folder.glob("*.safetensors"))
    if sum(path.stat().st_size for path in paths) > MOST_DIGESTED:
        return None
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{whole.hexdigest()}"


def _mask(folder: Path, config: dict[str, Any], name: str, given: int | None, *, own_code: bool) -> int:
    """Find the mask token's number, and refuse what is no masked diffusion model."""
    kind, mask = config.get("model_type"), config.get("mask_token_id") if given is None else given
    if kind == "diffusion_gemma":
        raise UsageError(
            f"{name} starts from noise, not from masks: the methods here do not apply", "give a LLaDA or a Dream"
        )
    if kind not in KNOWN and config.get("is_causal") is not False and not own_code:
        raise UsageError(
            f"{name} predicts the next token: it is not a masked diffusion model", f"ipw run lm --model {folder}"
        )
    if type(mask) is not int:
        raise UsageError(
            f"the mask token of {name} is not known", "--mask-token, and its id: see the tokenizer's files"
        )
    return mask


def _tokenizer(folder: Path, config: dict[str, Any], *, trusted: bool) -> Any:
    import transformers

    if not (folder / "tokenizer_config.json").is_file() and not (folder / "tokenizer.json").is_file():
        return None
    kinds = {"llada": transformers.PreTrainedTokenizerFast, "Dream": transformers.Qwen2TokenizerFast}
    try:
        kind = kinds.get(str(config.get("model_type")))
        if kind is not None:
            return kind.from_pretrained(folder)
        return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"the tokenizer of {folder} cannot be read: {error}", "was the folder copied whole?") from None


def _ends(folder: Path, config: dict[str, Any], tokenizer: Any) -> frozenset[int]:
    told = [config.get("eos_token_id")]
    if (folder / "generation_config.json").is_file():
        told.append(json.loads((folder / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id"))
    found = {int(end) for one in told for end in (one if isinstance(one, list) else [one]) if end is not None}
    known = tokenizer.get_vocab() if tokenizer is not None else {}
    return frozenset(found | {known[name] for name in END_TOKENS if name in known})
