"""Tasks that `ipw run train --model …` can name."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ipw.errors import UsageError
from ipw.workloads.texts.corpus import read_corpus
from ipw.workloads.training import data, image_model
from ipw.workloads.training.heads import LayeredHead, classifier
from ipw.workloads.training.image_model import ResNet
from ipw.workloads.training.parameters import TIED, Parameters
from ipw.workloads.training.task import Batch, Task, mapped, sample_count, tensors
from ipw.workloads.training.text_model import Decoder, Layer

BUNDLED_MOE = "moe"
BYTES = 256
SMALL = 50_000_000
"""A model of fewer weights trains on one thread: waiting for others costs more than they help."""


def load_task(parameters: Parameters, rank: int = 0) -> Task:
    """Make the task on its device: the same weights for every method and rank, and data in the same order.

    Ranks other than 0 read the same data in an order of their own. Raises UsageError.
    """
    torch.manual_seed(parameters.seed)
    name = parameters.model
    if blocks := image_model.blocks_per_stage(name):
        task = _image(parameters, rank, blocks)
    elif name == "text":
        task = _text(parameters, rank)
    elif ":" in name and not Path(name).exists():
        task = _of_user(name, parameters)
    else:
        task = _causal_lm(name, parameters, rank)
    device = _device(parameters.device)
    task.model.to(device).train()
    task.batches = (_moved(batch, device) for batch in task.batches)
    task.evaluation = [_moved(batch, device) for batch in task.evaluation]
    count = sum(weight.numel() for weight in task.model.parameters())
    if count < SMALL:
        torch.set_num_threads(1)
    task.facts = {
        "name": task.name,
        "architecture": type(task.model).__name__,
        "parameters": count,
        "dtype": str(next(task.model.parameters()).dtype).removeprefix("torch."),
        "device": str(device) if device.type == "cpu" else f"{device}: {torch.cuda.get_device_name(device)}"
        if device.type == "cuda" else str(device),
        "initial_weights": digest(task.model),
    }  # fmt: skip
    return task


def digest(model: nn.Module) -> str:
    """Identify the weights of a model, bit for bit."""
    seen = hashlib.sha256()
    for weight in model.parameters():
        seen.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return seen.hexdigest()[:16]


def next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of telling each token of `[samples, length + 1]` from those before it, in nats."""
    return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


# --- made here ------------------------------------------------------------------------------------------------------


def _image(parameters: Parameters, rank: int, blocks_per_stage: int) -> Task:
    images, labels = data.made_images(data.IMAGES + data.HELD_OUT_IMAGES, parameters.seed)
    held_out = images[data.IMAGES :], labels[data.IMAGES :]
    model = ResNet(data.CLASSES, blocks_per_stage=blocks_per_stage)

    def criterion(logits: Tensor, batch: Batch) -> Tensor:
        return functional.cross_entropy(logits.float(), batch[1])

    train = images[: data.IMAGES], labels[: data.IMAGES]
    evaluation = data.image_batches(*held_out, parameters.batch_size, 0)
    return Task(
        model=model,
        batches=data.image_batches(*train, parameters.batch_size, parameters.seed + rank),
        loss=lambda net, batch: criterion(net(batch[0]), batch),
        evaluation=[next(evaluation) for _ in range(parameters.evaluations)],
        name="ipw-small-resnet" if parameters.model == "image" else parameters.model,
        layers=list(model.layers),
        criterion=criterion,
        auxiliary=partial(image_model.auxiliary, model, data.CLASSES),
    )


def _text(parameters: Parameters, rank: int) -> Task:
    model = Decoder(BYTES)
    encoded = "\n".join(_texts(parameters)).encode()
    train, held_out = _token_batches(np.frombuffer(encoded, np.uint8).astype(np.int64), parameters, rank)

    def auxiliary(_after: int, sampled: Sequence[int]) -> nn.Module:
        width, unembedding = model.embedding.embedding_dim, model.head[1] if parameters.classifier == TIED else None
        return nn.Sequential(*(Layer(width) for _ in sampled), classifier(width, BYTES, unembedding))

    return Task(
        model=model,
        batches=train,
        loss=lambda net, tokens: next_token_loss(net(tokens[:, :-1]), tokens),
        evaluation=held_out,
        name="ipw-small-decoder",
        layers=list(model.layers),
        criterion=next_token_loss,
        auxiliary=auxiliary,
        tokens=_predicted,
    )


