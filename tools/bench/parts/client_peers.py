"""GuideLLM and AIPerf under the same load as the clients of `client.py`, where they are installed.

Both are whole programs, so their CPU is that of all their processes from the first request that the server saw to the
end of its last answer, looked at 20 times a second; starting up and writing reports are left out. Their requests cannot
be told apart in their reports: the error of the time to first token is the difference between percentiles, theirs
and the server's.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

LOOK_S = 0.05
ROOT = Path(__file__).parents[3]


class Peer(NamedTuple):
    """How a program is run, and where it reports."""

    command: Callable[[str, str, int, int, Path], Sequence[str]]
    """Of program, URL, streams, requests and a folder with `prompts.jsonl` and `texts.jsonl`."""
    ttft_ms: Callable[[Path], list[float]]


def _guidellm(program: str, url: str, streams: int, requests: int, folder: Path) -> Sequence[str]:
    return [
        program, "run", "--backend", f"kind=openai_http,target={url.removesuffix('/v1')}",
        "--profile", f"kind=concurrent,streams={streams}", "--constraint", f"kind=max_requests,count={requests}",
        "--data", f"kind=json_file,path={folder / 'prompts.jsonl'}",
        "--output", f"kind=json,path={folder / 'guidellm.json'}", "--disable-console",
    ]  # fmt: skip


def _aiperf(program: str, url: str, streams: int, requests: int, folder: Path) -> Sequence[str]:
    return [
        program, "profile", "-m", "stand-in", "--url", url.removesuffix("/v1"), "--endpoint-type", "chat",
        "--streaming", "--concurrency", str(streams), "--request-count", str(requests),
        "--input-file", str(folder / "texts.jsonl"), "--custom-dataset-type", "single_turn",
        "--tokenizer", str(ROOT / "ipw" / "data" / "moe"), "--use-server-token-count", "--ui", "none",
        "--artifact-dir", str(folder / "aiperf"),
    ]  # fmt: skip


def _guidellm_ttft_ms(folder: Path) -> list[float]:
    found: list[float] = []

    def walk(x: Any) -> None:
        if isinstance(x, dict):
            if isinstance(value := x.get("time_to_first_token_ms"), int | float) and "request_id" in x:
                found.append(float(value))
            for each in x.values():
                walk(each)
        elif isinstance(x, list):
            for each in x:
                walk(each)

    walk(json.loads((folder / "guidellm.json").read_text()))
    return found


def _aiperf_ttft_ms(folder: Path) -> list[float]:
    (path,) = (folder / "aiperf").rglob("profile_export.jsonl")
    rows = [json.loads(line)["metrics"] for line in path.read_text().splitlines()]
    return [row["time_to_first_token"]["value"] for row in rows if "time_to_first_token" in row]


PEERS = {"guidellm": Peer(_guidellm, _guidellm_ttft_ms), "aiperf": Peer(_aiperf, _aiperf_ttft_ms)}


def run_peer(name: str, program: str, url: str, streams: int, requests: int, folder: Path, core: int | None) -> Any:
    """Run one program; returns its times to first token in ms, and looks at its CPU: (monotonic ns, CPU-s)."""
    for column in ("prompt", "text"):
        rows = (json.dumps({column: f"question {number}"}) for number in range(requests))
        (folder / f"{column}s.jsonl").write_text("\n".join(rows) + "\n")
    command = PEERS[name].command(program, url, streams, requests, folder)
    looks: list[tuple[int, float]] = []
    with (folder / "log.txt").open("w") as log:
        process = psutil.Popen(command, stdout=log, stderr=log, cwd=folder)
        if core is not None:
            process.cpu_affinity([core])
        while process.poll() is None:
            looks.append((time.monotonic_ns(), _cpu_s(process)))
            time.sleep(LOOK_S)
    if process.returncode:
        said = " ".join((folder / "log.txt").read_text().split())[-400:]
        raise subprocess.SubprocessError(f"{name} ended with code {process.returncode}: {said}")
    return PEERS[name].ttft_ms(folder), looks


def _cpu_s(process: psutil.Process) -> float:
    total = 0.0
    try:
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            total += times.user + times.system
    except psutil.Error:
        pass  # it has ended meanwhile
    return total
