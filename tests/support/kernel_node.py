"""A node in a network namespace of its own, and a VPC of one router behind its ENIs.

test process, fresh netns = the node         netns "vpc…"
  eth0  192.168.0.10, default route  ◄─────► vpc0  192.168.31.253, fd00:0:0::fffd
  eth1  an ENI, unconfigured         ◄─────► vpc1  192.168.63.253, fd00:0:1::fffd
  pods: netns of their own                   lo    198.51.100.1, 2001:db8:1::1: the world
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from terway.agent.pool_ports import ManagedENI
from terway.ipam.values import ENIPhase
from terway.linux.monitor import Watched, open_monitor
from terway.model.eni import VSwitch
from terway.model.ids import ENIId, VpcId, VSwitchId, ZoneId
from tests.support.cni import ENI_MAC
from tests.support.isolation import CLONE_NEWNET, unshare

WORLD_V4, WORLD_V6 = "198.51.100.1", "2001:db8:1::1"
VSWITCH = VSwitch(
    id=VSwitchId("vsw-pods"),
    vpc_id=VpcId("vpc-1"),
    zone_id=ZoneId("cn-hangzhou-i"),
    cidr=IPv4Network("192.168.32.0/19"),
    ipv6_cidr=IPv6Network("2408:4005::/64"),
)
ENI = ManagedENI(
    id=ENIId("eni-1"),
    mac=ENI_MAC,
    phase=ENIPhase.IN_USE,
    vswitch_id=VSWITCH.id,
    vswitch=VSWITCH,
)

_libc = ctypes.CDLL(None, use_errno=True)


def sh(command: str) -> str:
    """Run shell lines; raise with what they said when one fails."""
    done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _shown(command: str) -> str:
    """Return what `ip` shows, asked again when it was changed in the midst of the answer."""
    while True:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=True)
        if "Dump was interrupted" not in done.stderr:
            return done.stdout


async def links_are_gone(name: str) -> None:
    """Wait for links of which a part is `name`: terwayd deletes several at once, a little later."""
    with open_monitor(Watched.LINKS) as monitor:
        events = monitor.events()
        while name in _shown("ip -o link"):
            await anext(events)


def node_state() -> list[str]:
    """Return what terwayd has in the node: rules and routes, less what the kernel makes itself.

    Nor does it say which links have no carrier: the kernel finds that out a little later.
    """
    shows = ("rule", "route show table all")
    said = [_shown(f"ip {family} {one}") for family in ("-4", "-6") for one in shows]
    lines = [line.replace(" linkdown", "") for text in said for line in text.splitlines()]
    return [line for line in lines if "proto kernel" not in line and "table local" not in line]


@dataclass
class KernelNode:
    """The namespaces of one test."""

    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    pods: list[str] = field(default_factory=list)

    @property
    def vpc(self) -> str:
        return f"vpc{self.tag}"

    def pod(self) -> str:
        """Make a pod's network namespace and return its path."""
        name = f"pod{len(self.pods)}-{self.tag}"
        sh(f"ip netns add {name}")
        self.pods.append(name)
        return f"/run/netns/{name}"

    def build(self) -> None:
        sh(f"""
            ip link set lo up
            ip netns add {self.vpc}
            ip -n {self.vpc} link set lo up
            ip netns exec {self.vpc} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
            ip link add eth0 type veth peer name vpc0 netns {self.vpc}
            ip link add eth1 address {ENI_MAC} type veth peer name vpc1 netns {self.vpc}
            # Without a link-local address, the node's first solicitation would come from an
            # address that this router has behind another link.
            sysctl -qw net.ipv6.conf.eth1.accept_dad=0
            ip addr add 192.168.0.10/19 dev eth0
            ip addr add fd00:0:0::10/64 dev eth0 nodad
            ip link set eth0 up
            ip -n {self.vpc} addr add 192.168.31.253/19 dev vpc0
            ip -n {self.vpc} addr add fd00:0:0::fffd/64 dev vpc0 nodad
            ip -n {self.vpc} addr add 192.168.63.253/19 dev vpc1
            ip -n {self.vpc} addr add 2408:4005::ffff:ffff:ffff:fffd/64 dev vpc1 nodad
            ip -n {self.vpc} addr add {WORLD_V4}/32 dev lo
            ip -n {self.vpc} addr add {WORLD_V6}/128 dev lo
            ip -n {self.vpc} link set vpc0 up
            ip -n {self.vpc} link set vpc1 up
            ip route add default via 192.168.31.253
            ip -6 route add default via fd00:0:0::fffd
        """)

    def plug(self, ifname: str, mac: str, *gateways: str) -> None:
        """Plug another ENI in, as the hypervisor does; the VPC's router answers behind it."""
        far = f"vpc-{ifname}"
        sh(f"""
            ip link add {ifname} address {mac} type veth peer name {far} netns {self.vpc}
            sysctl -qw net.ipv6.conf.{ifname}.accept_dad=0
            ip netns exec {self.vpc} sysctl -qw net.ipv6.conf.{far}.accept_dad=0
            ip -n {self.vpc} link set {far} up
        """)
        for gateway in gateways:
            sh(f"ip -n {self.vpc} addr add {gateway} dev {far}")

    def unplug(self, ifname: str) -> None:
        """Pull an ENI out."""
        sh(f"ip link del {ifname}")

    def know(self, *addresses: str, mac: str = ENI_MAC, far: str = "vpc1") -> None:
        """Tell the VPC that `addresses` are on the ENI with `mac`, as the cloud would."""
        for address in addresses:
            sh(f"""
                ip -n {self.vpc} route replace {address} dev {far}
                ip -n {self.vpc} neigh replace {address} lladdr {mac} dev {far} nud permanent
            """)

    def ping(self, pod: str, address: str, *, within_s: int = 20) -> None:
        """Ask from a pod, once a second, until there is an answer.

        What a link is given before the kernel has found its carrier is lost.
        """
        sh(f"nsenter --net={pod} ping -n -c1 -w{within_s} {address}")

    def remove(self) -> None:
        for name in (*self.pods, self.vpc):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@contextmanager
def kernel_node() -> Iterator[KernelNode]:
    """Be in a fresh network namespace, built as a node, for the block.

    Threads that are started inside inherit it; the calling thread returns to its own.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    node = KernelNode()
    try:
        unshare(CLONE_NEWNET)
        node.build()
        yield node
    finally:
        node.remove()
        assert _libc.setns(before, CLONE_NEWNET) == 0
        os.close(before)
