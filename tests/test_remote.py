"""A language model measured with the sensors of another machine, whose clock is ahead and drifts, over a slow wire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles.desk import blocks
from doubles.far import Wire, serving_sensors, wire
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml
from doubles.openai_server import Behaviour, Request, Server, serving
from doubles.patience import undisturbed

from ipw.errors import IpwError, UsageError
from ipw.profilers.remote.serving import address_of, serve, token_of
from ipw.runs.directory import RunDir
from ipw.verbs.watch import Watcher, running

TOKEN = "0123456789abcdef-for-a-test-alone"
IDLE_W, PREFILL_W, DECODE_W = 70.0, 420.0, 260.0


def behave(request: Request) -> Behaviour:
    return Behaviour(tokens=["4", *[" yes"] * (8 + request.number % 5)], prefill_s=0.05, token_s=0.02, prompt_tokens=64)


@contextmanager
def far_gpu(folder: Path) -> Iterator[tuple[Server, FakeNvml, str, Wire]]:
    """A GPU that a server here puts to work, read over there: 2 s ahead, 100 ppm fast, 20 ± 10 ms away."""
    gpu = FakeNvml.create(folder / "nvml")
    gpu.set_power(0, IDLE_W)

    def draw(t_ns: int, prefilling: int, decoding: int) -> None:
        gpu.set_power(0, PREFILL_W if prefilling else DECODE_W if decoding else IDLE_W)

    theirs = NOTHING | gpu.environment() | {"IPW_SENSORS_TOKEN": TOKEN}
    with (
        serving(behave, models=["tiny"], on_state=draw) as server,
        serving_sensors(theirs, "--sensors", "nvml", ahead_s=2.0, drift=100e-6) as url,
        wire(url, 0.020, 0.010) as (near, line),
    ):
        yield server, gpu, near, line


def ipw(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | NOTHING | {"IPW_SENSORS_TOKEN": TOKEN}
    command = [sys.executable, "-m", "ipw.cli", *words]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=200, check=False
    )


def run_lm(folder: Path, server: Server, sensors: str, asked: int) -> tuple[RunDir, dict[str, Any]]:
    questions = folder / "questions.jsonl"
    questions.write_text("\n".join(json.dumps({"prompt": f"{i} plus 0", "answer": "4"}) for i in range(asked)))
    words = ["run", "lm", "--base-url", server.url, "--model", "tiny", "--dataset", str(questions), "--idle", "0.5"]
    done = ipw(folder, *words, "--warmup", "1", "--sensors", sensors, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    return RunDir.open(folder / summary["run"]), summary


def test_the_joules_are_those_that_were_drawn_there_and_are_made_again_without_a_network(tmp_path: Path) -> None:
    """Takes seconds: two machines, a slow wire, and a run of a language model."""
    attempts = count()

    def measured() -> tuple[RunDir, dict[str, Any]]:
        folder = tmp_path / str(next(attempts))
        folder.mkdir()
        with far_gpu(folder) as (server, gpu, url, _):
            run, summary = run_lm(folder, server, url, 8)
        queries = run.read_table("queries")
        assert queries is not None
        edges = zip(queries["start_ns"].to_pylist(), queries["end_ns"].to_pylist(), strict=True)
        truth = np.array([gpu.energy_j(0, start, end) for start, end in edges])
        assert queries["energy_j"].to_numpy().sum() == pytest.approx(truth.sum(), rel=0.02)
        return run, summary

    run, summary = undisturbed(measured)
    assert summary["basis"] == "gpu"
    channels = {channel["name"]: channel for channel in run.manifest()["sensors"]}
    assert channels["127.0.0.1/nvml/gpu0"]["in_total"]
    assert channels["127.0.0.1/nvml/gpu0"]["clock"] == "127.0.0.1/clock"

    before = (run.path / "summary.json").read_bytes()
    again = ipw(tmp_path, "report", "--recompute", str(run.path))
    assert again.returncode == 0, again.stderr
    assert (run.path / "summary.json").read_bytes() == before
    assert not [path for path in run.path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def test_a_machine_that_is_gone_for_good_leaves_all_answers_and_a_run_that_is_not_valid(tmp_path: Path) -> None:
    """Takes seconds: as above, and the sampler waits for the machine before it gives it up."""
    seen: list[dict[str, Any]] = []
    with far_gpu(tmp_path) as (server, _, url, line):

        def cut() -> None:
            deadline = time.monotonic() + 60
            while sum(entry.end_ns is not None for entry in server.books) < 4 and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.append(Watcher(running(tmp_path / "runs")).snapshot())
            line.cut()

        thread = threading.Thread(target=cut)
        thread.start()
        run, summary = run_lm(tmp_path, server, url, 8)
        thread.join()
    assert seen[0]["power_w"]["127.0.0.1/nvml/gpu0"] > 0
    queries = run.read_table("queries")
    assert queries is not None
    assert queries["status"].to_pylist() == ["ok"] * 8
    assert not summary["valid"]
    failed = {check["check"]: check["detail"] for check in summary["validity"] if not check["ok"]}
    assert "127.0.0.1" in failed["sensor failures"]
    assert "coverage" in failed
    assert summary["metrics"]["accuracy"]["n"] == 8


@pytest.mark.parametrize("listen", ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:9321", "0.0.0.0"])
def test_beyond_loopback_it_does_not_start_without_a_token(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPW_SENSORS_TOKEN", raising=False)
    with pytest.raises(UsageError, match="there is no token") as told:
        serve("estimate", listen, None, None, lambda *_: None)
    assert "IPW_SENSORS_TOKEN" in str(told.value.hint)


@pytest.mark.parametrize(
    "token", ["short", "with a space in it all", "ünicode-ünicode-ünicode", "tab\tand-sixteen-more"]
)
def test_a_token_that_is_none_is_wrong_usage_and_is_not_shown(token: str) -> None:
    with pytest.raises(UsageError) as told:
        token_of(token)
    assert token not in f"{told.value} {told.value.hint}"


@pytest.mark.parametrize("listen", ["http://x:1", "a/b", "x:port", "user@host:1", "no-such-host.invalid:1", "x:99999"])
def test_what_is_no_address_to_listen_at_is_wrong_usage(listen: str) -> None:
    with pytest.raises(UsageError):
        address_of(listen)


def test_a_port_that_is_taken_and_an_address_of_another_machine_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_SENSORS_TOKEN", TOKEN)
    with pytest.raises(IpwError, match="cannot listen"):
        serve("estimate", "192.0.2.1:9321", None, None, lambda *_: None)


def test_sensors_that_are_elsewhere_already_are_not_served_on() -> None:
    with pytest.raises(UsageError, match="over the network already"):
        serve("rapl,http://host:9321", "127.0.0.1:0", None, None, lambda *_: None)


def test_it_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    """Takes a second: a key is made, and sensors are opened in two processes."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "chain.pem"]
    subprocess.run(["openssl", *make], cwd=tmp_path, capture_output=True, check=True)
    gpu = FakeNvml.create(tmp_path / "nvml")
    pem = ["--certificate", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem")]
    with serving_sensors(NOTHING | gpu.environment(), "--sensors", "nvml", *pem) as url:
        assert url.startswith("https://127.0.0.1:")
        refused = json.loads(ipw(tmp_path, "doctor", "--json", "--sensors", url).stdout)
        environment = os.environ | NOTHING | {"SSL_CERT_FILE": str(tmp_path / "chain.pem")}
        command = [sys.executable, "-m", "ipw.cli", "doctor", "--json", "--sensors", url]
        trusted = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "SSL_CERT_FILE" in refused["channels"][0]["reason"]
    told = json.loads(trusted.stdout)
    assert told["basis"] == "gpu"
    assert "round trip" in told["channels"][0]["note"]


def test_what_the_recipes_start_is_a_command_that_ipw_takes() -> None:
    from test_docs import test_a_documented_command_is_one_that_ipw_takes as takes

    unit, image, pods = (next(text for _, text in blocks(kind, "remote.md")) for kind in ("ini", "dockerfile", "yaml"))
    (start,) = re.findall(r"^ExecStart=\S*/(ipw .+)$", unit, re.MULTILINE)
    (entry,) = re.findall(r"^ENTRYPOINT (\[.+\])$", image, re.MULTILINE)
    (more,) = re.findall(r"args: (\[.+\])", pods)
    takes("remote.md", start)
    takes("remote.md", " ".join([*json.loads(entry), *json.loads(more)]))
    for variable in re.findall(r"IPW_\w+", unit + image + pods):
        assert variable == "IPW_SENSORS_TOKEN"
