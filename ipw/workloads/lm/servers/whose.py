"""Whose joules a run holds: whether the server that answers and the sensors that are read are of one machine."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from ipw.errors import UsageError
from ipw.workloads.lm.servers.place import Place


def whose(server: str, place: Place, channels: Sequence[Mapping[str, Any]], sensors_of: str | None) -> dict[str, Any]:
    """Say on which machine the server at the host `server` is, by the names that channels have for machines.

    `sensors_of` is the user's own word: the host whose sensors are read. For the manifest's `server`: `machine` is the
    name of one, where the server is there and not here. Raises UsageError where the word names neither.
    """
    named = [str(c["host"]) for c in channels if c.get("host") and c.get("in_total")]
    hosts = list(dict.fromkeys(named))
    if sensors_of is not None:
        return _as_told(server, hosts, sensors_of)
    if place.local:
        return {}
    theirs = addresses(server)
    found = next((host for host in hosts if theirs & addresses(_bare(host))), None)
    return {} if found is None else {"machine": found, "told_by": f"its address is that of the sensors of {found}"}


def _as_told(server: str, hosts: Sequence[str], sensors_of: str) -> dict[str, Any]:
    told_by = f"--sensors-of {sensors_of} says so"
    same = next((host for host in hosts if _one(sensors_of, _bare(host))), None)
    if same is not None:
        return {"machine": same, "told_by": told_by}
    if not _one(sensors_of, server):
        known = " or ".join(dict.fromkeys([server, *map(_bare, hosts)]))
        raise UsageError(f"{sensors_of} is neither the server's host nor that of sensors", f"--sensors-of {known}")
    if len(hosts) > 1:
        told = " or ".join(map(_bare, hosts))
        raise UsageError(f"which of the machines whose sensors are read is {server}?", f"--sensors-of {told}")
    return {"machine": hosts[0], "told_by": told_by} if hosts else {"local": True, "told_by": told_by}


def addresses(host: str) -> set[str]:
    """Look a host's addresses up, but those that every machine calls its own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    plain = {str(address[0]).partition("%")[0] for *_, address in found}
    return {each for each in plain if not ip_address(each).is_loopback}


def _one(host: str, other: str) -> bool:
    return host.lower() == other.lower() or bool(addresses(host) & addresses(other))


def _bare(name: str) -> str:
    """A host without the port by which it was told apart, and without brackets."""
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]
