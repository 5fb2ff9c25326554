"""Whether a server computes on this machine, whose sensors are read, or elsewhere."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import NamedTuple

from ipw.system import networks

MOST_PROCESSES = 4096
PROC, INTERFACES = Path("/proc"), Path("/sys/class/net")


class Place(NamedTuple):
    """Where a server is, for the manifest."""

    local: bool
    how: str
    """What it was told by."""


STARTED_HERE = Place(True, "ipw started it")


def place(host: str, *, here: bool = False) -> Place:
    """Say where the server at `host` computes; `here` is the user's own word for this machine.

    It is here if every address of the host is this machine's, or that of a container on it: an address of another
    network namespace of this machine (seen through /proc), or one behind a bridge that no wire leaves. A tunnel's end
    looks local. A host that cannot be found is not told to be elsewhere: the connection tells.
    """
    if here:
        return Place(True, "--server-here says so")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Place(True, "its name cannot be looked up")
    addresses = {(family, str(address[0])) for family, *_, address in found}
    if all(_is_own(family, address) for family, address in addresses):
        return Place(True, "its address is this machine's")
    foreign = {_plain(address) for family, address in addresses if not _is_own(family, address)}
    if foreign <= _in_namespaces(foreign):
        return Place(True, "its address is in a network namespace of this machine, as of a container")
    if all(_behind_a_bridge(address) for address in foreign):
        return Place(True, "its address is behind a bridge of this machine, as of a container")
    return Place(False, "its address is not this machine's")


def _is_own(family: int, address: str) -> bool:
    if ip_address(_plain(address)).is_loopback:
        return True
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _plain(address: str) -> str:
    """An address without its interface, as `fe80::1%eth0` has it."""
    return address.partition("%")[0]


def _in_namespaces(wanted: set[str]) -> set[str]:
    """Those of the addresses that belong to a network namespace in which a process of this machine lives."""
    found: set[str] = set()
    seen: set[str] = set()
    for count, net in enumerate(PROC.glob("[0-9]*/net")):
        if count >= MOST_PROCESSES or found >= wanted:
            break
        with suppress(OSError):
            namespace = (net.parent / "ns" / "net").readlink().name
            if namespace in seen:
                continue
            seen.add(namespace)
        with suppress(OSError, ValueError):
            found |= wanted & set(_addresses(net))
    return found


def _addresses(net: Path) -> Iterator[str]:
    """Yield a namespace's addresses: IPv4 from the routes that the kernel calls local, IPv6 from the interfaces."""
    last = ""
    for line in (net / "fib_trie").read_text().splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            yield last
    for line in (net / "if_inet6").read_text().splitlines():
        yield str(ip_address(bytes.fromhex(line.split()[0])))


def _behind_a_bridge(address: str) -> bool:
    """Whether an interface's subnet holds the address, and the interface is a bridge of virtual links alone."""
    for name, own, mask in networks():
        with suppress(ValueError, OSError):
            within = ip_address(address) in ip_interface(f"{_plain(own)}/{mask}").network
            if within and _leads_to_no_wire(INTERFACES / name):
                return True
    return False


def _leads_to_no_wire(interface: Path) -> bool:
    """Whether it is a bridge none of whose ports is a device of the machine."""
    if not (interface / "bridge").is_dir():
        return False
    ports = (interface.parent / port.name for port in (interface / "brif").iterdir())
    return not any((port / "device").exists() or (port / "bonding").exists() for port in ports)
