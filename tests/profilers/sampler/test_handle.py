"""The parent's side, against processes that say and do as they please."""

from __future__ import annotations

import selectors
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doubles.clock import Clock
from doubles.patience import wait_for

from ipw.profilers.sampler import handle
from ipw.profilers.sampler.handle import Sampler

Begin = Callable[..., Sampler]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Hold a shell script as if it were the sampler. It has begun to wait when this returns."""
    begun: list[subprocess.Popen[bytes]] = []

    def hold(script: str, *channels: dict[str, Any], said: str = "") -> Sampler:
        log = tmp_path / "sampler.log"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                ["sh", "-c", f"trap stop=1 TERM; echo ready; {script}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        log.write_text(said)
        return Sampler(process, log, list(channels))

    yield hold
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.wait()


WAITS = """while [ -z "$stop" ]; do sleep 0.01; done"""
"""Until it is told to stop."""


@pytest.mark.parametrize(
    ("says", "stats"),
    [
        ("""{"reads": 5}\n""", {"reads": 5}),
        ("""{"reads": 5}\n{"reads": 6}\n""", {"died": "it ended with code 3"}),
        ("""{"reads": 5}""", {"reads": 5}),
        ("""[5]\n""", {"died": "it ended with code 3"}),
        ("""{"reads": \n""", {"died": "it ended with code 3"}),
        ("", {"died": "it ended with code 3"}),
    ],
)
def test_it_is_told_to_stop_and_what_it_says_then_is_its_statistics(
    says: str, stats: dict[str, Any], begin: Begin, tmp_path: Path
) -> None:
    sampler = begin(f"{WAITS}; printf '{says}'; exit 3")
    assert sampler.alive()
    assert sampler.stop() == stats
    assert not sampler.alive()
    assert sampler.stop() == stats
    assert not (tmp_path / "sampler.log").exists()


def test_what_is_said_in_two_pieces_is_one_line(begin: Begin) -> None:
    sampler = begin(f"""{WAITS}; printf '{{"reads"'; sleep 0.05; printf ': 5}}\\n'""")
    assert sampler.stop() == {"reads": 5}


def test_its_last_words_are_told_and_kept(begin: Begin, tmp_path: Path) -> None:
    sampler = begin(f"{WAITS}; exit 3", said="first\n the driver is on fire \n\n  \n")
    assert sampler.stop() == {"died": "it ended with code 3: the driver is on fire"}
    assert (tmp_path / "sampler.log").exists()


@pytest.mark.parametrize(("signal", "name"), [("KILL", "SIGKILL"), ("USR1", "SIGUSR1")])
def test_a_signal_that_ended_it_is_named(signal: str, name: str, begin: Begin) -> None:
    assert begin(f"kill -{signal} $$; sleep 60").stop() == {"died": f"it was killed by {name}"}


def test_what_does_not_end_is_killed(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle, "STOP_TIMEOUT_S", 0.05)
    monkeypatch.setattr(Sampler._end, "__defaults__", (0.05,))
    sampler = begin("trap '' TERM; exec sleep 600")
    assert sampler.stop() == {"died": "it was killed by SIGKILL"}
    assert not sampler.alive()


@pytest.mark.parametrize(
    ("channels", "waited_s"),
    [
        ([], 20.0),
        ([{"age_periods": 0.0, "update_period_s": 60.0}, {"update_period_s": 60.0}], 20.0),
        ([{"age_periods": 1.0, "update_period_s": None}, {"age_periods": 1.0}], 20.0),
        ([{"age_periods": 1.0, "update_period_s": 30.0}, {"age_periods": 1.0, "update_period_s": 1e-3}], 80.0),
    ],
)
def test_it_is_waited_for_as_long_as_the_exporters_that_it_waits_for(
    channels: list[dict[str, Any]], waited_s: float, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits_s: list[float | None] = []

    class Noting(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            waits_s.append(timeout)
            return super().select(timeout)

    sampler = begin(f"""{WAITS}; echo '{{"reads": 5}}'""", *channels)
    monkeypatch.setattr(handle, "selectors", SimpleNamespace(**vars(selectors) | {"DefaultSelector": Noting}))
    Clock(0).drives(handle, monkeypatch)
    assert sampler.stop() == {"reads": 5}
    assert waits_s == [waited_s]


def test_it_lives_until_it_ends(begin: Begin) -> None:
    sampler = begin("exit 0")
    wait_for(lambda: not sampler.alive())
    assert sampler.stop() == {"died": "it ended with code 0"}
    assert sampler.pid > 0
