from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ipw.workloads.lm.servers import processes as module
from ipw.workloads.lm.servers.processes import Found, server_processes

SERVER = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


def test_a_server_is_the_process_that_listens_at_its_port() -> None:
    child = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline())
        assert server_processes("127.0.0.1", port) == Found((child.pid,))
    finally:
        child.communicate(b"\n")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_a_server_that_listens_on_ipv6_is_found_too() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6) as listener:
        assert server_processes("localhost", listener.getsockname()[1]) == Found((os.getpid(),))


def test_where_nobody_listens_nobody_is_found_and_it_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert server_processes("127.0.0.1", port) == Found(reason="who listens there cannot be seen from here")


class Machine:
    """A /proc of our own: network namespaces, who listens in them, and whose files may be looked at."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.names, self.words = root, dict[int, str](), dict[int, list[str]]()
        self.users: dict[int, int] = {}
        monkeypatch.setattr(module, "PROC", root)
        monkeypatch.setattr(module, "process_name", self.names.get)
        monkeypatch.setattr(module, "command_line", lambda pid: self.words.get(pid, []))
        monkeypatch.setattr(module, "_of_user", lambda uid: [p for p, user in self.users.items() if user == uid])
        self.namespace("self", "net:[1]")

    def namespace(self, pid: int | str, name: str, address: str = "127.0.0.1") -> None:
        (self.root / str(pid) / "ns").mkdir(parents=True)
        (self.root / str(pid) / "ns" / "net").symlink_to(name)
        (self.root / str(pid) / "fd").mkdir()
        net = self.root / str(pid) / "net"
        net.mkdir()
        (net / "fib_trie").write_text(f"Local:\n  |-- {address}\n     /32 host LOCAL\n")
        (net / "if_inet6").write_text("")
        (net / "tcp").write_text("  sl  local_address rem_address   st ...\n")

    def process(self, pid: int, name: str, net: str = "net:[1]", address: str = "127.0.0.1", uid: int = 0) -> None:
        self.namespace(pid, net, address)
        self.names[pid], self.users[pid] = name, uid

    def listens(self, where: int | str, port: int, inode: int, holder: int | None = None, uid: int = 0) -> None:
        with (self.root / str(where) / "net" / "tcp").open("a") as table:
            table.write(f" 0: 00000000:{port:04X} 00000000:0000 0A 0:0 00:0 0  {uid}  0 {inode} 1 0 100 0 0 10 0\n")
        if holder is not None:
            (self.root / str(holder) / "fd" / "3").symlink_to(f"socket:[{inode}]")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_workers_that_share_the_socket_are_all_the_server(host: Machine) -> None:
    for pid in (50, 51):
        host.process(pid, "uvicorn")
    host.listens("self", 8000, 900, holder=50)
    (host.root / "51" / "fd" / "9").symlink_to("socket:[900]")
    assert server_processes("127.0.0.1", 8000) == Found((50, 51))


def test_behind_dockers_proxy_the_container_is_the_server(host: Machine) -> None:
    host.process(60, "docker-proxy")
    host.words[60] = ["docker-proxy", "-proto", "tcp", "-host-port", "8000", "-container-ip", "172.17.0.2"]
    host.words[60] += ["-container-port", "80"]
    host.listens("self", 8000, 901, holder=60)
    host.process(61, "vllm", "net:[2]", "172.17.0.2")
    host.listens(61, 80, 902, holder=61)
    host.process(62, "other", "net:[3]", "172.17.0.3")
    host.listens(62, 80, 903, holder=62)
    assert server_processes("127.0.0.1", 8000) == Found((61,))


def test_a_container_that_is_asked_at_its_own_address_is_the_server(host: Machine) -> None:
    host.process(61, "vllm", "net:[2]", "172.17.0.2")
    host.listens(61, 8000, 902, holder=61)
    assert server_processes("172.17.0.2", 8000) == Found((61,))
    assert server_processes("172.17.0.9", 8000).reason is not None


@pytest.mark.parametrize("name", ["ssh", "nginx", "socat"])
def test_what_only_passes_on_is_not_the_server(host: Machine, name: str) -> None:
    host.process(70, name)
    host.listens("self", 8000, 904, holder=70)
    assert server_processes("127.0.0.1", 8000) == Found(reason=f"{name} stands before it")


def test_a_server_under_a_user_of_its_own_is_all_that_this_user_runs(host: Machine) -> None:
    """As Ollama's is: nobody else may look at its files."""
    host.process(80, "ollama", uid=998)
    host.process(81, "ollama_runner", uid=998)
    host.listens("self", 11434, 905, uid=998)
    assert server_processes("127.0.0.1", 11434) == Found((80, 81))


@pytest.mark.parametrize("uid", [0, os.getuid()])
def test_a_server_of_root_that_may_not_be_looked_into_is_not_seen(host: Machine, uid: int) -> None:
    host.process(80, "server", uid=uid)
    host.listens("self", 8000, 906, uid=uid)
    assert "may not be looked into" in (server_processes("127.0.0.1", 8000).reason or "")


def test_nonsense_in_proc_is_nobody(host: Machine) -> None:
    (host.root / "self" / "net" / "tcp").write_text("sl\n 0: nonsense\n\0\n")
    assert server_processes("127.0.0.1", 8000).reason is not None
