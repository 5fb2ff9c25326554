"""Changes the code a little, one place at a time, and asks whether a test notices: `make mutants`.

Seeded, and a sample: mutmut and cosmic-ray try every place, keep a database and start pytest anew for each, which takes
days here. This one learns once which test runs which line (kept in build/), collects all tests once, and forks that
process for each mutant, in a copy of the tree; the fork runs the tests of that line alone, the quickest first, up to
the first failure. A mutant whose tests run out of time counts as noticed and is told apart. One that changes nothing
is listed in equivalent_mutants.toml with the reason; it is not tried, and counts neither as noticed nor as missed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mutation import Mutant, mutants_of
from mutation_tests import Known, Learning, Tests, asked
from mutation_trial import Trial, Trials, forked, run_pytest

ROOT = Path(__file__).resolve().parents[1]
FILES: dict[str, tuple[str, ...]] = {
    "energy": ("ipw/energy/**/*.py",),
    "runs": ("ipw/runs/**/*.py",),
    "gate": ("ipw/gate/*.py",),
    "profilers": ("ipw/profilers/**/*.py",),
    "client": ("ipw/workloads/lm/http/*.py",),
}
"""By part of the code."""
PICTURES = {"trend_chart.py"}
"""Whose numbers are places on a page."""
DECIDES = (
    *(f"tests/{folder}/**/test_*.py" for folder in ("energy", "runs", "gate", "metrics")),
    *("tests/test_gate*.py", "tests/test_merge.py", "tests/verbs/test_compare_trend.py"),
    *(f"tests/workloads/lm/test_{name}.py" for name in ("arrivals", "score_run")),
)
CLIENT = (
    *("alike", "any_stream", "client", "completion", "content_coding", "dialects", "http_*", "refusals"),
    *("reply_limits", "server_url", "server_words", "sse", "token_counts"),
)
TESTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("energy", "runs", "gate"), DECIDES),
    "profilers": ("tests/profilers/**/test_*.py",),
    "client": (*(f"tests/workloads/lm/http/test_{name}.py" for name in CLIENT), "tests/workloads/lm/test_timings.py"),
}
"""Which are asked."""
EQUIVALENT = "equivalent"
Equivalent = dict[tuple[str, str], str]
"""By file and line as changed: why that changes nothing."""


def copied(folder: Path) -> Path:
    """Copy the tree as git lists it, so that no mutant ever stands in the working tree."""
    names = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def files_of(patterns: Sequence[str], copy: Path) -> list[Path]:
    """Give each file once, in the order of the patterns."""
    found = (path for pattern in patterns for path in sorted(copy.glob(pattern)))
    return list(dict.fromkeys(path for path in found if path.name not in PICTURES))


def learnt(path: Path, copy: Path, rooms: Sequence[str], only: Sequence[str], until: float) -> Tests:
    """Learn what is not known yet, a test file at a time, each in a fork: no more is lost than one when it is ended."""
    known = Known(path, copy)
    patterns = [pattern for room in rooms for pattern in TESTS[room]]
    test_files = [file for file in files_of(patterns, copy) if any(part in str(file) for part in only)]
    every = [pattern for patterns in FILES.values() for pattern in patterns]
    stale = known.stale(test_files)
    for count, test_file in enumerate(stale, 1):
        began, found = time.monotonic(), copy / "learnt.json"
        found.unlink(missing_ok=True)

        def job(test_file: Path = test_file, found: Path = found) -> int:
            plugin = Learning(copy, files_of(every, copy))
            code = run_pytest([str(test_file.relative_to(copy))], plugin)
            plugin.keep(found)
            return code

        code = forked(job, 900, 1800)
        if code not in {0, 1, 5}:
            sys.exit(f"{test_file.relative_to(copy)} does not run: pytest ends with {code}")
        known.learn(test_file, Learning.kept(found))
        if time.monotonic() > until and count < len(stale):
            sys.exit(f"learnt {count} of {len(stale)} files of tests; the next call learns the rest")
        print(f"learnt {count} of {len(stale)} files of tests: {test_file.name}, {time.monotonic() - began:.0f} s")
    return known.tests(test_files)


def equivalents(path: Path) -> Equivalent:
    """Read the table of what changes nothing."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return {(entry["file"], entry["becomes"]): entry["why"] for entry in table}


