from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from doubles.proc import Proc
from doubles.reading import opened, value

from ipw.profilers.base import SensorError
from ipw.profilers.host_load import OWN, Files, open_load, processes_cpu_s, tree
from ipw.profilers.sampler.handle import Sampler
from ipw.profilers.sources import Sources

SECOND = 1_000_000_000


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    made = Proc(tmp_path / "proc")
    monkeypatch.setenv("IPW_PROC", str(made.root))
    monkeypatch.setattr("ipw.profilers.host_load.SHARED_NS", -1)
    return made


def load(*roots: int) -> Sources:
    found = open_load(roots)
    assert found is not None
    return found


def sum_of(proc: Proc, *roots: int) -> float:
    return processes_cpu_s(str(proc.root), tree(str(proc.root), roots), Files())


def files_open() -> int:
    own = Path("/proc/self/fd")
    return len(list(own.iterdir())) if own.is_dir() else 0


def test_what_the_host_worked_leaves_out_waiting_stolen_time_and_guests(proc: Proc) -> None:
    with opened(load(10)) as gauges:
        proc.host(12.5)
        assert value(gauges, "load/host") == 12.5
        proc.host(13.5, idle_s=5000)
        assert value(gauges, "load/host") == 13.5


def test_what_is_ours_is_a_process_and_all_that_it_and_its_threads_started_each_once(proc: Proc) -> None:
    proc.process(10, own_s=1.0, main=[11], worker=[12, 13])
    proc.process(11, own_s=2.0)
    proc.process(12, own_s=4.0, main=[14])
    proc.process(13, own_s=8.0)
    proc.process(14, own_s=16.0)
    proc.process(20, own_s=99.0)
    assert sorted(tree(str(proc.root), [10, 12])) == [10, 11, 12, 13, 14]
    with opened(load(10, 12)) as gauges:
        assert value(gauges, OWN) == 31.0


def test_children_that_ended_are_counted_through_who_waited_for_them(proc: Proc) -> None:
    proc.process(10, own_s=1.0, main=[11])
    proc.process(11, own_s=5.0)
    with opened(load(10)) as gauges:
        assert value(gauges, OWN) == 6.0
        proc.end(11)
        proc.process(10, own_s=1.5, waited_s=5.0)
        assert value(gauges, OWN) == 6.5


def test_a_process_that_nobody_waited_for_takes_no_time_back(proc: Proc) -> None:
    proc.process(10, own_s=1.0, main=[11])
    proc.process(11, own_s=50.0)
    with opened(load(10)) as gauges:
        assert value(gauges, OWN) == 51.0
        proc.end(11)
        proc.process(10, own_s=2.0)
        before = value(gauges, OWN)
        proc.process(10, own_s=4.0)
        assert before >= 51.0
        assert value(gauges, OWN) - before == 2.0


@pytest.mark.parametrize("text", ["", "cpu\n", "cpu  a b c d e f g h\n", "intr 5\n", "\0" * 100])
def test_a_system_that_tells_no_load_has_no_gauges(proc: Proc, text: str) -> None:
    (proc.root / "stat").write_text(text)
    assert open_load([10]) is None


def test_a_system_that_tells_it_no_longer_is_lost(proc: Proc) -> None:
    with opened(load(10)) as gauges:
        os.truncate(proc.root / "stat", 0)
        with pytest.raises(SensorError, match="no longer tells"):
            gauges.read(0)


def test_processes_that_are_gone_or_say_nonsense_add_nothing(proc: Proc) -> None:
    proc.process(10, own_s=1.0, main=[11, 12])
    proc.process(11, own_s=1.0)
    (proc.root / "11" / "stat").write_text("11 nonsense")
    assert sum_of(proc, 10, 4711) == 1.0


