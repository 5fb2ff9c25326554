"""What `make bench` writes: every figure with its command, and what could not be measured told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench.parts.routing_reference import hits, plain_hit_rates
from bench_page import BENCHES, Bench, Outcome, _load, outcome, page
from bench_peers import PEERS, Peer
from workloads.routing.simulation import simulate, trace

ROOT = Path(__file__).parents[2]
ALL = {name: Peer(name, "1.0") for name in PEERS}
BESIDE = ("codecarbon", "zeus")


def part(command: str, *, markdown: bool = False) -> Bench:
    return Bench(
        "part", "A part", "What it tells.", "What it hides.", lambda *_: ["-c", command], BESIDE, markdown=markdown
    )


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("bench", BENCHES, ids=lambda bench: bench.name)
def test_every_benchmark_is_a_program_of_the_tree_with_the_options_that_it_is_given(bench: Bench, quick: bool) -> None:
    for peers in (ALL, {}):
        program, *words = bench.command(peers, quick)
        source = (ROOT / program).read_text()
        for option in (word for word in words if word.startswith("--")):
            name = option.removeprefix("--")
            assert f'"{option}"' in source or f'"{name}"' in source or name in PEERS, option
        named = {word.removeprefix("--") for word in words} & set(PEERS)
        assert named <= set(bench.beside) & set(peers)


def test_a_benchmark_that_fails_is_told_with_its_last_words_and_what_it_printed() -> None:
    failed = outcome(part("print('a figure'); raise SystemExit('no such thing')"), {}, quick=True)
    assert failed.printed == "a figure"
    assert failed.failure == "it ended with 1: no such thing"
    text = page([failed], [], {})
    assert "**This benchmark failed**: it ended with 1: no such thing." in text
    assert "a figure" in text


def test_the_page_says_nothing_of_where_the_tree_lies() -> None:
    told = outcome(
        part("import os; print('at', os.getcwd() + '/x'); raise SystemExit(os.getcwd() + '/y')"), {}, quick=True
    )
    assert (told.printed, told.failure) == ("at x", "it ended with 1: y")


def test_the_page_has_each_command_beside_its_figures_and_tells_what_was_not_here() -> None:
    here, absent = Peer("codecarbon", "3.3"), Peer("zeus", why_not="ERROR: No matching distribution found for zeus")
    plain = Outcome(part(""), "python tools/bench/x.py --seconds 10", 12.0, "ipw 1.00")
    table = Outcome(part("", markdown=True), "python tools/bench/y.py", 3.0, "| a |\n|---|\n| 1 |")
    text = page([plain, table], [here, absent], {"processor": "two cores"})
    assert "| codecarbon | 3.3 |" in text
    assert "| zeus | not installed here: ERROR: No matching distribution found for zeus |" in text
    assert text.count("Not here, so not measured: zeus.") == 2
    assert text.count("*Not shown*: What it hides.") == 2
    assert "`python tools/bench/x.py --seconds 10` in 12 s:\n\n```text\nipw 1.00\n```" in text
    assert "`python tools/bench/y.py` in 3 s:\n\n| a |" in text
    assert "| processor | two cores |" in text


def test_the_page_names_the_benchmarks_that_it_lacks_and_only_tools_that_were_beside() -> None:
    routing = next(bench for bench in BENCHES if bench.name == "routing")
    text = page([Outcome(routing, "", 1.0, "0.1 ms")], list(ALL.values()), {})
    assert f"This page holds 1 of {len(BENCHES)} benchmarks. **Not measured here**: " in text
    assert all((bench.title in text.partition("|")[0]) == (bench is not routing) for bench in BENCHES)
    assert "other tool" not in text, "it has nothing of them"
    failed = page([Outcome(routing, "", 1.0, "", "it ended with 1: no")], [], {})
    assert f"This page holds 0 of {len(BENCHES)} benchmarks." in failed
    whole = page([Outcome(bench, "", 1.0, "1") for bench in BENCHES], list(ALL.values()), {})
    assert "Not measured here" not in whole
    assert all(f"| {name} | 1.0 |" in whole for name in PEERS)


@pytest.mark.parametrize(("load", "busy"), [(1.5, False), (12.5, True), (None, False)])
def test_the_page_says_where_the_machine_was_busy(load: float | None, busy: bool) -> None:
    assert ("**busy**" in _load(load, 2)) == busy


def test_each_benchmark_says_how_much_other_programs_computed_meanwhile() -> None:
    alone, crowded = (page([Outcome(part(""), "python x.py", 3.0, "1", "", others)], [], {}) for others in (0.04, 1.46))
    assert "in 3 s; other programs used 0.0 processors meanwhile:\n" in alone
    assert "used 1.5 processors meanwhile: **busy**" in crowded
    known = outcome(part("pass"), {}, quick=True).others
    assert known is not None
    assert known >= 0


@pytest.mark.parametrize("policy", ["lru", "lfu", "sch"])
def test_the_plain_caches_count_as_the_simulation_of_one_cache_does(policy: str) -> None:
    experts = trace(np.random.default_rng(3), 30, 12, 3)
    for size in (1, 4, 11):
        assert hits(experts.tolist(), policy, size, 5) == simulate(experts, policy, size, 5)
    assert plain_hit_rates(experts.tolist(), 12, policy, 5)[-1] == 1.0, "all first uses find room"


def test_start_up_measures_a_command_and_tells_why_one_failed(tmp_path: Path) -> None:
    from bench.startup import took

    cpu_s, wall_s = took([sys.executable, "-c", "sum(range(10**6))"], tmp_path)
    assert cpu_s > 0
    assert wall_s > 0
    with pytest.raises(subprocess.SubprocessError, match="no such luck"):
        took([sys.executable, "-c", "raise SystemExit('no such luck')"], tmp_path)
