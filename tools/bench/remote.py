"""Sensors over a network against the truth: error, intervals and sums of a language model's queries, one at a time.

    python tools/bench/remote.py [--queries 120] [--cut SECONDS] [--only NAME]

A stand-in server draws known power on a simulated GPU, whose sensors are served. They are read on this machine, over
loopback, and over a wire of 20 ms with 10 ms of jitter each way from a machine whose clock is 2 s ahead and gains
100 ppm: in a network namespace of its own where that is permitted. `--cut` breaks the wire for so long in the middle.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from doubles.far import serving_sensors, wire
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.openai_server import Behaviour, Request, serving

from ipw.runs.directory import RunDir

IDLE_W, PREFILL_W, DECODE_W = 70.0, 420.0, 260.0
AHEAD_S, DRIFT, DELAY_S, JITTER_S = 2.0, 100e-6, 0.020, 0.010
SUBNET, TOKEN = "10.213.77", "a-token-of-this-benchmark-alone"


def behave(request: Request) -> Behaviour:
    """Answer in some tokens, as the number of the request says."""
    draw = random.Random(request.number)
    return Behaviour(
        tokens=["4"] * draw.randint(5, 30), prefill_s=draw.uniform(0.03, 0.2), token_s=0.012, prompt_tokens=64
    )


@contextmanager
def namespace() -> Iterator[str | None]:
    """Make a network namespace with a link to it; `None` where that is not permitted."""
    name, near, far = f"ipw{os.getpid()}", f"ipwn{os.getpid()}", f"ipwf{os.getpid()}"
    commands = [
        f"ip netns add {name}",
        f"ip link add {near} type veth peer name {far} netns {name}",
        f"ip addr add {SUBNET}.1/24 dev {near}",
        f"ip link set {near} up",
        f"ip -n {name} addr add {SUBNET}.2/24 dev {far}",
        f"ip -n {name} link set {far} up",
        f"ip -n {name} link set lo up",
    ]
    try:
        made = all(subprocess.run(c.split(), capture_output=True, check=False).returncode == 0 for c in commands)
        yield name if made else None
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def scene(how: str, queries: int, cut_s: float, folder: Path) -> dict[str, Any]:
    """Measure once."""
    folder.mkdir()
    gpu = FakeNvml.create(folder / "nvml")
    gpu.set_power(0, IDLE_W)

    def draw(_t_ns: int, prefilling: int, decoding: int) -> None:
        gpu.set_power(0, PREFILL_W if prefilling else DECODE_W if decoding else IDLE_W)

    questions = folder / "questions.jsonl"
    questions.write_text("\n".join(json.dumps({"prompt": f"{i} plus 0", "answer": "4"}) for i in range(queries)))
    with ExitStack() as stack:
        server = stack.enter_context(serving(behave, models=["tiny"], on_state=draw))
        sensors, environment = "nvml", NOTHING | gpu.environment()
        where = "this machine"
        if how != "here":
            theirs, more = environment | {"IPW_SENSORS_TOKEN": TOKEN}, ["--sensors", "nvml"]
            inside: tuple[str, ...] = ()
            environment = NOTHING | {"IPW_SENSORS_TOKEN": TOKEN}
            far = {"ahead_s": AHEAD_S, "drift": DRIFT} if how == "far" else {}
            apart = stack.enter_context(namespace()) if how == "far" else None
            if apart:
                inside, more = ("ip", "netns", "exec", apart), [*more, "--listen", f"{SUBNET}.2:9321"]
            where = "another namespace" if apart else "loopback"
            sensors = stack.enter_context(serving_sensors(theirs, *more, inside=inside, **far))
            if how == "far":
                sensors, line = stack.enter_context(wire(sensors, DELAY_S, JITTER_S))
                if cut_s:
                    threading.Thread(target=cut, args=(line, cut_s), daemon=True).start()
        command = [sys.executable, "-m", "ipw.cli", "run", "lm", "--base-url", server.url, "--model", "tiny"]
        command += ["--dataset", str(questions), "--idle", "2", "--json", "--sensors", sensors]
        result = subprocess.run(
            command, env=os.environ | environment, cwd=folder, capture_output=True, text=True, check=False
        )
    if result.returncode:
        raise SystemExit(result.stderr)
    summary = json.loads(result.stdout)
    run = RunDir.open(folder / summary["run"])
    table, manifest = run.read_table("queries"), run.manifest()
    assert table is not None
    edges = zip(table["start_ns"].to_pylist(), table["end_ns"].to_pylist(), strict=True)
    truth = np.array([gpu.energy_j(0, start, end) for start, end in edges])
    energy, low, high = (table[f"energy_{name}"].to_numpy() for name in ("j", "low_j", "high_j"))
    window = gpu.energy_j(0, *manifest["attribution"]["window_ns"])
    return {
        "scene": how,
        "server": where,
        "queries": len(truth),
        "mean_abs_error": round(float(np.abs(energy / truth - 1).mean()), 5),
        "holds": round(float(((low <= truth) & (truth <= high)).mean()), 4),
        "half_width": round(float(np.median((high - low) / 2 / truth)), 4),
        "sum_error": round(float(energy.sum() / truth.sum() - 1), 5),
        "window_error": round(manifest["attribution"]["measured_j"] / window - 1, 5),
        "valid": summary["valid"],
        "told": [f"{c['check']}: {c['detail']}" for c in summary["validity"] if not c["ok"]],
    }


def cut(line: Any, seconds: float) -> None:
    """Break the wire for a while, some time after the start."""
    time.sleep(25)
    line.cut()
    time.sleep(seconds)
    line.mend()


def main() -> None:
    """Measure each scene, and print a line of JSON for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=120)
    parser.add_argument("--cut", type=float, default=0.0)
    parser.add_argument("--only", choices=["here", "loopback", "far"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipw-remote-") as name:
        for how in [asked.only] if asked.only else ["here", "loopback", "far"]:
            print(json.dumps(scene(how, asked.queries, asked.cut, Path(name) / how)), flush=True)


if __name__ == "__main__":
    main()
