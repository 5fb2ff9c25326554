from __future__ import annotations

import pytest

from ipw.errors import UsageError
from ipw.workloads.lm.http.url import server_url


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
