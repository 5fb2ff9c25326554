"""A byte-level tokenizer with ChatML markers: 4 control tokens, 3 role words, 256 bytes, no merges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTROL = ["<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ROLES = ["system", "user", "assistant"]
FIRST_BYTE = len(CONTROL) + len(ROLES)
VOCAB_SIZE = FIRST_BYTE + 256
PAD, BOS, START, END = range(4)
USER, ASSISTANT = 5, 6
MASK = VOCAB_SIZE
"""Of the model that fills masks: one token more than the others have."""

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_characters() -> list[str]:
    """The printable character that byte-level BPE writes for each byte, in the order of the bytes."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


def vocabulary() -> list[str]:
    """Every token, in the order of the ids."""
    return [*CONTROL, *ROLES, *byte_characters()]


def encode_bytes(text: str) -> list[int]:
    """Token ids of plain text (training questions hold no marker and no role word)."""
    return [FIRST_BYTE + byte for byte in text.encode()]


def prompt_ids(prompt: str) -> list[int]:
    """Token ids of one user turn, up to where the assistant's answer begins."""
    newline = encode_bytes("\n")
    return [START, USER, *newline, *encode_bytes(prompt), END, *newline, START, ASSISTANT, *newline]


def save_tokenizer(folder: Path, *, mask: bool = False) -> PreTrainedTokenizerFast:
    """Write `tokenizer.json` and its companions, with the chat template and, where asked for, a mask token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocabulary())}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ROLES])
    if mask:
        tokenizer.add_special_tokens([AddedToken("<|mask|>", special=True, normalized=False)])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        model_max_length=256,
        **({"mask_token": "<|mask|>"} if mask else {}),
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return fast
