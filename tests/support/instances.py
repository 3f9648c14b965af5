"""Instances for the fabric's tests: a network namespace each, as a guest would configure itself."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

from terway.lab.vpc.state import (
    Direction,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    VpcState,
)
from terway.linux.netns import create_netns, delete_netns, entered, open_netns
from terway.model.address import IPAddress, gateway_of
from terway.model.eni import VSwitch
from terway.model.ids import (
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

VPC = VpcId("vpc-1")
NODES = VSwitch(
    id=VSwitchId("vsw-nodes"),
    vpc_id=VPC,
    zone_id=ZoneId("cn-lab-a"),
    cidr=IPv4Network("192.168.0.0/19"),
    ipv6_cidr=IPv6Network("2408:4005:100:1::/64"),
)
PODS = VSwitch(
    id=VSwitchId("vsw-pods"),
    vpc_id=VPC,
    zone_id=ZoneId("cn-lab-a"),
    cidr=IPv4Network("192.168.32.0/19"),
    ipv6_cidr=IPv6Network("2408:4005:100:2::/64"),
)
OPEN = SecurityGroup(id=SecurityGroupId("sg-open"), vpc_id=VPC)
"""Its members reach each other; that is all."""


def mac(number: int) -> MacAddress:
    return MacAddress(f"00:16:3e:00:{number >> 8:02x}:{number & 255:02x}")


def port(
    number: int,
    *,
    vswitch: VSwitch = NODES,
    instance: str | None = None,
    ifname: str = "eth0",
    more_ipv4: Iterable[str] = (),
    groups: Iterable[SecurityGroup] = (OPEN,),
    mtu_bytes: int = 1500,
    source_check: bool = True,
) -> Port:
    """The port number `number`, with the address of that number in `vswitch`."""
    ipv6 = () if vswitch.ipv6_cidr is None else (vswitch.ipv6_cidr[number],)
    return Port(
        eni_id=ENIId(f"eni-{number}"),
        mac=mac(number),
        vpc_id=vswitch.vpc_id,
        vswitch_id=vswitch.id,
        instance_id=InstanceId(instance or f"i-{number}"),
        ifname=ifname,
        ipv4=(vswitch.cidr[number], *map(IPv4Address, more_ipv4)),
        ipv6=ipv6,
        security_group_ids=tuple(group.id for group in groups),
        mtu_bytes=mtu_bytes,
        source_check=source_check,
    )


def member(number: int, trunk: Port, vlan_id: int, *, vswitch: VSwitch = PODS, **more) -> Port:
    """The port number `number` as a member of `trunk`."""
    made = port(number, vswitch=vswitch, instance=trunk.instance_id, **more)
    return replace(made, ifname="", trunk_id=trunk.eni_id, vlan_id=vlan_id)


def vpc_state(
    *ports: Port,
    vswitches: tuple[VSwitch, ...] = (NODES, PODS),
    groups: tuple[SecurityGroup, ...] = (OPEN,),
) -> VpcState:
    return VpcState(vswitches=vswitches, ports=ports, security_groups=groups)


def allow(
    peer: str | SecurityGroup,
    *,
    direction: Direction = Direction.INGRESS,
    accept: bool = True,
    priority: int = 1,
    protocol: int | None = None,
    ports: tuple[int, int] | None = None,
) -> SecurityGroupRule:
    where = peer.id if isinstance(peer, SecurityGroup) else _network(peer)
    return SecurityGroupRule(
        direction=direction,
        accept=accept,
        priority=priority,
        peer=where,
        protocol=protocol,
        ports=ports,
    )


def _network(text: str) -> IPv4Network | IPv6Network:
    return IPv6Network(text) if ":" in text else IPv4Network(text)


def group(name: str, *rules: SecurityGroupRule, inner_access: bool = True) -> SecurityGroup:
    return SecurityGroup(
        id=SecurityGroupId(name), vpc_id=VPC, rules=rules, inner_access=inner_access
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A network namespace that plays an ECS instance."""

    id: InstanceId
    netns: str

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the instance and return what it printed."""
        return subprocess.run(
            self.command(*words), check=check, capture_output=True, text=True, timeout=60
        )

    def command(self, *words: str) -> list[str]:
        return ["nsenter", f"--net={self.netns}", *words]

    def ip(self, words: str) -> str:
        return self.run("ip", *words.split()).stdout

    def configure(self, eni: Port, vswitch: VSwitch) -> None:
        """Set the ENI's link up with its addresses and the default routes, as DHCP would."""
        self.ip("link set lo up")
        self.ip(f"link set {eni.ifname} up")
        for ipv4 in eni.ipv4:
            self.ip(f"addr add {ipv4}/{vswitch.cidr.prefixlen} dev {eni.ifname}")
        self.ip(f"route replace default via {gateway_of(vswitch.cidr)} dev {eni.ifname}")
        for ipv6 in eni.ipv6:
            assert vswitch.ipv6_cidr is not None
            self.ip(f"-6 addr add {ipv6}/{vswitch.ipv6_cidr.prefixlen} dev {eni.ifname} nodad")
            gateway = gateway_of(vswitch.ipv6_cidr)
            self.ip(f"-6 route replace default via {gateway} dev {eni.ifname}")

    def can_reach(
        self, address: IPAddress, *, size: int = 56, df: bool = False, within_s: int = 20
    ) -> bool:
        """Send echo requests, 0.2 s apart, and return whether one was answered in time.

        What a link is given before the kernel has found its carrier is lost, and neighbours are
        asked for once a second: who expects no answer says how short a time is enough.
        """
        frag = ["-M", "do"] if df else []
        words = ["ping", "-n", "-c1", "-i", "0.2", "-w", str(within_s), "-s", str(size), *frag]
        return self.run(*words, str(address), check=False).returncode == 0

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """Return a non-blocking socket that lives in the instance, whoever uses it."""
        return socket_in(self.netns, family, kind)


def socket_in(
    netns_path: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
) -> socket.socket:
    with open_netns(netns_path) as netns, entered(netns.fd):
        made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


def make_instance(name: str, directory: Path) -> Instance:
    """Create the namespace of an instance; `remove_instance` undoes it."""
    path = str(directory / name)
    create_netns(path)
    return Instance(id=InstanceId(name), netns=path)


def remove_instance(instance: Instance) -> None:
    delete_netns(instance.netns)


def with_groups(eni: Port, *groups: SecurityGroup) -> Port:
    return replace(eni, security_group_ids=tuple(one.id for one in groups))
