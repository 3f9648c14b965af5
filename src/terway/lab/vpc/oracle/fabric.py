"""What becomes of a frame: dropped with a reason, answered by the router, or delivered.

Flows and fragments are remembered from frame to frame; time does not pass here, so none of them
is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from terway.lab.vpc.contract import (
    ROUTER_MAC,
    SERVICES_MAC,
    SERVICES_MTU_BYTES,
    DropReason,
    pack_mac,
)
from terway.lab.vpc.members import member_of
from terway.lab.vpc.oracle import answers
from terway.lab.vpc.oracle.balancer import (
    Connections,
    is_balanced,
    seen_by_client,
    translated,
    translated_error,
)
from terway.lab.vpc.oracle.choice import Target, find_listener, is_let_in
from terway.lab.vpc.oracle.groups import Flow, accepts
from terway.lab.vpc.oracle.packet import ICMP, ICMPV6, MalformedError, Packet, parse_packet
from terway.lab.vpc.state import Balancer, Direction, Listener, Port, VpcState
from terway.model.address import Family, IPAddress, IPNetwork, family_of, gateway_of
from terway.model.eni import VSwitch
from terway.model.ids import ENIId, MacAddress, SecurityGroupId

_VLAN = (0x8100, 0x88A8)
_TAG = _VLAN[0].to_bytes(2, "big")  # IEEE 802.1Q
_FAMILIES = {0x0800: Family.V4, 0x86DD: Family.V6}
_DISCOVERY = range(133, 138)
_SOLICITATION = 135
_SOLICITATION_BYTES = 78
_ARP_BYTES = 42


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Counted under `reason` at a port."""

    at: ENIId
    reason: DropReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Sent back by the router. With a `reason`, the frame it answers counts as dropped too."""

    at: ENIId
    frame: bytes
    reason: DropReason = DropReason.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Sent on to another ENI, or to the services where `to` is None."""

    to: ENIId | None
    frame: bytes


Outcome = Dropped | Answered | Delivered

