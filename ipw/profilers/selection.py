"""What `--sensors` says: names by comma, some of which are addresses of sensors that are read over the network."""

from __future__ import annotations

from collections.abc import Sequence

NETWORK = ("http://", "https://", "dcgm:", "prometheus:")
"""How the name of a sensor begins that is an address: a machine that serves its sensors, or an exporter."""
PAIRS = {"{": "}", "(": ")", "[": "]"}
QUOTES = "\"'"


def names_of(selection: str) -> list[str]:
    """List the names, each once; a comma within brackets or quotes is part of a name, as in a query's labels."""
    names: list[str] = []
    open_until: list[str] = []
    begin = 0
    for place, letter in enumerate(selection):
        if open_until and letter == open_until[-1]:
            open_until.pop()
        elif open_until and open_until[-1] in QUOTES:
            continue
        elif letter in PAIRS or letter in QUOTES:
            open_until.append(PAIRS.get(letter, letter))
        elif letter == "," and not open_until:
            names.append(selection[begin:place])
            begin = place + 1
    stripped = [name.strip() for name in [*names, selection[begin:]]]
    return list(dict.fromkeys(name for name in stripped if name))


def is_elsewhere(name: str) -> bool:
    """Whether a name is an address."""
    return name.lower().startswith(NETWORK)


def prefixes(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name the machine of each address, and with what the names of its channels begin: `HOST`, or `HOST/dcgm`.

    Where two addresses would give the same, as the ends of two tunnels do, the ports tell them apart.
    """
    found: dict[str, tuple[str, str]] = {}
    for name in filter(is_elsewhere, names):
        kind, _, url = name.partition(":")
        family = f"/{kind.lower()}" if kind.lower() in {"dcgm", "prometheus"} else ""
        host, port = _host_and_port(url if family else name)
        machines = [host, f"{host}:{port}", *(f"{host}:{port}-{count}" for count in range(2, len(names) + 2))]
        taken = set(found.values())
        found[name] = next((m, m + family) for m in machines if (m, m + family) not in taken)
    return found


def _host_and_port(url: str) -> tuple[str, str]:
    from urllib.parse import urlsplit  # the sampler does without, where nothing is read over the network

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url, ""
    return f"[{host}]" if ":" in host else host, str(port or "")
