"""A packet of a settled connection takes a shorter way through the program, to the same end."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terway.linux.ebpf.contract import (
    FLOW_ANSWERED,
    FLOW_AT_CLIENT,
    FLOW_BY_UPLINK,
    FLOW_HAIRPIN,
    FLOW_OPENER_FIN,
    FLOW_RST,
    FLOW_STATE,
    FLOW_TUPLE,
)
from terway.linux.ebpf.entries import pack_number
from terway.model.address import IPAddress, IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress
from tests.support.datapath_program import DataPathBench, Outcome, open_datapath_program
from tests.support.frames import ip

pytestmark = pytest.mark.root

GENERATION = 7
CLIENT = Endpoint(
    number=EndpointNumber(11),
    kind=EndpointKind.VETH,
    addresses=IPPair(v4=IPv4Address("10.0.0.11"), v6=IPv6Address("2001:db8::11")),
    gateways=IPPair(v4=IPv4Address("10.0.0.253"), v6=IPv6Address("2001:db8::fd")),
    pod_mac=MacAddress("02:00:00:00:00:11"),
    link_mac=MacAddress("02:00:00:00:01:11"),
)
SERVER = replace(
    CLIENT,
    number=EndpointNumber(12),
    addresses=IPPair(v4=IPv4Address("10.0.0.12"), v6=IPv6Address("2001:db8::12")),
    pod_mac=MacAddress("02:00:00:00:00:12"),
    link_mac=MacAddress("02:00:00:00:01:12"),
)
FAR = IPPair(v4=IPv4Address("10.9.0.1"), v6=IPv6Address("2001:db8:9::1"))
CLIENT_LINK, SERVER_LINK, ENI = 1, 2, 3
CLIENT_PORT, SERVER_PORT = 40000, 80

_SWITCHES = (0, FLOW_OPENER_FIN, FLOW_RST, FLOW_AT_CLIENT, FLOW_BY_UPLINK, FLOW_HAIRPIN)


@pytest.fixture(scope="module")
def bench():
    with open_datapath_program() as opened:
        eni = opened.ifindex(ENI)
        opened.put_endpoint(replace(CLIENT, eni=eni), link=CLIENT_LINK)
        opened.put_endpoint(replace(SERVER, eni=eni), link=SERVER_LINK)
        opened.maps["policy_generation"].update(pack_number(0), pack_number(GENERATION))
        opened.set(uplink=opened.ifindex(4), uplink_mtu=1500)
        yield opened


@st.composite
def packets(draw: st.DrawFn) -> tuple[str, bytes, bool]:
    """Draw a program, a frame for it, and whether the sender opened the connection."""
    family = draw(st.sampled_from(("v4", "v6")))
    is_forth = draw(st.booleans())
    is_here = draw(st.booleans())  # both ends
    is_sent = is_here or draw(st.booleans())
    near = _address(CLIENT.addresses, family)
    other = _address(SERVER.addresses if is_here else FAR, family)
    ends = ((near, CLIENT_PORT), (other, SERVER_PORT))
    (source, sport), (destination, dport) = ends if is_sent else reversed(ends)
    protocol = draw(st.sampled_from((6, 17)))
    packet = bytearray(ip(source, destination, protocol, _payload(draw, protocol, sport, dport)))
    _distort(draw, packet, family)
    if draw(st.booleans()):
        packet = packet[: draw(st.integers(20 if family == "v4" else 40, len(packet)))]
    ethertype = b"\x08\x00" if family == "v4" else b"\x86\xdd"
    program = "from_pod" if is_sent else "from_eni"
    return program, bytes(12) + ethertype + bytes(packet), is_forth


def _payload(draw: st.DrawFn, protocol: int, source: int, destination: int) -> bytes:
    ports = source.to_bytes(2, "big") + destination.to_bytes(2, "big")
    data = bytes(draw(st.sampled_from((0, 10, 1460, 1500))))
    if protocol == 17:
        return ports + (8 + len(data)).to_bytes(2, "big") + bytes(2) + data
    flags = draw(st.sampled_from((0x10, 0x18, 0x02, 0x12, 0x11, 0x04)))
    return ports + bytes(8) + bytes((0x50, flags)) + bytes(6) + data


def _distort(draw: st.DrawFn, packet: bytearray, family: str) -> None:
    """Change what makes a packet other than plain."""
    lives = draw(st.sampled_from((0, 1, 2, 64)))
    if family == "v6":
        packet[7] = lives
        return
    packet[8] = lives
    packet[6:8] = draw(st.sampled_from((b"\x00\x00", b"\x40\x00", b"\x20\x00", b"\x00\x05")))
    packet[0] = draw(st.sampled_from((0x45, 0x45, 0x46, 0x44)))


def _address(pair: IPPair, family: str) -> IPAddress:
    found = pair.v4 if family == "v4" else pair.v6
    assert found is not None
    return found


flows = st.fixed_dictionaries(
    {
        "flags": st.builds(
            lambda answered, other: answered | other,
            st.sampled_from((0, FLOW_ANSWERED, FLOW_ANSWERED)),
            st.sampled_from(_SWITCHES),
        ),
        "is_known": st.booleans(),
    }
)


@settings(max_examples=400, deadline=None)
@given(packets(), flows)
def test_what_goes_quickly_ends_where_it_would_have_ended(bench, packet, flow):
    program, frame, is_forth = packet

    slow = _run(bench, program, frame, _entry(frame, is_forth, flow, approved=GENERATION - 1))
    quick = _run(bench, program, frame, _entry(frame, is_forth, flow, approved=GENERATION))

    assert (quick.verdict, quick.frame, quick.losses) == (slow.verdict, slow.frame, slow.losses)


def test_a_settled_connection_is_taken_quickly(bench):
    frame = _plain()
    flow = {"flags": FLOW_ANSWERED, "is_known": True}
    key, value = _entry(frame, True, flow, approved=GENERATION)

    found = _run(bench, "from_pod", frame, (key, value))

    # The slow way would have written the entry: it is of an end that is not known yet.
    assert found.was_redirected
    assert bench.maps["flows"].lookup(key) == value


@pytest.mark.parametrize("end", ["opener", "other"])
def test_who_has_an_address_later_is_not_taken_for_who_had_it(bench, end):
    frame = _plain()
    key, value = _entry(
        frame, True, {"flags": FLOW_ANSWERED, "is_known": True}, approved=GENERATION
    )
    held = FLOW_STATE.unpack(value) | {end: 99}

    _run(bench, "from_pod", frame, (key, FLOW_STATE.pack(**held)))

    after = FLOW_STATE.unpack(bench.maps["flows"].lookup(key) or b"")
    assert (after["opener"], after["other"]) == (CLIENT.number, SERVER.number)
    assert not FLOW_STATE.integers(bench.maps["flows"].lookup(key) or b"")["flags"] & FLOW_ANSWERED


def _plain() -> bytes:
    """Return a packet between the two pods that are here."""
    data = CLIENT_PORT.to_bytes(2, "big") + SERVER_PORT.to_bytes(2, "big")
    segment = data + bytes(8) + bytes((0x50, 0x10)) + bytes(6)
    source, destination = CLIENT.addresses.v4, SERVER.addresses.v4
    assert source is not None
    assert destination is not None
    return bytes(12) + b"\x08\x00" + ip(source, destination, 6, segment)


def _entry(
    frame: bytes, is_forth: bool, flow: dict[str, int], *, approved: int
) -> tuple[bytes, bytes]:
    """Return key and value of `flows` for a frame's connection."""
    is_v4 = frame[12:14] == b"\x08\x00"
    source = frame[26:30] if is_v4 else frame[22:38]
    destination = frame[30:34] if is_v4 else frame[38:54]
    near = [one.packed for one in CLIENT.addresses]
    ports = [CLIENT_PORT, SERVER_PORT]
    ends = [(source, ports[source not in near]), (destination, ports[destination not in near])]
    opener, other = ends if is_forth else reversed(ends)
    is_turned = _order(opener) > _order(other)
    lesser, greater = (other, opener) if is_turned else (opener, other)
    key = FLOW_TUPLE.pack(
        source=lesser[0],
        destination=greater[0],
        source_port=lesser[1].to_bytes(2, "big"),
        destination_port=greater[1].to_bytes(2, "big"),
        protocol=frame[23] if is_v4 else frame[20],
        family=4 if is_v4 else 6,
    )
    numbers = {
        one: CLIENT.number if one in near else SERVER.number if one in _server() else 0
        for one in (opener[0], other[0])
    }
    value = FLOW_STATE.pack(
        seen_ns=_now_ns(),
        flags=flow["flags"] | (0x200 if is_turned else 0),
        approved=approved,
        opener=numbers[opener[0]] if flow["is_known"] else 0,
        other=numbers[other[0]] if flow["is_known"] else 0,
    )
    return key, value


def _server() -> list[bytes]:
    return [one.packed for one in SERVER.addresses]


def _order(end: tuple[bytes, int]) -> tuple[int, ...]:
    """Order ends as the program does: by words as the machine reads them, then by port."""
    packed = end[0].ljust(16, b"\0")
    words = [int.from_bytes(packed[i : i + 4], "little") for i in range(0, 16, 4)]
    return (*words, int.from_bytes(end[1].to_bytes(2, "big"), "little"))


def _now_ns() -> int:

    return time.monotonic_ns()


def _run(bench: DataPathBench, program: str, frame: bytes, entry: tuple[bytes, bytes]) -> Outcome:
    bench.forget("flows", "pieces")
    bench.maps["flows"].update(*entry)
    return bench.run(program, frame, link=CLIENT_LINK if program == "from_pod" else ENI)
