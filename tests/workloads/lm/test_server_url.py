from __future__ import annotations

import socket

import pytest

from ipw.errors import UsageError
from ipw.workloads.lm.server_url import is_local, server_url


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("https://host/api/openai", "https://host/api/openai"),
        ("http://[::1]:9/v1", "http://[::1]:9/v1"),
        (" http://HOST:80 ", "http://host/v1"),
    ],
)
def test_a_url_is_read_as_people_write_it(given: str, meant: str) -> None:
    assert str(server_url(given)) == meant


@pytest.mark.parametrize(
    "given",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://a b/",
        "http://h\nx",
    ],
)
def test_what_is_no_url_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        server_url(given)


@pytest.mark.parametrize("given", ["http://me:hidden@host/v1", "http://host/v1?key=hidden", "http://host/v1#hidden"])
def test_a_url_that_may_hold_a_secret_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        server_url(given)
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", socket.gethostname()])
def test_loopback_and_own_addresses_are_this_machine(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_that_no_socket_here_can_have_is_another_machine(host: str) -> None:
    assert not is_local(host)


def test_a_host_that_cannot_be_found_is_left_to_the_connection() -> None:
    assert is_local("no-such-host.invalid")
