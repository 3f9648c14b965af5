"""What a pod writes in somebody else's name, by each of its interfaces: none of it arrives."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from terway.lab.vpc.contract import ROUTER_MAC, pack_mac
from terway.lab.vpc.oracle.answers import checksum
from terway.lab.world.node import run_command
from terway.model.address import Family
from terway.model.ids import MacAddress
from tests.support.frames import BROADCAST, ip, udp
from tests.support.iproute import ip_in
from tests.support.pod_kinds import Interface, PodKinds
from tests.support.taps import Place, hear, open_tap, passed, tapped, write_frame
from tests.support.wires import on_one_core

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="package")]

MARK, HONEST = b"forged", b"honest frame"  # the former is a MAC address, too
IPV4, IPV6, ARP = b"\x08\x00", b"\x86\xdd", b"\x08\x06"
ALL_NODES = (b"\x33\x33\x00\x00\x00\x01", IPv6Address("ff02::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who may be named in a frame."""

    mac: bytes
    v4: IPv4Address
    v6: IPv6Address
    tag: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """An interface as the writer of frames: who it is, whom it plays, and who shall hear it."""

    own: Party
    other: Party
    target: Party
    hop: bytes
    frames: dict[str, bytes] = field(default_factory=dict)

    def packet(self, source: Party, *, is_six: bool = False, text: bytes = MARK) -> bytes:
        """Return a datagram, with the type of its frame in front."""
        if is_six:
            return IPV6 + ip(source.v6, self.target.v6, 17, udp(5555, 7777, text))
        return IPV4 + ip(source.v4, self.target.v4, 17, udp(5555, 7777, text))

    def frame(self, rest: bytes, *, source: Party | None = None, to: bytes = b"") -> bytes:
        """Return a frame; without a source the writer's own."""
        return (to or self.hop) + (source or self.own).mac + rest

    def forged(self) -> dict[str, bytes]:
        """Return what nobody must ever see, by what is wrong with it."""
        own, other = self.own, self.other
        right, wrong = self.packet(own), self.packet(other)
        group, _ = ALL_NODES
        return {
            "source MAC": self.frame(right, source=other),
            "IPv4 address": self.frame(wrong),
            "IPv6 address": self.frame(self.packet(other, is_six=True)),
            "MAC and address": self.frame(wrong, source=other),
            "ARP, another's address": self.frame(arp(own.mac, other.v4), to=BROADCAST),
            "ARP, another's MAC": self.frame(arp(other.mac, own.v4), to=BROADCAST),
            "ND, another's address": self.frame(claim(other.v6, other.v6), to=group),
            "ND, claimed by the own": self.frame(claim(own.v6, other.v6), to=group),
            "ND, a router": self.frame(router(own.v6), to=group),
            "another's tag": self.frame(tag(other.tag or 1) + right),
            "another's tag, MAC and address": self.frame(tag(other.tag or 1) + wrong, source=other),
            "the own tag": self.frame(tag(own.tag or 2) + right),
            "two tags": self.frame(tag(own.tag or 2) + tag(other.tag or 1) + wrong),
            "two tags, 802.1ad": self.frame(b"\x88\xa8\x00\x01" + tag(other.tag or 1) + wrong),
            "priority tag": self.frame(tag(0) + wrong),
            "priority tag before another": self.frame(tag(0) + tag(other.tag or 1) + right),
        }


def tag(number: int) -> bytes:
    """Return an 802.1Q tag, with the priority 5 where it has no number."""
    return b"\x81\x00" + (number or 5 << 13).to_bytes(2, "big")


def arp(mac: bytes, address: IPv4Address) -> bytes:
    """Return an answer that nobody asked for: this address is at this MAC."""
    return ARP + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac + address.packed + MARK + bytes(4)


def claim(source: IPv6Address, address: IPv6Address) -> bytes:
    """Return an advertisement: this address is at the MAC of MARK."""
    body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + address.packed + b"\x02\x01" + MARK
    return _to_all(source, body)


def router(source: IPv6Address) -> bytes:
    """Return an advertisement of a router at the MAC of MARK."""
    return _to_all(
        source, struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\x01\x01" + MARK
    )


