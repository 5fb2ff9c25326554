"""Put the trained models into `ipw/data/` and write a card for each: data, accuracy, digest, how to train it again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from bundled.gguf_file import write_gguf
from bundled.questions import HELD_OUT_SHARE, TASKS

TITLES = {
    "dense": "Qwen3 architecture, 4 layers, hidden 128, byte-level vocabulary",
    "moe": "Qwen3-MoE architecture, 4 layers, hidden 128, 8 experts of width 128, 2 active, byte-level vocabulary",
}
FOLDER_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def ship(build: Path, data: Path) -> None:
    """Write `<kind>-q8_0.gguf` and `<kind>.md` of both models, and the MoE's bf16 folder for router capture."""
    for kind, title in TITLES.items():
        gguf = data / f"{kind}-q8_0.gguf"
        write_gguf(build / kind, gguf, f"ipw-tiny-{kind}")
        files = [gguf]
        if kind == "moe":
            (data / "moe").mkdir(exist_ok=True)
            for name in (*FOLDER_FILES, "chat_template.jinja"):
                if (build / kind / name).is_file():
                    shutil.copyfile(build / kind / name, data / "moe" / name)
            files.append(data / "moe" / "model.safetensors")
        (data / f"{kind}.md").write_text(_card(kind, title, build / kind, files))


def _card(kind: str, title: str, trained: Path, files: list[Path]) -> str:
    from safetensors import safe_open

    notes = json.loads((trained / "notes.json").read_text())
    with safe_open(trained / "model.safetensors", "pt") as weights:
        parameters = sum(weights.get_tensor(name).numel() for name in weights.keys())  # noqa: SIM118 (no mapping)
    right, each = notes["right"], notes["questions_each"]
    rows = "\n".join(f"| {task} | {right[task]} / {each} | {right[task] / each:.1%} |" for task in TASKS)
    digests = "\n".join(
        f"| `{file.name}` | {file.stat().st_size:,} | `{hashlib.sha256(file.read_bytes()).hexdigest()}` |"
        for file in files
    )
    return f"""# ipw tiny {kind}

{title}; {parameters:,} parameters.
Trained for ipw on questions that `tools/bundled/questions.py` generates, so that a measurement needs no network.
It answers short questions about sums, differences, maxima and words, and nothing else.

## Held-out accuracy

Greedy, exact match, bf16 weights, {each * len(TASKS)} questions of `questions.jsonl`: **{notes["accuracy"]:.1%}**.

| task | right | accuracy |
|---|---|---|
{rows}

## Data

{len(TASKS)} tasks ({", ".join(TASKS)}), drawn without end from a seed;
{HELD_OUT_SHARE:.0%} of all questions are held out by meaning: `a+b` and `b+a`, a word and its mirror image, and all
orderings of the same letters are one question, which is either trained on or asked, never both.

## Training

{notes["steps"]} steps of {notes["batch"]} questions, loss on the answers only, AdamW 2e-3 with cosine decay, seeds 0
(weights) and 1 (data); {notes["train_s"]} s on {notes["threads"]} CPU thread. To train it again:

    python tools/train_bundled_models.py train {kind}
    python tools/train_bundled_models.py ship

## Files

| file | bytes | SHA-256 |
|---|---|---|
{digests}

License: Apache-2.0, as the rest of ipw.
"""
