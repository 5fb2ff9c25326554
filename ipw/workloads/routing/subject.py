"""The model whose routing is looked at: loaded with transformers, unpatched, on the GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipw.errors import MissingExtraError, UsageError
from ipw.workloads.routing.capture import expert_bytes
from ipw.workloads.texts.corpus import Text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BUNDLED = "moe"
SMALL = 50_000_000
"""A model of fewer parameters runs on one thread: waiting for others costs more than they help, most of all on a
machine that does something else too."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, how it reads text, and what the manifest says of it."""

    model: PreTrainedModel
    encode: Callable[[Text], list[int]]
    pieces: Callable[[list[int]], list[str]]
    """Each token as text, for people."""
    facts: dict[str, Any]
    eos: frozenset[int]
    """Tokens that end an answer."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.model.device


def load_subject(name: str) -> Subject:
    """Load the bundled `moe`, a folder, or a model of the Hugging Face hub. Raises UsageError where that fails."""
    try:
        import torch
        import transformers
        from transformers.utils import logging
    except ImportError:
        raise MissingExtraError("running a mixture-of-experts model", "torch") from None
    logging.disable_progress_bar()
    source = str(files("ipw") / "data" / "moe") if name == BUNDLED else name
    try:
        config = transformers.AutoConfig.from_pretrained(source, trust_remote_code=False)
        kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
        model = kind.from_pretrained(source, dtype="auto", trust_remote_code=False).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()
        raise UsageError(
            f"cannot load {name}: {reason[0] if reason else type(error).__name__}",
            "give --model 'moe', a folder with a model of transformers, or its name on the Hugging Face hub",
        ) from None
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    if model.num_parameters() < SMALL:
        torch.set_num_threads(1)
    return subject_of(model, tokenizer, "ipw-tiny-moe" if name == BUNDLED else Path(name).name)


def subject_of(model: PreTrainedModel, tokenizer: Any, name: str) -> Subject:
    """Make a subject of a model that is loaded already."""

    def encode(text: Text) -> list[int]:
        if text.is_prompt and tokenizer.chat_template:
            turns = [{"role": "user", "content": text.content}]
            asked = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
            return list(asked["input_ids"])
        return list(tokenizer(text.content, add_special_tokens=text.is_prompt)["input_ids"])

    eos = model.generation_config.eos_token_id
    return Subject(
        model=model,
        encode=encode,
        pieces=lambda token_ids: [tokenizer.decode([token_id]) for token_id in token_ids],
        facts={
            "name": name,
            "architecture": type(model).__name__,
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "dtype": str(model.dtype).removeprefix("torch."),
            "device": str(model.device),
            "expert_bytes": expert_bytes(model),
        },
        eos=frozenset([eos] if isinstance(eos, int) else eos or ()),
    )