def _to_all(source: IPv6Address, message: bytes) -> bytes:
    group = ALL_NODES[1]
    pseudo = source.packed + group.packed + struct.pack("!II", len(message), 58)
    right = message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    return (
        IPV6
        + struct.pack("!IHBB", 6 << 28, len(right), 58, 255)
        + source.packed
        + group.packed
        + right
    )


async def party(kinds: PodKinds, one: Interface) -> Party:
    """Return who an interface is: by its own link's MAC, and its ENI's tag."""
    (link,) = await ip_in(one.pod, "link", "show", one.name)
    v4, v6 = one.addresses[Family.V4], one.addresses[Family.V6]
    assert isinstance(v4, IPv4Address)
    assert isinstance(v6, IPv6Address)
    enis = kinds.made.lab.cloud.world.state.enis.values()
    vlan_id = next((eni.vlan_id for eni in enis if v4 in eni.ipv4), None)
    return Party(mac=pack_mac(MacAddress(link["address"])), v4=v4, v6=v6, tag=vlan_id or 0)


async def hop_of(one: Interface) -> bytes:
    """Return the MAC to which an interface sends what goes elsewhere."""
    known: list[dict[str, Any]] = await ip_in(one.pod, "neigh", "show", "dev", one.name)
    found = [hop["lladdr"] for hop in known if "lladdr" in hop]
    return pack_mac(MacAddress(found[0] if found else ROUTER_MAC))


async def places_around(kinds: PodKinds, one: Interface) -> list[Place]:
    """Return where nothing forged may be seen: other pods, and the ENIs of the writer's node."""
    pods = [
        Place(netns_path=other.pod.netns_path, link=other.name)
        for other in kinds.interfaces
        if other.pod is not one.pod
    ]
    node = one.pod.node
    links: list[dict[str, Any]] = await ip_in(node, "link")
    return pods + [
        Place(netns_path=node.netns_path, link=link["ifname"], is_way_out=True)
        for link in links
        if link["ifname"].startswith("eth") and "UP" in link["flags"]
    ]


SENDERS = (
    *(("near", "eth0"), ("member", "eth0"), ("whole", "eth0")),
    *((name, link) for name in ("members", "pair", "wholes") for link in ("eth0", "eth1")),
)


@pytest.mark.parametrize(("name", "link"), SENDERS, ids=map(".".join, SENDERS))
async def test_nothing_in_anothers_name_leaves_by_any_interface(
    kinds: PodKinds, name: str, link: str
) -> None:
    """An honest frame after them is the fence: whatever was sent before it has arrived by then."""
    if name not in kinds.pods:
        return  # programs inside pods see one ENI: there is none with two
    await kinds.policy.policies()
    sender = kinds.interface(name, link)
    target = kinds.interface("far" if sender.pod.node.name != "node-2" else "near")
    played = kinds.interface("other" if sender.pod.node.name == "node-2" else "member")
    played = played if played.pod is not sender.pod else kinds.interface("members")
    await sender.pod.exec("ping", "-c1", "-w20", "-I", link, str(target.addresses[Family.V4]))
    writer = Writer(
        own=await party(kinds, sender),
        other=await party(kinds, played),
        target=await party(kinds, target),
        hop=await hop_of(sender),
    )
    places = await places_around(kinds, sender)

    with on_one_core(), tapped(places) as taps:
        aim = next(one for one in places if one.netns_path == target.pod.netns_path)
        with open_tap(Place(netns_path=sender.pod.netns_path, link=link)) as mouth:
            for frame in writer.forged().values():
                write_frame(mouth, frame)
            write_frame(mouth, writer.frame(writer.packet(writer.own, text=HONEST)))
        await hear(taps[aim], HONEST)
        seen = [(one.link, frame) for one, tap in taps.items() for frame in passed(one, tap, MARK)]

    assert [(link, named(writer, frame)) for link, frame in seen] == []
    for node in kinds.made.lab.nodes.values():
        known = await run_command(["nsenter", f"--net={node.netns_path}", "ip", "neigh"])
        assert ":".join(f"{byte:02x}" for byte in MARK) not in known


def named(writer: Writer, frame: bytes) -> str:
    """Return what was wrong with a frame that was seen, or the frame."""
    return next((what for what, one in writer.forged().items() if one[14:] in frame), frame.hex())
