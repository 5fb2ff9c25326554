"""Make everything in `ipw/data/`: the held-out questions, both tiny models, and their cards.

    python tools/train_bundled_models.py questions
    python tools/train_bundled_models.py train dense --threads 1
    python tools/train_bundled_models.py train moe --threads 1
    python tools/train_bundled_models.py train diffusion --minutes 10   # goes on where it stopped; needs dense
    python tools/train_bundled_models.py train agent --minutes 10       # likewise
    python tools/train_bundled_models.py ship        # GGUF, safetensors and cards from what was trained

Needs the extra `train` (torch, transformers, gguf). Seeds and step counts are fixed; the sums of floating-point
numbers differ between machines, so a second training gives the same accuracy to a point or two, not the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from bundled.long_questions import held_out_questions as held_out_long_questions
from bundled.questions import QUESTIONS_EACH, QUESTIONS_SEED, held_out_questions
from bundled.tool_questions import held_out_questions as held_out_tool_questions

DATA = Path(__file__).parent.parent / "ipw" / "data"
BUILD = Path(__file__).parent.parent / "build" / "bundled"
TOOL_QUESTIONS_EACH = 60
STEPS = {"dense": 5000, "moe": 6000, "diffusion": 20000, "agent": 900}


def write_questions() -> None:
    """Write the questions of `ipw quickstart`, those with long answers, and those for which a calculator is needed."""
    for name, made, each in (
        ("questions", held_out_questions, QUESTIONS_EACH),
        ("long-questions", held_out_long_questions, QUESTIONS_EACH),
        ("tool-questions", held_out_tool_questions, TOOL_QUESTIONS_EACH),
    ):
        lines = [
            json.dumps({"id": f"{q.subject}-{i}", "subject": q.subject, "prompt": q.prompt, "answer": q.answer})
            for i, q in enumerate(made(each, QUESTIONS_SEED))
        ]
        (DATA / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"{len(lines)} {name}")


def train_model(kind: str, threads: int, steps: int | None, minutes: float, start: Path) -> None:
    """Train one model into `build/bundled/` and note what it took and how it did."""
    if kind == "diffusion":
        from bundled.masked import train as adapt

        steps = steps or STEPS[kind]
        folder = BUILD / kind
        if not adapt(start, folder, steps, threads, minutes * 60):
            print("stopped on the way: the same command goes on")
            return
        from bundled.masked_accuracy import accuracies, validation

        print(f"on questions that are not asked: {json.dumps(validation(folder))}", flush=True)
        spent = json.loads((folder / "spent.json").read_text())
        (folder / "notes.json").write_text(
            json.dumps({"steps": steps, "threads": threads, **spent, "accuracy": accuracies(folder)}, indent=1)
        )
        return
    if kind == "agent":
        train_agent(threads, steps or STEPS[kind], minutes)
        return
    from bundled.training import BATCH, evaluate, train

    folder, started = BUILD / kind, time.monotonic()
    steps = steps or STEPS[kind]
    train(kind, folder, steps, threads)
    train_s = time.monotonic() - started
    right = evaluate(folder, held_out_questions(QUESTIONS_EACH, QUESTIONS_SEED))
    notes = {
        "steps": steps,
        "batch": BATCH,
        "threads": threads,
        "train_s": round(train_s),
        "questions_each": QUESTIONS_EACH,
        "right": dict(right),
        "accuracy": right.total() / (QUESTIONS_EACH * len(right)),
    }
    (folder / "notes.json").write_text(json.dumps(notes, indent=1))
    print(json.dumps(notes))


def train_agent(threads: int, steps: int, minutes: float) -> None:
    """Teach the dense model to call a calculator, and note how it does with it and without."""
    from bundled.caller import train
    from bundled.caller_accuracy import right_answers

    folder = BUILD / "agent"
    if not train(DATA / "dense-q8_0.gguf", folder, steps, threads, minutes * 60):
        print("stopped on the way: the same command goes on")
        return
    questions = held_out_tool_questions(TOOL_QUESTIONS_EACH, QUESTIONS_SEED)
    notes = {
        "steps": steps,
        "threads": threads,
        **json.loads((folder / "spent.json").read_text()),
        "questions_each": TOOL_QUESTIONS_EACH,
        "with": dict(right_answers(folder, questions, tool=True)),
        "without": dict(right_answers(folder, questions, tool=False)),
    }
    (folder / "notes.json").write_text(json.dumps(notes, indent=1))
    print(json.dumps(notes))


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("questions")
    verbs.add_parser("ship")
    training = verbs.add_parser("train")
    training.add_argument("kind", choices=list(STEPS))
    training.add_argument("--threads", type=int, default=1)
    training.add_argument("--steps", type=int)
    training.add_argument("--minutes", type=float, default=1e9, help="of diffusion and agent: stop then")
    training.add_argument(
        "--start", type=Path, default=DATA / "dense-q8_0.gguf", help="of the diffusion model: weights to go on from"
    )
    arguments = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    if arguments.verb == "questions":
        write_questions()
    elif arguments.verb == "train":
        train_model(arguments.kind, arguments.threads, arguments.steps, arguments.minutes, arguments.start)
    else:
        from bundled.cards import ship

        ship(BUILD, DATA)


if __name__ == "__main__":
    main()
