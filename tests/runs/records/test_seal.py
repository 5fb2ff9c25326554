"""Only this user can seal what a run may execute."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ipw.runs.checks.seal import is_sealed, seal

FACTS = {"serve": "vllm serve m --port {port}", "base_url": None, "idle_s": 3.0}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_what_this_user_sealed_is_known_again_in_any_order() -> None:
    assert is_sealed(dict(reversed(FACTS.items())), seal(FACTS))


@pytest.mark.parametrize("change", [{"serve": "rm -r ~ {port}"}, {"base_url": "http://evil.example"}, {"idle_s": 3.1}])
def test_what_was_changed_is_not_believed(change: dict[str, object]) -> None:
    assert not is_sealed(FACTS | change, seal(FACTS))


@pytest.mark.parametrize("found", [None, "", "0" * 64, 7, ["x"], "ä"])
def test_what_is_no_seal_is_not_believed(found: object) -> None:
    assert not is_sealed(FACTS, found)


def test_another_users_seal_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = seal(FACTS)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert not is_sealed(FACTS, found)


def test_the_key_is_this_users_alone_and_one_that_others_can_read_is_not_used(state: Path) -> None:
    found = seal(FACTS)
    key = state / "ipw" / "seal.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    assert seal(FACTS) is None
    assert not is_sealed(FACTS, found)


def test_without_a_folder_nothing_is_sealed_and_nothing_believed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(state / "file"))
    assert seal(FACTS) is None
    assert not is_sealed(FACTS, None)


def test_processes_that_make_the_key_at_once_agree() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: seal(FACTS), range(64)))) == 1
