"""Whatever bytes a closed pod sends to a stranger, or a stranger to it: none of them passes."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terway.model.address import IPAddress
from tests.bpf.test_hostile_packets import (
    ATTACKER,
    ATTACKER_LINK,
    FRIEND,
    FRIEND6,
    INSIDE,
    OTHER,
    OTHER6,
    SPY,
    SPY6,
    VICTIM_LINK,
    bench,
    frame,
    loaded,
    pytestmark,
)
from tests.support.datapath_program import SHOT, DataPathBench
from tests.support.frames import SYN, fragment_header, icmp_error, ipv4, ipv6, tcp, udp

__all__ = ["bench", "loaded", "pytestmark"]

_MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
OPTIONS, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
# What opens with FRIEND, and so is known, when the rest begins.
OPENED = tcp(40000, 80, flags=SYN)

_own4 = tuple(one.addresses.v4 for one in (ATTACKER, INSIDE) if one.addresses.v4)
_own6 = tuple(one.addresses.v6 for one in (ATTACKER, INSIDE) if one.addresses.v6)
_segments = st.sampled_from((OPENED, tcp(80, 40000), udp(80, 40000)))
transports = st.one_of(
    st.builds(
        lambda ports, flags: (6, tcp(*ports, flags=flags)),
        st.tuples(*[st.sampled_from((80, 40000, 22))] * 2),
        st.integers(0, 63),
    ),
    st.builds(lambda ports: (17, udp(*ports)), st.tuples(*[st.sampled_from((53, 80))] * 2)),
    st.tuples(st.sampled_from((1, 58)), st.binary(min_size=8, max_size=60)),
    st.tuples(st.integers(0, 255), st.binary(max_size=60)),
)


@st.composite
def errors4(draw: st.DrawFn, source: IPv4Address, destination: IPv4Address) -> tuple[int, bytes]:
    """Draw an error that quotes a packet between any of those who are here.

    To a pod none about what it has sent itself: that passes, whoever says it.
    """
    hosts = [FRIEND, SPY, OTHER, *_own4]
    quoted = draw(st.sampled_from([one for one in hosts if _is_news(one, source, destination)]))
    whole = ipv4(quoted, draw(st.sampled_from(hosts)), 6, draw(_segments))
    return 1, icmp_error(whole, kind=draw(st.sampled_from((0, 3, 5, 8, 11, 12))))


@st.composite
def errors6(draw: st.DrawFn, source: IPv6Address, destination: IPv6Address) -> tuple[int, bytes]:
    """Draw the same in IPv6."""
    hosts = [FRIEND6, SPY6, OTHER6, *_own6]
    quoted = draw(st.sampled_from([one for one in hosts if _is_news(one, source, destination)]))
    whole = ipv6(quoted, draw(st.sampled_from(hosts)), 6, draw(_segments))
    return 58, icmp_error(whole, kind=draw(st.integers(0, 5)))


def _is_news(quoted: IPAddress, source: IPAddress, destination: IPAddress) -> bool:
    own = (*_own4, *_own6)
    return source in own or quoted != destination


@st.composite
def packets4(draw: st.DrawFn, source: IPv4Address, destination: IPv4Address) -> bytes:
    protocol, payload = draw(st.one_of(transports, errors4(source, destination)))
    packet = bytearray(
        ipv4(
            source,
            destination,
            protocol,
            payload,
            options=bytes(4 * draw(st.integers(0, 3))),
            fragment=draw(st.sampled_from((0, 0, 0x4000, 0x2000, 0x2001, 1, 2))),
        )
    )
    packet[8] = draw(st.sampled_from((1, 2, 64, 255)))
    return bytes(packet)


@st.composite
def packets6(draw: st.DrawFn, source: IPv6Address, destination: IPv6Address) -> bytes:
    following, payload = draw(st.one_of(transports, errors6(source, destination)))
    kinds = st.sampled_from((OPTIONS, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS))
    for kind in draw(st.lists(kinds, max_size=7)):
        if kind == FRAGMENT:
            offset = draw(st.sampled_from((0, 0, 8, 16)))
            header = fragment_header(following, offset, more=draw(st.booleans()))
        else:
            header = struct.pack("!BB6x", following, 0)
        following, payload = kind, header + payload
    hops = draw(st.sampled_from((1, 2, 64, 255)))
    return ipv6(source, destination, following, payload, hop_limit=hops)


@st.composite
def strangers(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a program, and a packet between a closed pod and somebody it may not speak to."""
    program = draw(st.sampled_from(("from_pod", "out_of_pod", "to_pod", "into_pod")))
    is_inside = program in ("out_of_pod", "into_pod")
    is_sent = program in ("from_pod", "out_of_pod")
    if draw(st.booleans()):
        ends4 = (_own4[is_inside], draw(st.sampled_from((SPY, OTHER))))
        return program, draw(packets4(*(ends4 if is_sent else ends4[::-1])))
    ends6 = (_own6[is_inside], draw(st.sampled_from((SPY6, OTHER6))))
    return program, draw(packets6(*(ends6 if is_sent else ends6[::-1])))


@_MANY
@given(st.lists(strangers(), min_size=1, max_size=4), st.binary(max_size=8), st.integers(0, 200))
def test_no_bytes_pass_between_a_closed_pod_and_a_stranger(bench, sent, noise, place):
    bench.forget()
    _open(bench)
    for program, packet in sent:
        spoilt = packet[:place] + noise + packet[place + len(noise) :]
        for one in (packet, spoilt if _same_ends(packet, spoilt) else packet):
            inner = program in ("out_of_pod", "into_pod")
            outcome = bench.run(
                program,
                frame(one),
                link=VICTIM_LINK if inner else ATTACKER_LINK,
                endpoint=INSIDE.number if inner else 0,
                came_by=3 if program == "to_pod" else 0,
            )
            assert outcome.verdict == SHOT, (program, one.hex())


def _open(bench: DataPathBench) -> None:
    """Have each closed pod speak to its friend."""
    for source, program in ((ATTACKER, "from_pod"), (INSIDE, "out_of_pod")):
        assert source.addresses.v4 is not None
        packet = frame(ipv4(source.addresses.v4, FRIEND, 6, OPENED))
        endpoint = source.number if source is INSIDE else 0
        assert bench.run(program, packet, link=ATTACKER_LINK, endpoint=endpoint).verdict != SHOT


def _same_ends(packet: bytes, spoilt: bytes) -> bool:
    """Whether noise has left family and addresses as they were: those the guard looks at."""
    last = 20 if packet[0] >> 4 == 4 else 40
    first = 12 if last == 20 else 8
    return packet[0] >> 4 == spoilt[0] >> 4 and packet[first:last] == spoilt[first:last]