Tuple = tuple[ENIId, int, IPAddress, int, IPAddress, int]
"""Port, protocol, local address and port, remote address and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transit:
    """An admitted packet, the frame it came in, and the port it came by."""

    port: Port
    packet: Packet
    frame: bytes
    gso_size: int

    @property
    def wire_bytes(self) -> int:
        """Return the bytes of IP in the largest packet that this becomes on the wire."""
        if not self.gso_size:
            return len(self.frame) - 14
        return self.packet.transport + self.packet.transport_len + self.gso_size


class _DropError(Exception):
    def __init__(self, reason: DropReason) -> None:
        self.reason = reason


class Oracle:
    """A fabric that carries one state, which may be replaced while flows go on."""

    def __init__(self, state: VpcState) -> None:
        self.state = state
        self._flows: dict[Tuple, Direction] = {}
        self._connections = Connections()
        self._fragments: dict[tuple[object, ...], tuple[int, int]] = {}

    def receive(self, eni_id: ENIId, frame: bytes, *, gso_size: int = 0) -> Outcome:
        """Return what becomes of a frame that comes by the link of `eni_id`.

        A member's comes by its trunk's, tagged, and what goes to it has its tag.
        """
        port, inner = self._untagged(self._port(eni_id), frame)
        try:
            return self._tagged(self._receive(port, inner, gso_size))
        except MalformedError:
            return Dropped(at=port.eni_id, reason=DropReason.MALFORMED)
        except _DropError as drop:
            return Dropped(at=port.eni_id, reason=drop.reason)

    def _port(self, eni_id: ENIId) -> Port:
        return next(one for one in self.state.ports if one.eni_id == eni_id)

    def _untagged(self, port: Port, frame: bytes) -> tuple[Port, bytes]:
        """Return the member that a frame's tag stands for, and what is behind the tag."""
        if frame[12:14] != _TAG:
            return port, frame
        member = member_of(self.state, port, int.from_bytes(frame[14:16], "big") & 0xFFF)
        return (port, frame) if member is None else (member, frame[:12] + frame[16:])

    def _tagged(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the tag of the member that gets the frame."""
        match outcome:
            case Dropped() | Delivered(to=None):
                return outcome
            case Delivered(to=eni_id) | Answered(at=eni_id):
                assert eni_id is not None
                tag = self._port(eni_id).vlan_id
                return replace(outcome, frame=with_tag(outcome.frame, tag)) if tag else outcome

    def _receive(self, port: Port, frame: bytes, gso_size: int) -> Outcome:
        ethertype = int.from_bytes(frame[12:14], "big")
        _drop_if(ethertype in _VLAN, DropReason.VLAN)
        _drop_if(frame[6:12] != pack_mac(port.mac), DropReason.SOURCE_MAC)
        if ethertype == 0x0806:
            return self._receive_arp(port, frame)
        _drop_if(ethertype not in _FAMILIES, DropReason.ETHERTYPE)
        packet = parse_packet(frame[14:], _FAMILIES[ethertype])
        if packet.family is Family.V6 and packet.icmp and packet.icmp[0] in _DISCOVERY:
            return self._receive_discovery(port, packet, frame)
        self._admit(port, packet, frame)
        whole = self._whole(port, packet)
        return self._route(_Transit(port=port, packet=whole, frame=frame, gso_size=gso_size))

    def _receive_arp(self, port: Port, frame: bytes) -> Outcome:
        if len(frame) < _ARP_BYTES or frame[14:20] != bytes.fromhex("000108000604"):
            raise MalformedError
        _drop_if(frame[22:28] != pack_mac(port.mac), DropReason.SOURCE_MAC)
        target = IPv4Address(frame[38:42])
        _drop_if(frame[20:22] != b"\0\x01", DropReason.UNANSWERED)
        self._check_target(port, target)
        return Answered(at=port.eni_id, frame=answers.arp_reply(port, frame))

    def _receive_discovery(self, port: Port, packet: Packet, frame: bytes) -> Outcome:
        assert packet.icmp is not None
        _drop_if(packet.icmp[0] != _SOLICITATION, DropReason.UNANSWERED)
        if packet.transport != 40 or len(packet.data) + 14 < _SOLICITATION_BYTES:
            raise MalformedError
        if packet.hop_limit != 255 or packet.icmp[1] != 0:
            raise MalformedError
        _drop_if(int(packet.source) == 0, DropReason.UNANSWERED)
        self._check_target(port, IPv6Address(frame[62:78]))
        return Answered(at=port.eni_id, frame=answers.advertisement(port, packet, frame))

    def _check_target(self, port: Port, target: IPAddress) -> None:
        cidr = self._range(port, family_of(target))
        inside = cidr is not None and target in cidr
        own = _has(port, target)
        _drop_if(not inside or own, DropReason.UNANSWERED)

    def _admit(self, port: Port, packet: Packet, frame: bytes) -> None:
        reserved = packet.family is Family.V4 and packet.destination.packed[0] >= 224
        multicast = frame[0] & 1 or reserved or packet.destination.is_multicast
        _drop_if(bool(multicast), DropReason.MULTICAST)
        _drop_if(frame[:6] != pack_mac(ROUTER_MAC), DropReason.DESTINATION_MAC)
        _drop_if(not self._may_send(port, packet.source), DropReason.SOURCE_ADDRESS)

    def _whole(self, port: Port, packet: Packet) -> Packet:
        """Return the packet with the ports of its first fragment."""
        if not packet.is_fragment:
            return packet
        key = (port.eni_id, packet.source, packet.destination, packet.fragment_id, packet.protocol)
        if not packet.is_later:
            self._fragments[key] = (packet.source_port, packet.destination_port)
            return packet
        _drop_if(key not in self._fragments, DropReason.FRAGMENT)
        source_port, destination_port = self._fragments[key]
        return replace(packet, source_port=source_port, destination_port=destination_port)

    def _route(self, way: _Transit) -> Outcome:
        port, destination = way.port, way.packet.destination
        receiver = self._owner(port, destination)
        if receiver is None and destination in self.state.services:
            return self._to_services(way)
        if receiver is None and destination in self._gateways(port):
            return self._reach_gateway(way)
        if (balancer := self._balancer(port, destination)) is not None:
            return self._to_backend(way, balancer)
        out = receiver or self._next_hop(port, destination)
        _drop_if(out is port, DropReason.HAIRPIN)
        if self._is_backend(port):
            if way.packet.is_error and way.wire_bytes <= min(port.mtu_bytes, out.mtu_bytes):
                about = self._connections.quoted(port.vpc_id, way.packet)
                if about is not None:
                    return self._error_to_client(way, out, *about)
            target = self._connections.answer(port.vpc_id, way.packet)
            if target is not None:
                return self._to_client(way, out, target)
        if self._is_backend(out) and way.packet.opens_connection:
            self._connections.forget(port.vpc_id, way.packet)
        return self._cross(way, out, receiver)

    def _balancer(self, port: Port, address: IPAddress) -> Balancer | None:
        found = (one for one in self.state.balancers if one.vpc_id == port.vpc_id)
        return next((one for one in found if one.address == address), None)

    def _is_backend(self, port: Port) -> bool:
        found = (one for one in self.state.balancers if one.vpc_id == port.vpc_id)
        return any(_has(port, member) for one in found for member in one.members)

    def _to_backend(self, way: _Transit, balancer: Balancer) -> Outcome:
        """The balancer's address answers echo requests; the backend's groups are not asked."""
        port, packet = way.port, way.packet
        if packet.protocol == (ICMP if packet.family is Family.V4 else ICMPV6):
            return self._reach_gateway(way)
        listener = find_listener(balancer, packet)
        if listener is not None and listener.is_proxied:
            return self._to_proxy(way, listener)
        _drop_if(not is_balanced(packet), DropReason.NO_LISTENER)
        _drop_if(not self._passes(port, packet, Direction.EGRESS, None), DropReason.EGRESS)
        target = self._connections.choose(balancer, packet)
        if target is DropReason.CUT and answers.may_reset(packet):
            reply = answers.reset(port, packet)
            return Answered(at=port.eni_id, frame=reply, reason=DropReason.CUT)
        if isinstance(target, DropReason):
            raise _DropError(target)
        out = self._owner(port, target.address)
        _drop_if(out is port, DropReason.HAIRPIN)
        if out is None:
            raise _DropError(DropReason.NO_BACKEND)
        mtu = min(port.mtu_bytes, out.mtu_bytes)
        if way.wire_bytes > mtu:
            return self._too_big(way, mtu)
        frame = translated(way.frame, packet, target)
        return Delivered(to=out.eni_id, frame=_readdressed(frame, out.mac))

    def _to_proxy(self, way: _Transit, listener: Listener) -> Outcome:
        """Who listens in the balancer's name is behind the services; a list is for who opens."""
        port, packet = way.port, way.packet
        _drop_if(not self._passes(port, packet, Direction.EGRESS, None), DropReason.EGRESS)
        is_let = not packet.opens_connection or is_let_in(packet.source, listener)
        _drop_if(not is_let, DropReason.ACCESS)
        return self._to_services(way)

    def _error_to_client(self, way: _Transit, out: Port, quoted: Packet, target: Target) -> Outcome:
        frame = translated_error(way.frame, way.packet, quoted, target)
        error = parse_packet(frame[14:], way.packet.family)
        sender = self._owner(way.port, error.source)
        if not self._passes(out, error, Direction.INGRESS, sender):
            return Dropped(at=out.eni_id, reason=DropReason.INGRESS)
        return Delivered(to=out.eni_id, frame=_readdressed(frame, out.mac))

    def _to_client(self, way: _Transit, out: Port, target: Target) -> Outcome:
        mtu = min(way.port.mtu_bytes, out.mtu_bytes)
        if way.wire_bytes > mtu:
            return self._too_big(way, mtu)
        seen = seen_by_client(way.packet, target)
        if not self._passes(out, seen, Direction.INGRESS, None):
            return Dropped(at=out.eni_id, reason=DropReason.INGRESS)
        frame = translated(way.frame, way.packet, target)
        return Delivered(to=out.eni_id, frame=_readdressed(frame, out.mac))

    def _to_services(self, way: _Transit) -> Outcome:
        mtu = min(way.port.mtu_bytes, SERVICES_MTU_BYTES)
        if way.wire_bytes > mtu:
            return self._too_big(way, mtu)
        return Delivered(to=None, frame=_readdressed(way.frame, SERVICES_MAC))

    def _cross(self, way: _Transit, out: Port, receiver: Port | None) -> Outcome:
        port, packet = way.port, way.packet
        sender = self._owner(port, packet.source)
        _drop_if(not self._passes(port, packet, Direction.EGRESS, receiver), DropReason.EGRESS)
        mtu = min(port.mtu_bytes, out.mtu_bytes)
        if way.wire_bytes > mtu:
            return self._too_big(way, mtu)
        if not self._passes(out, packet, Direction.INGRESS, sender):
            return Dropped(at=out.eni_id, reason=DropReason.INGRESS)
        return Delivered(to=out.eni_id, frame=_readdressed(way.frame, out.mac))

    def _reach_gateway(self, way: _Transit) -> Outcome:
        mtu = way.port.mtu_bytes
        return self._too_big(way, mtu) if way.wire_bytes > mtu else _answer_gateway(way)

    def _too_big(self, way: _Transit, mtu: int) -> Outcome:
        port, packet = way.port, way.packet
        if packet.is_later or packet.is_error:
            return Dropped(at=port.eni_id, reason=DropReason.TOO_BIG)
        cidr = self._range(port, packet.family)
        gateway = gateway_of(cidr) if cidr is not None else type(packet.source)(0)
        reply = answers.too_big(port, gateway, packet, way.frame[14:], mtu)
        return Answered(at=port.eni_id, frame=reply, reason=DropReason.TOO_BIG)

    def _passes(self, port: Port, packet: Packet, direction: Direction, peer: Port | None) -> bool:
        key = _key(port, packet, direction)
        groups = frozenset(peer.security_group_ids) if peer else frozenset[SecurityGroupId]()
        opened = None if packet.opens_connection else self._flows.get(key)
        if opened is not None and accepts(port, _flow(key, opened, groups), self.state):
            return True
        if packet.is_error and self._quotes_flow(port, packet, direction):
            return True
        if not accepts(port, _flow(key, direction, groups), self.state):
            return False
        self._flows[key] = direction
        return True

    def _quotes_flow(self, port: Port, error: Packet, direction: Direction) -> bool:
        try:
            quoted = parse_packet(error.data[error.transport + 8 :], error.family, is_quoted=True)
        except MalformedError:
            return False
        against = Direction.EGRESS if direction is Direction.INGRESS else Direction.INGRESS
        return _key(port, quoted, against) in self._flows

    def _vswitch(self, port: Port) -> VSwitch:
        return next(one for one in self.state.vswitches if one.id == port.vswitch_id)

    def _range(self, port: Port, family: Family) -> IPNetwork | None:
        vswitch = self._vswitch(port)
        return vswitch.cidr if family is Family.V4 else vswitch.ipv6_cidr

    def _owner(self, port: Port, address: IPAddress) -> Port | None:
        in_vpc = (one for one in self.state.ports if one.vpc_id == port.vpc_id)
        return next((one for one in in_vpc if _has(one, address)), None)

    def _may_send(self, port: Port, source: IPAddress) -> bool:
        return not port.source_check or self._owner(port, source) is port

    def _ranges(self, port: Port) -> list[IPNetwork]:
        in_vpc = [one for one in self.state.vswitches if one.vpc_id == port.vpc_id]
        ranges: list[IPNetwork] = [one.cidr for one in in_vpc]
        return ranges + [one.ipv6_cidr for one in in_vpc if one.ipv6_cidr is not None]

    def _gateways(self, port: Port) -> list[IPAddress]:
        return [gateway_of(cidr) for cidr in self._ranges(port)]

    def _next_hop(self, port: Port, destination: IPAddress) -> Port:
        """Return the next hop of the longest route; a vSwitch's own range leads nowhere."""
        ways: list[tuple[int, bool, ENIId | None]] = [
            (cidr.prefixlen, True, None) for cidr in self._ranges(port) if destination in cidr
        ]
        ways += [
            (route.destination.prefixlen, False, route.next_hop)
            for route in self.state.routes
            if route.vpc_id == port.vpc_id and destination in route.destination
        ]
        _drop_if(not ways, DropReason.NO_ROUTE)
        _, _, next_hop = max(ways, key=lambda way: way[:2])
        out = next((one for one in self.state.ports if one.eni_id == next_hop), None)
        if out is None:
            raise _DropError(DropReason.NO_ADDRESS)
        return out


def _answer_gateway(way: _Transit) -> Outcome:
    packet = way.packet
    plain = packet.is_echo_request and packet.icmp is not None and packet.icmp[1] == 0
    _drop_if(not plain or packet.is_fragment, DropReason.GATEWAY)
    return Answered(at=way.port.eni_id, frame=answers.echo_reply(way.port, packet, way.frame))


def with_tag(frame: bytes, vlan_id: int) -> bytes:
    """Return a frame with an 802.1Q tag of priority 0."""
    return frame[:12] + _TAG + vlan_id.to_bytes(2, "big") + frame[12:]


def _readdressed(frame: bytes, mac: MacAddress) -> bytes:
    return pack_mac(mac) + pack_mac(ROUTER_MAC) + frame[12:]


def _drop_if(condition: bool, reason: DropReason) -> None:
    if condition:
        raise _DropError(reason)


def _key(port: Port, packet: Packet, direction: Direction) -> Tuple:
    source = (packet.source, packet.source_port)
    destination = (packet.destination, packet.destination_port)
    egress = direction is Direction.EGRESS
    local, remote = (source, destination) if egress else (destination, source)
    return (port.eni_id, packet.protocol, *local, *remote)


def _flow(key: Tuple, opened: Direction, groups: frozenset[SecurityGroupId]) -> Flow:
    _, protocol, _, local_port, peer, remote_port = key
    port = remote_port if opened is Direction.EGRESS else local_port
    return Flow(
        direction=opened, protocol=protocol, peer=peer, peer_groups=groups, destination_port=port
    )


def _has(port: Port, address: IPAddress) -> bool:
    """Return whether an address is the ENI's: its own, or one of its prefixes."""
    if address in port.ipv4 or address in port.ipv6:
        return True
    return any(address in prefix for prefix in port.prefixes)
