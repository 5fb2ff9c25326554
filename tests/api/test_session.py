"""Measuring in people's own code: blocks nested, overlapping, repeated, in threads, and failing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doubles.machines import one_package
from doubles.patience import wait_for

import ipw
from ipw.errors import UsageError
from ipw.runs.directory import RunDir

WATTS = 120.0
RENEWED_J = 2.0
"""What is drawn between two renewals of the counters, if these are late."""


@pytest.fixture(scope="module", autouse=True)
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("host")
    with one_package(folder, 100.0, 20.0):
        yield folder


@pytest.fixture(scope="module")
def meter(host: Path) -> Iterator[ipw.Meter]:
    with ipw.Meter("tests", sensors="rapl", out=host / "runs") as meter:
        yield meter


def journalled(meter: ipw.Meter, name: str) -> list[dict[str, object]]:
    return [span for span in RunDir(meter.path).journal("span") if span["name"] == name]


def draws_all_of_its_time(block: ipw.Measurement) -> bool:
    """Whether its joules are told, and are about those of its time. However it was held up, its interval is honest."""
    assert block.duration_s is not None
    truth_j, low_j, high_j = WATTS * block.duration_s, block.energy.low or 0.0, block.energy.high
    if high_j is None:  # nothing was read for so long
        return False
    wide_j = high_j - low_j + RENEWED_J  # of 20 intervals one may miss, but none by far
    assert low_j - wide_j <= truth_j <= high_j + wide_j
    return block.energy_j == pytest.approx(truth_j, rel=0.1)


def until_told(measure: Callable[[], ipw.Measurement]) -> ipw.Measurement:
    """Measure until the machine was not held up, so that the joules of a block are told well."""
    return wait_for(lambda: block if draws_all_of_its_time(block := measure()) else None)


def test_a_lone_block_that_fails_leaves_a_run_with_its_joules(host: Path) -> None:
    def lone() -> ipw.Measurement:
        with pytest.raises(ValueError, match="no"), ipw.measure("lone", sensors="rapl", out=host) as block:  # noqa: PT012
            time.sleep(0.3)
            raise ValueError("no")
        return block

    block = until_told(lone)
    run = ipw.load_run(block.path)
    assert (run.manifest["status"], run.manifest["status_reason"]) == ("invalid", "ValueError: no")
    assert run.summary["metrics"]["energy_j"]["value"] == pytest.approx(block.energy_j, rel=0.01)
    assert block.summary == run.summary


def test_a_lone_measured_call_says_what_it_drew(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @ipw.measured(sensors="rapl", out=host / "alone")
    def work() -> str:
        time.sleep(0.3)
        return "done"

    def told() -> str:
        assert work() == "done"
        return capsys.readouterr().err

    form = r"ipw: .*work: [\d.]+ m?s, (<? ?[\d.]+ J) .*, in .*alone"
    assert wait_for(lambda: (found := re.match(form, told())) and not found[1].startswith("<"))


def test_a_block_that_outlasts_the_one_that_started_the_sensors_is_measured_to_its_end(host: Path) -> None:
    def longer(begun: threading.Event, ended: threading.Event, kept: list[ipw.Measurement]) -> None:
        with ipw.measure("second") as block:
            begun.set()
            kept.append(block)
            ended.wait()
            time.sleep(0.4)

    def both() -> ipw.Measurement:
        begun, ended, kept = threading.Event(), threading.Event(), list[ipw.Measurement]()
        thread = threading.Thread(target=longer, args=[begun, ended, kept])
        with ipw.measure("first", sensors="rapl", out=host) as first:
            thread.start()
            begun.wait()
        ended.set()
        thread.join()
        assert kept[0].path == first.path
        return kept[0]

    until_told(both)


def test_a_blocks_joules_are_told_while_the_meter_goes_on(meter: ipw.Meter) -> None:
    def work() -> ipw.Measurement:
        before_s = time.monotonic()
        meter.begin("work")
        time.sleep(0.3)
        block = meter.end("work")
        assert block.duration_s is not None
        assert 0.3 <= block.duration_s <= time.monotonic() - before_s
        return block

    block = until_told(work)
    assert block.energy.channels.keys() == {"rapl/package-0", "rapl/dram-0"}
    assert block.summary is None


def test_overlapping_blocks_each_have_all_that_was_drawn_in_their_time(meter: ipw.Meter) -> None:
    def overlapping() -> bool:
        meter.begin("first")
        time.sleep(0.2)
        meter.begin("second")
        time.sleep(0.2)
        first = meter.end("first")
        time.sleep(0.2)
        second = meter.end("second")
        assert first.start_ns < second.start_ns < (first.end_ns or 0) < (second.end_ns or 0)
        return draws_all_of_its_time(first) and draws_all_of_its_time(second)

    wait_for(overlapping)


def test_a_block_may_begin_in_one_thread_and_end_in_another(meter: ipw.Meter) -> None:
    thread = threading.Thread(target=meter.begin, args=["handed over"])
    thread.start()
    thread.join()
    assert meter.end("handed over").status == "ok"


def test_ending_what_was_not_begun_is_told(meter: ipw.Meter) -> None:
    with pytest.raises(UsageError, match="'nothing' was not begun"):
        meter.end("nothing")


def test_beginning_twice_is_told_and_the_first_goes_on(meter: ipw.Meter) -> None:
    meter.begin("twice")
    with pytest.raises(UsageError, match="'twice' has begun already"):
        meter.begin("twice")
    assert meter.end("twice").status == "ok"
    meter.begin("twice")
    meter.end("twice")
    assert len(journalled(meter, "twice")) == 2


def test_blocks_of_one_name_in_many_threads_are_all_kept(meter: ipw.Meter) -> None:
    def work() -> None:
        for _ in range(50):
            with ipw.measure("threaded"):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journalled(meter, "threaded")) == 400


def test_a_failing_block_is_kept_with_its_error_and_its_joules(meter: ipw.Meter) -> None:
    def failing() -> ipw.Measurement:
        with pytest.raises(ValueError, match="no"), ipw.measure("failing") as block:  # noqa: PT012 - it is the test
            time.sleep(0.2)
            raise ValueError("no")
        return block

    assert until_told(failing).status == "error"
    *_, record = journalled(meter, "failing")
    assert (record["status"], record["error"]) == ("error", "ValueError: no")


def test_an_interrupted_block_is_kept_as_interrupted(meter: ipw.Meter) -> None:
    with pytest.raises(KeyboardInterrupt), ipw.measure("stopped"):
        raise KeyboardInterrupt
    assert journalled(meter, "stopped")[0]["status"] == "interrupted"


def test_a_block_that_outlasts_its_meter_harms_nobody(host: Path) -> None:
    meter = ipw.Meter("short", sensors="rapl", out=host / "runs")
    with meter.measure("longer") as block:
        meter.close()
    assert block.energy_j is None


def test_a_block_that_has_not_ended_has_no_joules_and_a_reason(meter: ipw.Meter) -> None:
    with ipw.measure("open") as block:
        assert block.energy_j is None
        assert block.energy.reason == "the block has not ended"


def test_a_block_shorter_than_the_sensors_can_see_has_a_bound_and_no_joules(meter: ipw.Meter) -> None:
    with ipw.measure("short") as block:
        pass
    assert block.energy_j is None
    assert block.energy.high is not None
    assert block.energy.reason == "below resolution"


def test_a_measured_function_is_a_block_at_every_call(meter: ipw.Meter) -> None:
    @ipw.measured
    def double(x: int) -> int:
        return 2 * x

    @ipw.measured("named")
    def fail() -> None:
        raise KeyError

    assert [double(x) for x in range(3)] == [0, 2, 4]
    with pytest.raises(KeyError):
        fail()
    assert len(journalled(meter, double.__qualname__)) == 3
    assert journalled(meter, "named")[0]["status"] == "error"


def test_a_measured_coroutine_lasts_until_it_is_done(meter: ipw.Meter) -> None:
    @ipw.measured(name="coroutine")
    async def work(x: int) -> int:
        await asyncio.sleep(0.05)
        return x

    async def both() -> tuple[int, int]:
        one, two = await asyncio.gather(work(1), work(2))
        return one, two

    assert asyncio.run(both()) == (1, 2)
    lasted = [int(str(s["end_ns"])) - int(str(s["start_ns"])) for s in journalled(meter, "coroutine")]
    assert len(lasted) == 2
    assert min(lasted) >= 45e6  # timers may end a little early


def test_a_measured_generator_lasts_until_it_is_exhausted(meter: ipw.Meter) -> None:
    @ipw.measured(name="generator")
    def numbers() -> Iterator[int]:
        yield 1
        yield 2

    given = numbers()
    assert next(given) == 1
    assert journalled(meter, "generator") == []
    assert list(given) == [2]
    assert len(journalled(meter, "generator")) == 1


def test_an_asynchronous_generator_is_refused(meter: ipw.Meter) -> None:
    with pytest.raises(UsageError, match="asynchronous generator"):

        @ipw.measured
        async def numbers() -> object:
            yield 1


def test_a_notebook_shows_a_table_with_every_name_escaped(meter: ipw.Meter) -> None:
    def named() -> ipw.Measurement:
        with ipw.measure("<script>") as block:
            time.sleep(0.25)
        return block

    block = until_told(named)
    for shown in (block._repr_html_(), meter._repr_html_()):
        assert "<table>" in shown
        assert "&lt;script&gt;" in shown
        assert "<script>" not in shown
    assert "J [" in repr(block)


def test_a_forked_child_that_exits_leaves_the_meter_alone(meter: ipw.Meter) -> None:
    child = os.fork()
    if child == 0:
        meter.close()
        os._exit(0)
    os.waitpid(child, 0)

    def after() -> ipw.Measurement:
        with ipw.measure("after the fork") as block:
            time.sleep(0.2)
        return block

    until_told(after)


def test_closing_ends_what_is_open_and_saves_tables_with_parents(host: Path) -> None:
    def closed() -> ipw.Run | None:
        meter = ipw.Meter("whole", sensors="rapl", out=host / "runs")
        with meter.measure("outer"), ipw.measure("inner"):
            time.sleep(0.2)
        meter.begin("never ended")
        meter.close()
        meter.close()
        with pytest.raises(UsageError, match="closed"):
            meter.begin("late")
        run = ipw.load_run(meter.path)
        spans = run.spans.set_index("name")
        assert spans.loc["inner", "parent_id"] == spans.loc["outer", "span_id"]
        assert spans.loc["outer", "parent_id"] == spans.loc["whole", "span_id"]
        assert spans.loc["never ended", "status"] == "interrupted"
        truth_j = WATTS * (spans.loc["outer", "end_ns"] - spans.loc["outer", "start_ns"]) / 1e9
        return run if spans.loc["outer", "energy_j"] == pytest.approx(truth_j, rel=0.15) else None

    run = wait_for(closed)  # until the machine was not held up
    assert run.summary["valid"], run.summary["validity"]
    spans = run.spans.set_index("name")
    assert run.metrics.loc["energy_j", "value"] == pytest.approx(spans.loc["whole", "energy_j"], rel=1e-6)
    assert "outer" in run._repr_html_()
    with pytest.raises(UsageError, match="holds no queries"):
        _ = run.queries


def test_without_pandas_a_table_names_what_to_install(meter: ipw.Meter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError) as told:
        _ = ipw.load_run(meter.path).spans
    assert told.value.hint == "pip install pandas"


def in_a_program(script: str, host: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import os, signal, threading, time, ipw\n{script}"]
    return subprocess.run(command, cwd=host, capture_output=True, text=True, timeout=60, check=False)


def test_a_killed_program_leaves_its_finished_blocks(host: Path) -> None:
    script = """
