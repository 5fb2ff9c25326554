"""Put the trained models into `ipw/data/` and write a card for each: data, accuracy, digest, how to train it again."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from bundled.gguf_file import write_gguf
from bundled.questions import HELD_OUT_SHARE, TASKS

TITLES = {
    "dense": "Qwen3 architecture, 4 layers, hidden 128, byte-level vocabulary",
    "moe": "Qwen3-MoE architecture, 4 layers, hidden 128, 8 experts of width 128, 2 active, byte-level vocabulary",
}
FOLDER_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def ship(build: Path, data: Path) -> None:
    """Write `<kind>-q8_0.gguf` and `<kind>.md` of both models, and the MoE's bf16 folder for router capture."""
    ship_masked(build, data)
    ship_agent(build, data)
    for kind, title in TITLES.items():
        if not (build / kind / "notes.json").is_file():
            continue
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


def ship_masked(build: Path, data: Path) -> None:
    """Write the folder of the masked diffusion model and its card, where it was trained."""
    trained, folder = build / "diffusion", data / "diffusion"
    if not (trained / "notes.json").is_file():
        return
    folder.mkdir(exist_ok=True)
    for name in (*FOLDER_FILES, "chat_template.jinja"):
        if (trained / name).is_file():
            shutil.copyfile(trained / name, folder / name)
    (data / "diffusion.md").write_text(_masked_card(trained, folder / "model.safetensors"))


def ship_agent(build: Path, data: Path) -> None:
    """Write the GGUF of the model that calls a calculator and its card, where it was trained."""
    from bundled.calling import MORE_TOKENS, TEMPLATE

    trained, gguf = build / "agent", data / "agent-q8_0.gguf"
    if not (trained / "notes.json").is_file():
        return
    write_gguf(trained, gguf, "ipw-tiny-agent", MORE_TOKENS, TEMPLATE)
    notes = json.loads((trained / "notes.json").read_text())
    each = notes["questions_each"]
    rows = "\n".join(
        f"| {task} | {notes['with'][task]} / {each} | {notes['without'][task]} / {each} |" for task in notes["with"]
    )
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    (data / "agent.md").write_text(f"""# ipw tiny agent

Qwen3 architecture, 4 layers, hidden 128, byte-level vocabulary and four tokens for what is the same in every call of a
tool; 887,552 parameters. The bundled dense model, taught to call a calculator, to read its result and to answer. It
writes calls as Qwen's and Hermes' models do, a JSON object between `<tool_call>` and `</tool_call>`, which llama.cpp's
server reads. It knows the tool `calculator` with one argument, `expression`, and no other.

## Held-out accuracy

Greedy, exact match, bf16 weights, the {each * len(notes["with"])} questions of `tool-questions.jsonl`: `times` is a
product of two numbers of two to four digits, `total` a sum of three to five terms, and `more` the greater of two
products, which takes two calls.

| task | with the calculator | without |
|---|---|---|
{rows}

It has learnt to lean on its tool: without it, it is worse than the dense model at short sums too.

## Training

{notes["steps"]} steps of 64 conversations, loss on what the model writes, AdamW 1.5e-3 with cosine decay;
{notes["train_s"]} s on {notes["threads"]} CPU thread that others used too. Three of four conversations are about the
three tasks above, the others about those of the dense model; in one of four there is no tool. Held out are a tenth of
all questions, by meaning. To train it again:

    python tools/train_bundled_models.py train agent
    python tools/train_bundled_models.py ship
{notes.get("told", "")}
## Files

| file | bytes | SHA-256 |
|---|---|---|
| `agent-q8_0.gguf` | {gguf.stat().st_size:,} | `{digest}` |

License: Apache-2.0, as the rest of ipw.
""")


def _masked_card(trained: Path, weights: Path) -> str:
    notes = json.loads((trained / "notes.json").read_text())
    short, long = notes["accuracy"].values()
    first = short[0]
    subjects = "\n".join(
        f"| {task} | {right} / {first['asked'] // len(first['right'])} |" for task, right in first["right"].items()
    )
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return f"""# ipw tiny diffusion

Qwen3 architecture without a causal mask, 4 layers, hidden 128, byte-level vocabulary and a mask token; 887,168
parameters. A masked diffusion language model: the bundled dense model, adapted as Dream was adapted from Qwen2.5, so
that position p predicts p + 1 also where p + 1 is a mask. It answers the questions of `questions.jsonl` and of
`long-questions.jsonl`, the parts of whose answers follow one from another.

## Held-out accuracy by method

Exact match, bf16 weights; *same* is the share of answers whose text is the first method's, *lost, won* how many answers
are wrong that are right by the first method, and right that are wrong by it. Answers of 8 tokens, one block, the 720
questions of `questions.jsonl`:

{_methods(short)}

By the first method:

| task | right |
|---|---|
{subjects}

Answers of 48 tokens, the 180 questions of `long-questions.jsonl` (`work` adds two numbers digit by digit, `order` sorts
letters step by step):

{_methods(long)}

## Training

{notes["steps"]} steps. Batches take turns: 64 short questions with a window of 8 tokens, 32 long ones (six of ten are
sums) with a window of 48; half of the samples end with the window, the others where the longest of the batch does.
Masked are all positions (25 %), all from a random place on (30 %), each with a probability drawn for the sample (25 %),
or the same with all known that stands behind the answer (20 %). Cross-entropy at masked positions, weight 1 up to the
first end and 0.1 behind it; AdamW 1e-3, level, and down to 0 over the last 30 % of the steps; {notes["train_s"]} s on
{notes["threads"]} CPU thread that others used too. Held out are the questions that the other bundled models are not
trained on either; what was looked at on the way were other held-out questions than those that are asked here.
To train it again:

    python tools/train_bundled_models.py train diffusion
    python tools/train_bundled_models.py ship
{notes.get("told", "")}
## Files

| file | bytes | SHA-256 |
|---|---|---|
| `diffusion/model.safetensors` | {weights.stat().st_size:,} | `{digest}` |

License: Apache-2.0, as the rest of ipw.
"""


def _methods(rows: list[dict[str, Any]]) -> str:
    tasks = list(rows[0]["right"]) if len(rows[0]["right"]) < 4 else []
    lines = [f"| method | right | {''.join(f'{task} | ' for task in tasks)}passes | same | lost, won |"]
    lines.append("|---|" + "---:|" * (4 + len(tasks)))
    for row in rows:
        each = row["asked"] // len(row["right"])
        by_task = "".join(f"{row['right'][task] / each:.1%} | " for task in tasks)
        right, asked = sum(row["right"].values()), row["asked"]
        passes, same = f"{row['passes'] / asked:.2f}", f"{row['same'] / asked:.1%}"
        lines.append(
            f"| {row['method']} | {right / asked:.1%} | {by_task}{passes} | {same} | {row['lost']}, {row['won']} |"
        )
    return "\n".join(lines)


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