def main() -> None:
    """Learn, sample, try, and print what nobody noticed."""
    parser = argparse.ArgumentParser(description="Samples mutants of the code that decides, and lists the survivors.")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of them: a call before tried these")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing further after so long")
    parser.add_argument("--rooms", default="energy,runs,gate", help=f"parts of the code, of {', '.join(FILES)}")
    parser.add_argument("--only", default="", help="files whose path holds one of these, with commas between")
    parser.add_argument("--tests", default="", help="the same, of tests: ask no others")
    parser.add_argument("--unchanged", action="store_true", help="change nothing: all must survive, or tests are shaky")
    parser.add_argument("--doubt", action="store_true", help="try those that are listed as equivalent, and no others")
    parser.add_argument(
        "--learned", type=Path, default=ROOT / "build/mutants.json", help="where what was learnt is kept"
    )
    options = parser.parse_args()
    os.nice(3)
    until, learned = time.monotonic() + 60 * options.minutes, options.learned.absolute()
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    import numpy as np  # noqa: F401 - the forks share them
    import pyarrow.parquet  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="ipw-mutants-") as name:
        copy = copied(Path(name).resolve())
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)  # where children find ipw too: tests add to it and replace it by nothing
        rooms = options.rooms.split(",")
        room_of = {path: room for room in rooms for path in files_of(FILES[room], copy)}
        places = [mutant for path in room_of for mutant in mutants_of(path, copy)]
        every = [mutant for mutant in places if any(part in mutant.file for part in options.only.split(","))]
        tests = learnt(learned, copy, rooms, options.tests.split(","), until)
        failed = [test for test, told in tests.items() if not told["ok"]]
        print(f"{len(tests)} tests; not asked, since they fail or skip unchanged: {len(failed)}")
        sample = random.Random(options.seed).sample(every, min(options.n, len(every)))[options.skip :]
        same = equivalents(ROOT / "tools/equivalent_mutants.toml")
        mine = {(file, becomes) for file, becomes in same if copy / file in room_of}
        for file, becomes in mine - {(mutant.file, mutant.becomes) for mutant in places}:
            print(f"no longer a change that could be made, take it out of the table: {file}: {becomes}")
        if options.doubt:
            sample, same = [mutant for mutant in every if (mutant.file, mutant.becomes) in same], {}
        if options.unchanged:
            sample = [mutant._replace(new=mutant.old) for mutant in sample]
        ends = tried(copy, sample, room_of, tests, same, until)
        print(f"seed {options.seed}, {sum(map(Counter.total, ends.values()))} of {len(every)} places")
        for room, counts in [*sorted(ends.items()), ("all", sum(ends.values(), Counter()))]:
            print(f"{room:9} {score(counts)}  {dict(counts)}")


def score(counts: Counter[str]) -> str:
    """Tell the share that was noticed, of those that change anything."""
    trials = counts.total() - counts[EQUIVALENT]
    noticed = trials - counts["SURVIVED"] - counts["NO TEST"]
    return f"{noticed}/{trials} = {noticed / (trials or 1):.1%}"


def tried(
    copy: Path,
    sample: Sequence[Mutant],
    room_of: Mapping[Path, str],
    tests: Tests,
    same: Equivalent,
    until: float,
) -> dict[str, Counter[str]]:
    """Try each, print who survives, and count the ends by part of the code."""
    ends: dict[str, Counter[str]] = {}

    def tell(mutant: Mutant, end: str) -> bool:
        ends.setdefault(room_of[copy / mutant.file], Counter())[end] += 1
        count, change = sum(map(Counter.total, ends.values())), f"{mutant.old!r} -> {mutant.new!r}"
        if end in {"SURVIVED", "NO TEST", "broke"}:
            print(f"{count:4} {end} {mutant.file}:{mutant.line}: {change}: {mutant.becomes}")
        elif count % 20 == 0:
            print(f"{count:4} tried")
        return time.monotonic() > until

    trials: list[Trial] = []
    for mutant in sample:
        names = asked(mutant, tests, copy)
        if (mutant.file, mutant.becomes) in same:
            tell(mutant, EQUIVALENT)
        elif not names:
            tell(mutant, "NO TEST")
        else:
            trials.append((mutant, names, 3 + sum(float(tests[name]["s"]) for name in names)))
    if trials:
        files = sorted({name.partition("::")[0] for _, names, _ in trials for name in names})
        run_pytest(files, Trials(trials, copy, tell))
    return ends


if __name__ == "__main__":
    main()