meter = ipw.Meter("killed", sensors="rapl", out="killed")
for _ in range(2):
    with meter.measure("finished"):
        time.sleep(0.3)
time.sleep(1.0)
meter.begin("unfinished")
os.kill(os.getpid(), signal.SIGKILL)
"""
    from ipw.pipeline import derive

    def killed() -> bool:
        known = set((host / "killed").glob("*-killed"))
        assert in_a_program(script, host).returncode == -signal.SIGKILL
        (path,) = set((host / "killed").glob("*-killed")) - known
        derive(RunDir.open(path))
        with pytest.warns(UserWarning, match="the run never ended"):
            spans = ipw.load_run(path).spans
        assert spans["name"].tolist() == ["finished", "finished"]
        truth_j = WATTS * (spans["end_ns"] - spans["start_ns"]) / 1e9
        return bool(spans["energy_j"].tolist() == pytest.approx(truth_j.tolist(), rel=0.15))

    wait_for(killed)  # until the machine was not held up


def test_a_meter_that_nobody_closes_is_saved_when_the_program_ends(host: Path) -> None:
    script = """
meter = ipw.Meter("forgotten", sensors="rapl", out="forgotten")
with meter.measure("work"):
    time.sleep(0.2)
"""

    def saved() -> bool:
        known = set((host / "forgotten").glob("*-forgotten"))
        done = in_a_program(script, host)
        assert (done.returncode, done.stderr) == (0, "")
        (path,) = set((host / "forgotten").glob("*-forgotten")) - known
        run = ipw.load_run(path)
        assert run.manifest["status"] == "complete"
        return bool(run.summary["valid"])

    wait_for(saved)  # until the machine was not held up
