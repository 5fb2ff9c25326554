"""Whether a server is on this machine: by its address, its network namespace, its bridge, or the user's word."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ipw.workloads.lm.servers.place import _leads_to_no_wire, place

TRY = "ip link add v0 type veth peer name v1 && mount -t sysfs sysfs /sys"
NAMESPACES = (
    shutil.which("unshare")
    and shutil.which("ip")
    and subprocess.run(["unshare", "-rnm", "bash", "-c", TRY], capture_output=True, check=False).returncode == 0
)
SHOW = "import sys; from ipw.workloads.lm.servers.place import place; print(*place(sys.argv[1]))"


def in_own_network(script: str) -> str:
    """Run a script in a network namespace of its own, with `place ADDRESS` as a command."""
    if not NAMESPACES:
        pytest.skip("network namespaces cannot be made here")
    head = f"set -e\nplace() {{ {sys.executable} -c '{SHOW}' $1; }}\nmount -t sysfs sysfs /sys\nip link set lo up\n"
    done = subprocess.run(["unshare", "-rnm", "bash", "-c", head + script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", socket.gethostname()])
def test_loopback_and_own_addresses_are_this_machine(host: str) -> None:
    assert place(host).local


@pytest.mark.parametrize("host", ["192.0.2.77", "2001:db8::1"])
def test_an_address_that_is_nobodys_here_is_another_machine(host: str) -> None:
    assert not place(host).local


@pytest.mark.parametrize("host", ["192.0.2.77", "2001:db8::1"])
def test_the_users_word_is_believed_and_kept(host: str) -> None:
    assert place(host, here=True) == (True, "--server-here says so")


def test_a_host_that_cannot_be_found_is_left_to_the_connection() -> None:
    assert place("no-such-host.invalid").local


@pytest.mark.parametrize(("address", "prefix"), [("10.88.0.2", 24), ("fd00:88::2", 64)])
def test_an_address_of_a_containers_network_is_this_machine(address: str, prefix: int) -> None:
    told = in_own_network(f"""
        ip link add v0 type veth peer name v1
        unshare -n sleep 20 & sleep 0.3
        ip link set v1 netns $!
        nsenter -t $! -n ip addr add {address}/{prefix} dev v1 nodad
        nsenter -t $! -n ip link set v1 up
        place {address}
        kill $!
        place {address}9
    """)
    assert told.splitlines() == [
        "True its address is in a network namespace of this machine, as of a container",
        "False its address is not this machine's",
    ]


def test_an_address_behind_a_bridge_without_a_wire_is_this_machine() -> None:
    told = in_own_network("""
        ip link add docker0 type bridge
        ip addr add 172.17.0.1/16 dev docker0
        ip link set docker0 up
        place 172.17.0.2
        place 172.18.0.2
    """)
    assert [line.split()[0] for line in told.splitlines()] == ["True", "False"]


@pytest.mark.parametrize(("wired", "expected"), [(False, True), (True, False)])
def test_a_bridge_with_a_network_card_leads_to_other_machines(wired: bool, expected: bool, tmp_path: Path) -> None:
    for folder in ("br0/bridge", "br0/brif/veth1", "br0/brif/eth0", "veth1", "eth0"):
        (tmp_path / folder).mkdir(parents=True)
    if wired:
        (tmp_path / "eth0" / "device").mkdir()
    assert _leads_to_no_wire(tmp_path / "br0") == expected
    assert not _leads_to_no_wire(tmp_path / "eth0")
