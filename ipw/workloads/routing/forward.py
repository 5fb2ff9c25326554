"""One sequence through the model: its prompt in one forward pass, then token by token, always the likeliest."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from ipw.clock import now_ns
from ipw.workloads.routing.subject import Subject

if TYPE_CHECKING:
    import torch


class Pass(NamedTuple):
    """When a sequence ran, and what the model wrote."""

    start_ns: int
    first_token_ns: int | None
    """`None` where nothing was written."""
    end_ns: int
    written: list[int]


def read(subject: Subject, token_ids: list[int], write: int) -> Pass:
    """Feed `token_ids` to the model and let it write up to `write` tokens; times include the device's work.

    An encoder-decoder model reads the same tokens on both sides.
    """
    import torch

    ids = torch.tensor([token_ids], device=subject.device)
    options: dict[str, Any] = {"use_cache": write > 0}
    if subject.model.config.is_encoder_decoder:
        options["decoder_input_ids"] = ids
    if "logits_to_keep" in inspect.signature(subject.model.forward).parameters:
        options["logits_to_keep"] = 1  # what the rest of the vocabulary's logits cost is no part of a prefill
    written: list[int] = []
    with torch.inference_mode():
        start_ns = now_ns()
        output = subject.model(ids, **options)
        next_id = _likeliest(output) if write else None
        _wait(subject.device)
        read_ns = now_ns()
        while next_id is not None:
            written.append(next_id)
            if next_id in subject.eos or len(written) == write:
                break
            ids = torch.tensor([[next_id]], device=subject.device)
            output = subject.model(ids, past_key_values=output.past_key_values, use_cache=True)
            next_id = _likeliest(output)
        _wait(subject.device)
    return Pass(start_ns, read_ns if write else None, now_ns() if write else read_ns, written)


def _likeliest(output: Any) -> int:
    return int(output.logits[0, -1].argmax())


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
