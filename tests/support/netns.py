"""Network namespaces for tests: made on the spot, gone afterwards, and commands inside of them."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from terway.linux.netns import create_netns, delete_netns, entered, open_netns

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ScratchNetns:
    """A network namespace at a path, with its loopback link up."""

    path: str

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell command inside and return what it prints."""
        words = ["nsenter", f"--net={self.path}", "sh", "-ec", command]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{command!r} in {self.path}: {done.stdout}{done.stderr}")
        return done.stdout

    def pings(self, address: object, *, options: str = "", wait_s: int = 10) -> bool:
        """Return whether one packet to `address` is answered, on a slow machine after a while."""
        command = f"ping -n -c 1 -W {wait_s} {options} {address} >/dev/null && echo yes || true"
        return self.run(command).strip() == "yes"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside with the calling thread; threads it starts are inside too."""
        with open_netns(self.path) as opened, entered(opened.fd):
            yield


@contextmanager
def scratch_netns(name: str = "netns") -> Iterator[ScratchNetns]:
    """Make a namespace for the block, under a name no other test has."""
    path = f"/run/netns/{name}-{os.getpid()}-{next(_numbers)}"
    create_netns(path)
    try:
        made = ScratchNetns(path)
        made.run("ip link set lo up")
        yield made
    finally:
        delete_netns(path)


@dataclass(frozen=True, slots=True)
class NodeWithENI:
    """A node's namespace with two ENIs, each a veth to a namespace that is its vSwitch's gateway.

               ┌─ eth0 192.168.0.10/19   fd00:0:0:1::10/64 ──► uplink  (default route)
    node ──────┤
               └─ eth1 (no address; plugged in) ────────────► gateway  192.168.63.253,
                                                              fd00:0:0:2::fffd; beyond it
                                                              198.51.100.1, 2001:db8::1

    The VPC delivers to the ENI without asking who has the pod's address: so does the gateway.
    """

    node: ScratchNetns
    uplink: ScratchNetns
    gateway: ScratchNetns


@contextmanager
def node_with_eni() -> Iterator[NodeWithENI]:
    """Make the topology of `NodeWithENI` for the block."""
    with ExitStack() as stack:
        node, uplink, gateway = (
            stack.enter_context(scratch_netns(name)) for name in ("node", "uplink", "gateway")
        )
        for far, link in ((uplink, "eth0"), (gateway, "eth1")):
            # the router is ready from the start; how soon the node is, is what tests ask
            far.run("sysctl -qw net.ipv6.conf.default.accept_dad=0")
            node.run(
                f"ip link add {link} type veth peer name port netns {far.path}"
                f" && nsenter --net={far.path} ip link set port up"
            )
        node.run(
            "ip link set eth0 up"
            "; ip address add 192.168.0.10/19 dev eth0"
            "; ip address add fd00:0:0:1::10/64 dev eth0 nodad"
            "; ip route add default via 192.168.31.253"
            "; ip route add default via fd00:0:0:1::fffd"
        )
        uplink.run(
            "ip address add 192.168.31.253/19 dev port"
            "; ip address add fd00:0:0:1::fffd/64 dev port nodad"
            "; ip route add default dev port; ip -6 route add default dev port"
        )
        gateway.run(
            "ip address add 192.168.63.253/32 dev port"
            "; ip address add fd00:0:0:2::fffd/128 dev port nodad"
            "; ip address add 198.51.100.1/32 dev lo; ip address add 2001:db8::1/128 dev lo nodad"
            "; ip route add default via 192.168.0.10 dev port onlink"
            "; ip route add default via fd00:0:0:1::10 dev port onlink"
        )
        yield NodeWithENI(node, uplink, gateway)
