"""A study on a Ray cluster of several nodes in one machine, each with a recording of its own as its sensor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipw.errors import UsageError, install_hint
from ipw.pipeline import derive
from ipw.runs.directory import RunDir
from ipw.studies.book import read_study
from ipw.studies.cluster.driver import on_cluster
from ipw.verbs.common.lazy import WORKLOADS
from ipw.verbs.study import run_suite

pytest.importorskip("ray", reason="the extra 'ray' is not installed")
pytestmark = [pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]  # ray's own

WATTS = {"small": 100.0, "large": 300.0}


def recording(folder: Path, name: str, watts: float) -> Path:
    """Ten minutes of a GPU that draws `watts`, as a counter that ticks every 100 ms."""
    path = folder / f"{name}.csv"
    lines = [f"{i * 100_000_000},gpu0,J,gpu,{watts * i / 10:.3f}" for i in range(6000)]
    path.write_text("t_ns,channel,unit,scope,value\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without cores, and a node of each kind."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("recordings")
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    found: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for name, watts in WATTS.items():
        found.add_node(
            num_cpus=1,
            num_gpus=1,
            node_name=name,
            resources={f"accelerator_type:{name}": 1},
            env_vars={"IPW_REPLAY": str(recording(folder, name, watts))},
        )
    found.wait_for_nodes()
    yield found
    found.shutdown()


def study(folder: Path, cluster: Any, text: str, capsys: pytest.CaptureFixture[str], **more: Any) -> dict[str, Any]:
    (folder / "s.toml").write_text(text)
    code = run_suite(
        suite=folder / "s.toml", commands=WORKLOADS, out=folder / "runs", dry_run=False,
        engine_cluster=cluster.address, storage=more.get("storage"), as_json=True,
    )  # fmt: skip
    return {"code": code, **json.loads(capsys.readouterr().out)}


def command(script: str) -> str:
    run = json.dumps([sys.executable, "-c", script])
    return f'[run]\nworkload = "measure"\nidle = 0.3\nsensors = "replay"\ncommand = {run}\n'


def test_twelve_cells_run_on_the_nodes_that_they_need_and_their_joules_are_those_nodes(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "repeat = 2\n" + command("import time; time.sleep({seconds})")
    text += '[matrix]\naccelerator = ["small", "large"]\nseconds = [0.2, 0.3, 0.4]\n[placement]\ngpus = 1\n'
    told = study(tmp_path, cluster, text, capsys, storage=(tmp_path / "store").as_uri())
    assert told["code"] == 0, told
    assert len(told["cells"]) == 12
    for cell in told["cells"]:
        run = RunDir.open(Path(told["study"]) / cell["run"])
        summary = run.summary()
        assert summary is not None
        assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(WATTS[cell["node"]], rel=1e-3)
        assert f"accelerator={cell['node']}" in cell["cell"]
        assert derive(run) == summary  # what the node made of its readings is what anyone makes of them
    assert len(list((tmp_path / "store").glob("*.tar.gz"))) == 12


def test_a_run_that_cannot_be_stored_stays_on_its_node_and_the_error_says_where(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = command("pass") + '[placement]\naccelerator = "small"\n'
    told = study(tmp_path, cluster, text, capsys, storage="file:///dev/full/nowhere")
    assert told["code"] == 5
    error = told["cells"][0]["error"]
    assert "cannot be written" in error
    assert Path(error.rpartition(" in ")[2], "manifest.json").is_file()


def test_a_driver_that_was_killed_goes_on_where_it_was(tmp_path: Path, cluster: Any) -> None:
    text = command("import time; time.sleep({seconds})")
    (tmp_path / "s.toml").write_text(text + "[matrix]\nseconds = [0.1, 0.2, 4.0]\n[placement]\naccelerator = 'small'\n")
    start = [sys.executable, "-m", "ipw.cli", "run", "s.toml", "--engine-cluster", cluster.address]
    first = subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = tmp_path / "runs" / "s"
    until = time.monotonic() + 90
    while not (state / "study.json").is_file() or read_study(state)["cells"][0]["status"] != "done":
        assert time.monotonic() < until
        time.sleep(0.1)
    first.kill()
    first.wait()
    done = read_study(state)["cells"][0]["run"]
    assert subprocess.run(start, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    cells = read_study(state)["cells"]
    assert [cell["status"] for cell in cells] == ["done"] * 3
    assert (cells[0]["run"], cells[0]["attempts"]) == (done, 1)


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="needs the extra 'ray'") as error:
        list(on_cluster([], None, "local", None))  # type: ignore[arg-type] # nothing is looked at
    assert error.value.hint == install_hint("ray")


def test_beside_amdsmi_ray_is_not_even_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "amdsmi.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="amdsmi"):
        list(on_cluster([], None, "local", None))  # type: ignore[arg-type] # nothing is looked at


def test_two_cells_that_want_one_gpu_never_run_at_once(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    note = f"print(%r, file=open({str(log)!r}, 'a'))"
    script = f"import time; {note % 'in'}; time.sleep(0.4); {note % 'out'}"
    text = command(script) + '[matrix]\nidle = [0.1, 0.2, 0.3]\n[placement]\naccelerator = "small"\ngpus = 1\n'
    assert study(tmp_path, cluster, text, capsys)["code"] == 0
    assert log.read_text().split() == ["in", "out"] * 3


def test_what_no_node_has_and_what_fails_on_one_is_told_and_the_others_stand(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    text = command("import sys; sys.exit({code})")
    text += '[matrix]\naccelerator = ["small", "huge"]\ncode = [0, 3]\n'
    text += '[[include]]\naccelerator = "large"\ncode = 0\nsensors = "nvml"\n'
    told = study(tmp_path, cluster, text, capsys)
    assert told["code"] == 5
    by_name = {cell["cell"]: cell for cell in told["cells"]}
    assert by_name["accelerator=small code=0"]["status"] == "done"
    assert "exit code 3" in by_name["accelerator=small code=3"]["error"]
    assert "no huge" in by_name["accelerator=huge code=0"]["error"]
    without = by_name["accelerator=large code=0 sensors=nvml"]
    assert without["status"] == "failed"
    assert "doctor" in str(without["hint"])


def test_a_model_over_two_nodes_is_measured_on_both(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    told = study(tmp_path, cluster, command("import time; time.sleep(1)") + "[placement]\nnodes = 2\n", capsys)
    assert told["code"] == 0, told["cells"]
    run = Path(told["study"]) / told["cells"][0]["run"]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["metrics"]["mean_power_w"]["value"] == pytest.approx(sum(WATTS.values()), rel=2e-3)
    manifest = json.loads((run / "manifest.json").read_text())
    assert [c["name"] for c in manifest["sensors"] if c.get("in_total")] == ["gpu0", "node2/gpu0"]


def test_a_node_that_dies_under_a_cell_is_told_or_the_cell_runs_elsewhere(
    tmp_path: Path, cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first try kills its own node; the second finds a mark and ends well."""
    mark = tmp_path / "mark"
    script = (
        f"import os, pathlib, psutil, signal, time\np = pathlib.Path({str(mark)!r})\n"
        "if not p.exists():\n p.touch()\n"
        " up = [q for q in psutil.Process().parents() if 'raylet' in q.name()]\n"
        " [os.kill(q.pid, signal.SIGKILL) for q in up]\n time.sleep(15)\n"
    )
    extra = [cluster.add_node(num_cpus=1, node_name=f"spare{i}", resources={"spare": 1}) for i in range(2)]
    cluster.wait_for_nodes()
    text = command(script).replace('"replay"', '"estimate"')
    told = study(tmp_path, cluster, text + "[placement]\nresources = { spare = 1 }\n", capsys)
    assert told["code"] == 0, told
    state = read_study(Path(told["study"]))
    assert state["cells"][0]["attempts"] == 2
    for node in extra:
        cluster.remove_node(node)
