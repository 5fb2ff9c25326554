"""Serving the sensors of a machine: where it listens, what it tells, and that a signal ends it in good order."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from doubles.powercap import Powercap

from ipw.clock import boot_id
from ipw.errors import IpwError, UsageError
from ipw.profilers.remote.serving import address_of, serve, token_of


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Signals do afterwards what they did before."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("listen", "number"), [("127.0.0.1:0", signal.SIGTERM), ("[::1]:0", signal.SIGINT)])
def test_it_tells_what_there_is_until_a_signal_ends_it(
    listen: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IPW_SENSORS_TOKEN", raising=False)
    host = listen.removesuffix(":0")
    try:
        socket.create_server((host.strip("[]"), 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"{host} is not here")
    tree = Powercap(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0")
    monkeypatch.setenv("IPW_POWERCAP", str(tree.root))
    heard: list[Any] = []

    def say(url: str, facts: dict[str, Any]) -> None:
        with urlopen(f"{url}/v1/channels", timeout=60) as answer:
            heard.extend([url, facts, json.load(answer)])
        os.kill(os.getpid(), number)

    with tree.drawing({"intel-rapl:0": 50.0}):
        serve("rapl", listen, None, None, say)
    url, facts, told = heard
    assert url.startswith(f"http://{host}:")
    assert facts.items() <= told.items()
    assert (told["service"], told["version"], told["host"]) == ("ipw sensors", 1, platform.node())
    boot = boot_id()
    assert told["boot"] == (sha256(f"ipw {boot}".encode()).hexdigest() if boot else None)
    assert [(channel["name"], channel["index"]) for channel in told["channels"]] == [("rapl/package-0", 0)]
    assert told["failures"] == []
    assert told["oldest"] == 0
    assert told["next"] > 0  # what is told first was read before it was said that readers may come
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{url}/v1/clock", timeout=60)


def test_where_nothing_can_be_read_nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IPW_SENSORS_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(IpwError, match=f"cannot listen at 127.0.0.1:{port}: Address already in use"):
            serve("rapl", f"127.0.0.1:{port}", None, None, lambda *_: None)
    for _ in range(2):  # and the port is free again
        with pytest.raises(IpwError, match="no sensor of this machine can be read"):
            serve("rapl", f"127.0.0.1:{port}", None, None, lambda *_: pytest.fail("it is served"))


def test_a_key_without_a_certificate_and_a_certificate_that_is_none_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "odd.pem").write_text("odd")
    with pytest.raises(UsageError, match="there is a key, and no --certificate"):
        serve("rapl", "127.0.0.1:0", None, tmp_path / "odd.pem", lambda *_: None)
    with pytest.raises(UsageError, match=r"none\.pem and its key cannot be used: No such file"):
        serve("rapl", "127.0.0.1:0", tmp_path / "none.pem", None, lambda *_: None)
    with pytest.raises(UsageError, match=r"odd\.pem and its key cannot be used"):
        serve("rapl", "127.0.0.1:0", tmp_path / "odd.pem", None, lambda *_: None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:5", ("127.0.0.1", 5)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.0.0.1", ("127.0.0.1", 9321)),
        ("127.0.0.1:", ("127.0.0.1", 9321)),
        (":8", ("0.0.0.0", 8)),
        ("[::1]:7", ("::1", 7)),
        ("::1", None),
        ("127.0.0.1:5/x", None),
        ("127.0.0.1:5?x", None),
        ("127.0.0.1:5#x", None),
        ("a@127.0.0.1:5", None),
        ("http://127.0.0.1:5", None),
        ("127.0.0.1:65536", None),
        ("127.0.0.1:-1", None),
    ],
)
def test_an_address_to_listen_at_is_a_host_and_a_port(text: str, found: tuple[str, int] | None) -> None:
    if found:
        assert address_of(text) == found
        return
    with pytest.raises(UsageError) as told:
        address_of(text)
    assert "--listen 127.0.0.1:9321" in str(told.value.hint)


def test_a_token_has_sixteen_characters_or_more_that_a_header_can_carry() -> None:
    assert token_of(None) is token_of("") is None
    assert token_of("0123456789abcdef") == "0123456789abcdef"
    for token in ("0123456789abcde", "0123456789abcde ", "0123456789abcdé", "0123456789abcd\x7fe"):
        with pytest.raises(UsageError):
            token_of(token)