def test_who_is_ours_is_looked_for_again_where_a_process_was_started_since(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    listed = os.listdir

    def listing(path: str) -> list[str]:
        looked.append(path)
        return listed(path)

    monkeypatch.setattr(os, "listdir", listing)
    proc.process(10, own_s=1.0)
    proc.newest(10)
    with opened(load(10)) as gauges:
        assert value(gauges, OWN) == 1.0
        proc.process(10, own_s=3.0)
        before = len(looked)
        assert value(gauges, OWN) == 3.0
        assert len(looked) == before
        proc.process(10, own_s=3.0, main=[11])
        proc.process(11, own_s=4.0)
        proc.newest(11)
        assert value(gauges, OWN) == 7.0


def test_a_run_that_starts_none_is_looked_for_ever_more_seldom_beside_others_that_do(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    walks: list[int] = []

    def walked(proc: str, roots: Iterable[int]) -> Iterator[int]:
        walks.append(clock[0] // SECOND)
        return tree(proc, roots)

    monkeypatch.setattr("ipw.profilers.host_load.now_ns", lambda: clock[0])
    monkeypatch.setattr("ipw.profilers.host_load.tree", walked)
    proc.process(10, own_s=1.0)
    with opened(load(10)) as gauges:
        walks.clear()
        for second in range(1, 31):
            clock[0] = second * SECOND
            proc.newest(1000 + second)
            value(gauges, OWN)
        assert walks == [1, 3, 7, 15, 23]
        proc.process(10, own_s=1.0, main=[11])
        proc.process(11, own_s=4.0)
        for second in range(31, 36):
            clock[0] = second * SECOND
            proc.newest(1000 + second)
            assert value(gauges, OWN) == 5.0
        assert walks[5:] == [31, 32, 33, 35]


@pytest.mark.parametrize("text", ["", "0.00 0.00 0.00 0/0 0\n", "0.1 0.2", "a b c d e\n", None])
def test_a_system_that_does_not_name_its_newest_process_is_looked_through_every_time(
    proc: Proc, text: str | None
) -> None:
    proc.process(10, own_s=1.0)
    if text is not None:
        (proc.root / "loadavg").write_text(text)
    with opened(load(10)) as gauges:
        assert value(gauges, OWN) == 1.0
        proc.process(10, own_s=1.0, main=[11])
        proc.process(11, own_s=4.0)
        assert value(gauges, OWN) == 5.0


def test_a_process_of_a_thousand_children_has_them_all(monkeypatch: pytest.MonkeyPatch, proc: Proc) -> None:
    proc.process(10, main=list(range(1_000_000, 1_001_000)))
    assert len(list(tree(str(proc.root), [10]))) == 1001


def test_a_large_family_is_read_whole_though_few_files_are_kept_open(
    proc: Proc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipw.profilers.host_load.KEPT", 3)
    proc.process(10, main=list(range(20, 40)))
    for pid in range(20, 40):
        proc.process(pid, own_s=1.0)
    before = files_open()
    with opened(load(10)) as gauges:
        assert value(gauges, OWN) == 20.0
        assert files_open() <= before + 3
        proc.process(39, own_s=3.0)
        assert value(gauges, OWN) == 22.0
    assert files_open() == before


def test_a_host_whose_looks_are_costly_is_looked_at_more_seldom(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(10).channels[0].poll_s == 1.0
    for cost_s, poll_s in ((0.0004, 2.0), (0.01, 4.0)):
        moments = iter((5.0, 5.0 + cost_s))
        monkeypatch.setattr("ipw.profilers.host_load.process_time", lambda each=moments: next(each))
        assert load(10).channels[0].poll_s == pytest.approx(poll_s)


def test_circles_end(proc: Proc) -> None:
    proc.process(10, own_s=1.0, main=[11])
    proc.process(11, own_s=1.0, main=[10, 11])
    assert sum_of(proc, 10) == 2.0


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="no /proc")
def test_the_true_proc_tells_what_a_child_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPW_PROC", "/proc")
    monkeypatch.setattr("ipw.profilers.host_load.SHARED_NS", -1)
    with opened(load(os.getpid())) as gauges:
        spent_s = [sum(os.times()[:4])]
        host, own = value(gauges, "load/host"), value(gauges, OWN)
        spent_s.append(sum(os.times()[:4]))
        work = "import time\nwhile time.process_time() < 0.3: pass"
        subprocess.run([sys.executable, "-c", work], check=True)
        spent_s.append(sum(os.times()[:4]))
        found = value(gauges, OWN) - own
        spent_s.append(sum(os.times()[:4]))
        assert spent_s[2] - spent_s[1] - 0.1 <= found <= spent_s[3] - spent_s[0] + 0.1
        assert found >= 0.2
        assert value(gauges, "load/host") - host > 0.1


def test_without_proc_psutil_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipw.profilers.host_load.PROC", "/nonexistent")
    monkeypatch.delenv("IPW_PROC")
    with opened(load(os.getpid())) as gauges:
        assert value(gauges, "load/host") > 0
        assert value(gauges, OWN) > 0
        assert gauges.channels[0].poll_s > 1


def test_the_sampler_records_both_behind_all_channels_for_this_process_and_the_servers(
    proc: Proc, tmp_path: Path
) -> None:
    proc.process(os.getpid(), own_s=3.0)
    proc.process(77, own_s=4.0)
    sampler = Sampler.start(tmp_path, "estimate", own=[77])
    stats = sampler.stop()
    names = [channel["name"] for channel in sampler.channels]
    assert names == ["estimate/cpu", "load/host", "load/own"]
    assert [channel["index"] for channel in sampler.channels] == [0, 1, 2]
    assert stats["failures"] == []