def _texts(parameters: Parameters) -> Iterator[str]:
    """Text to learn; questions come with their answers."""
    if parameters.data != "bundled":
        yield from (text.content for text in read_corpus(parameters.data, seed=parameters.seed))
        return
    from ipw.workloads.texts import datasets

    for question in datasets.load(datasets.BUNDLED, seed=parameters.seed).questions:
        yield f"{question.prompt} {question.answer}"


def _token_batches(ids: Any, parameters: Parameters, rank: int) -> tuple[Iterator[Tensor], list[Tensor]]:
    length, size = parameters.sequence_length, parameters.batch_size
    train, held_out = data.split_tokens(ids)
    if len(held_out) <= length:
        raise UsageError(
            f"{len(ids)} tokens of text are too few for samples of {length}",
            "give --data more text, or a smaller --sequence-length",
        )
    stream = data.token_batches(held_out, length, size, 0)
    return (
        data.token_batches(train, length, size, parameters.seed + rank),
        [next(stream) for _ in range(parameters.evaluations)],
    )


def _predicted(tokens: Batch) -> int:
    return int(tokens.shape[0] * (tokens.shape[1] - 1))


# --- models of others -----------------------------------------------------------------------------------------------


def _causal_lm(name: str, parameters: Parameters, rank: int) -> Task:
    try:
        import transformers
        from transformers.utils import logging
    except ImportError:
        from ipw.errors import MissingExtraError

        raise MissingExtraError("training a Hugging Face model", "torch") from None
    logging.disable_progress_bar()
    source = str(files("ipw") / "data" / "moe") if name == BUNDLED_MOE else name
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, trust_remote_code=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"cannot load {name}: {reason}",
            "give --model 'text', 'image', 'resnet-32', 'moe', module:function, or a folder or hub name of a causal "
            "language model",
        ) from None
    logging.set_verbosity_error()
    ids = tokenizer("\n".join(_texts(parameters)), add_special_tokens=False)["input_ids"]
    train, held_out = _token_batches(np.array(ids, np.int64), parameters, rank)
    layers = largest_list(model)

    def auxiliary(_after: int, sampled: Sequence[int]) -> nn.Module:
        return LayeredHead(model, [layers[i] for i in sampled], tied=parameters.classifier == TIED)

    return Task(
        model=model,
        batches=train,
        loss=lambda net, tokens: next_token_loss(net(input_ids=tokens[:, :-1], use_cache=False).logits, tokens),
        evaluation=held_out,
        name="ipw-tiny-moe" if name == BUNDLED_MOE else Path(name).name,
        layers=layers,
        criterion=next_token_loss,
        auxiliary=auxiliary if layers else None,
        tokens=_predicted,
    )


def _of_user(name: str, parameters: Parameters) -> Task:
    """Call `module:function`, which returns `(model, batches, loss_function)` or a Task."""
    module, _, function = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)  # for this import alone; afterwards nothing there takes the place of a library
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"cannot load {name}: {error}", "give module:function as Python would import it") from None
    finally:
        sys.path.remove(here)
        sys.path.append(here)
    if isinstance(made, Task):
        return made
    if not (isinstance(made, tuple) and len(made) == 3 and isinstance(made[0], nn.Module) and callable(made[2])):
        raise UsageError(f"{name} returned {type(made).__name__}", "return (model, batches, loss_function)")
    model, batches, loss = made
    first = iter(batches)
    held_out = [batch for batch, _ in zip(first, range(parameters.evaluations), strict=False)]
    if not held_out and parameters.evaluations:
        raise UsageError(f"{name} returned no batch", "return (model, batches, loss_function)")
    if not any(True for batch in held_out for _ in tensors(batch)):
        raise UsageError(
            f"{name} returned batches without a tensor", "a batch is a tensor, or tensors in a tuple or dict"
        )
    return Task(model=model, batches=_again_and_again(batches), loss=loss, evaluation=held_out, name=name,
                layers=largest_list(model))  # fmt: skip


def _again_and_again(batches: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        count = 0
        for batch in batches:
            count += sample_count(batch)
            yield batch
        if not count:
            raise UsageError("the batches have come to an end", "return batches that can be gone through again")


def largest_list(model: nn.Module) -> list[nn.Module]:
    """Find a model's layers: the list of modules that holds most weights, if it has two or more."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) > 1]
    best = max(lists, key=lambda m: sum(weight.numel() for weight in m.parameters()), default=None)
    return [] if best is None else list(best)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"there is no device {name!r} here", "--device cpu") from None
    return device


def _moved(batch: Batch, device: torch.device) -> Batch:
    return mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))
