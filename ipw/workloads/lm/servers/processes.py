"""Which processes of this machine a server is: those that listen where it is asked, as far as they can be seen."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ipw.system import command_line, process_name

PROC = Path("/proc")
LISTENS = "0A"
MOST_PROCESSES = 4096
FORWARDERS = {
    "ssh", "sshd", "socat", "nginx", "haproxy", "caddy", "traefik", "envoy", "kubectl", "conmon", "pasta",
    "rootlessport", "rootlesskit", "slirp4netns",
}  # fmt: skip
"""Listen for a server that is another process."""


class Found(NamedTuple):
    """The processes of a server, or why none is seen."""

    pids: tuple[int, ...] = ()
    reason: str | None = None


class Listener(NamedTuple):
    """A socket that listens, as the kernel lists it."""

    inode: str
    uid: int


def server_processes(host: str, port: int) -> Found:
    """Find who listens for a server of this machine: in our network namespace, or in that of a container.

    Of a user whose files may not be read, all processes are taken for the server, unless that is root or ourselves.
    """
    listeners = set(_listeners(PROC / "self" / "net", port))
    if not listeners:
        return _in_a_container(host, port)
    pids = _holders({each.inode for each in listeners})
    names = {process_name(pid) or "" for pid in pids}
    if names == {"docker-proxy"}:
        words = command_line(pids[0])
        options = dict(pairwise(words))
        inside = options.get("-container-port", "")
        return _in_a_container(options.get("-container-ip", ""), int(inside) if inside.isdigit() else port)
    if forwarder := names & FORWARDERS:
        return Found(reason=f"{', '.join(sorted(forwarder))} stands before it")
    if pids:
        return Found(tuple(pids))
    users = {each.uid for each in listeners} - {0, os.getuid()}
    theirs = tuple(pid for user in users for pid in _of_user(user))
    return Found(theirs) if theirs else Found(reason="it is another user's, whose processes may not be looked into")


def _in_a_container(host: str, port: int) -> Found:
    """Look where the address is: in the one other network namespace that has it and listens at the port."""
    found: dict[str, list[int]] = {}
    with suppress(OSError, UnicodeError):
        host = str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    for namespace, net in _namespaces():
        listeners = set(_listeners(net, port))
        if listeners and _has(net, host):
            found[namespace] = _holders({each.inode for each in listeners})
    pids = next(iter(found.values()), []) if len(found) == 1 else []
    return Found(tuple(pids)) if pids else Found(reason="who listens there cannot be seen from here")


def _listeners(net: Path, port: int) -> Iterator[Listener]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in (net / table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    yield Listener(words[9], int(words[7]))


def _holders(inodes: set[str]) -> list[int]:
    """List the processes that hold one of these sockets open, where their files may be looked at."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return sorted(pid for pid, folder in _processes() if wanted & set(_links(folder / "fd")))


def _links(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for entry in os.scandir(folder):
            with suppress(OSError):
                yield os.readlink(entry.path)  # noqa: PTH115 - a link to no file


def _of_user(uid: int) -> Iterator[int]:
    for pid, folder in _processes():
        with suppress(OSError):
            if folder.stat().st_uid == uid:
                yield pid


def _processes() -> Iterator[tuple[int, Path]]:
    for count, folder in enumerate(PROC.glob("[0-9]*")):
        if count >= MOST_PROCESSES:
            return
        yield int(folder.name), folder


def _namespaces() -> Iterator[tuple[str, Path]]:
    """Yield each network namespace but our own once."""
    seen: set[str] = set()
    with suppress(OSError):
        seen.add(os.readlink(PROC / "self" / "ns" / "net"))  # noqa: PTH115 - a link to no file
    for _, folder in _processes():
        with suppress(OSError):
            namespace = os.readlink(folder / "ns" / "net")  # noqa: PTH115 - likewise
            if namespace not in seen:
                seen.add(namespace)
                yield namespace, folder / "net"


def _has(net: Path, address: str) -> bool:
    """Whether an address is one of a namespace's own."""
    try:
        ip = ip_address(address.partition("%")[0])
        text = (net / ("fib_trie" if ip.version == 4 else "if_inet6")).read_text()
    except (OSError, ValueError):
        return False
    return f"|-- {ip}\n" in text if ip.version == 4 else ip.packed.hex() in text
