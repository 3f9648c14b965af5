"""The programs as who answers about policies: maps filled for a node, one packet a question."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from terway.linux.ebpf.entries import pack_address_of
from terway.linux.ebpf.losses import Loss
from terway.linux.ebpf.policy_maps import PolicyMaps
from terway.model.address import IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.policy_maps import Content
from terway.policy.bpf.judge import Judge, Question
from terway.policy.cluster import Protocol
from tests.support.datapath_program import DataPathBench
from tests.support.frames import echo, ip, tcp, udp

OWN = IPPair(v4=IPv4Address("10.255.255.1"), v6=IPv6Address("fd00:ffff::1"))
POLICY_LOSSES = frozenset({Loss.POLICY_EGRESS, Loss.POLICY_INGRESS})
SOURCE_PORT = 40_000


def first_packet(asked: Question) -> bytes:
    """Return the frame that opens a connection, as its endpoint sends or gets it."""
    own = OWN.v4 if asked.other.version == 4 else OWN.v6
    assert own is not None
    source, destination = (own, asked.other) if asked.is_opener else (asked.other, own)
    number, payload = _transport(asked)
    ethertype = b"\x08\x00" if asked.other.version == 4 else b"\x86\xdd"
    return bytes(12) + ethertype + ip(source, destination, number, payload)


def _transport(asked: Question) -> tuple[int, bytes]:
    match asked.protocol:
        case Protocol.TCP:
            return 6, tcp(SOURCE_PORT, asked.port)
        case Protocol.UDP:
            return 17, udp(SOURCE_PORT, asked.port)
        case Protocol.SCTP:
            init = b"\x01\0\0\x14" + bytes(16)
            return 132, udp(SOURCE_PORT, asked.port)[:4] + bytes(8) + init
        case Protocol.OTHER:
            return 1, echo(7, v6=asked.other.version == 6)


class ProgramNode:
    """One node's policies in the maps of a bench; several take turns in it."""

    def __init__(self, bench: DataPathBench, maps: PolicyMaps, content: Content) -> None:
        self._bench = bench
        self._maps = maps
        self._content = content

    def allows(self, asked: Question) -> bool:
        """Return what the programs say; of a pod that meets itself, what the maps say on paper."""
        if asked.is_itself:
            return Judge(self._content).allows(asked)
        self._take_turn()
        number = EndpointNumber(asked.endpoint)
        pod = Endpoint(number=number, kind=EndpointKind.EXCLUSIVE, addresses=OWN)
        self._bench.put_endpoint(pod, link=0)
        if asked.is_own_node:
            self._bench.put_node_address(asked.other)
        self._bench.forget()
        program = "out_of_pod" if asked.is_opener else "into_pod"
        outcome = self._bench.run(program, first_packet(asked), endpoint=number)
        self._bench.maps["locals"].delete(pack_address_of(asked.other))
        assert {reason for _, reason in outcome.losses} <= POLICY_LOSSES
        assert outcome.went_on is not bool(outcome.losses)
        return outcome.went_on

    def _take_turn(self) -> None:
        if self._maps.read() != self._content:
            self._maps.remove(self._maps.read().keys())
            self._maps.put(self._content)
            self._maps.switch(self._content.generation)
