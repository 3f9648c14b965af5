"""When packets of a pod may leave, by the program that says so (BPF_PROG_TEST_RUN).

The rate is slow enough for the test to be far ahead of it, so nothing depends on how long it takes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest

from terway.linux import bpf
from terway.linux.bpf_program import run_program
from terway.linux.libbpf import LoadedObject, load_object, read_object
from terway.linux.pacing import OBJECT, PROGRAM

pytestmark = pytest.mark.root

PASS_ON, DROP = 0xFFFFFFFF, 2
RATE = 10_000  # bytes per second: 0.15 s for 1500 bytes
BURST_PACKETS = 7  # of 1500 bytes, in 10 500
PACKET_NS = 150_000_000
_SK_BUFF_BYTES = 192
_TSTAMP_AT, _WIRE_LEN_AT = 152, 160
_ONLY = struct.pack("=I", 0)


@dataclass(frozen=True, slots=True)
class Pacer:
    """The program, with the rate of one pod."""

    loaded: LoadedObject

    def hold(self, rate: int) -> None:
        bpf.map_of(self.loaded.maps["rates"]).update(_ONLY, struct.pack("=Q", rate))

    def send(self, *, tstamp: int = 0, wire_len: int = 1500, ecn: int = 0) -> Sent:
        frame = _frame(ecn)
        context = bytearray(_SK_BUFF_BYTES)
        struct.pack_into("=Q", context, _TSTAMP_AT, tstamp)
        struct.pack_into("=I", context, _WIRE_LEN_AT, wire_len)
        run = run_program(self.loaded.programs[PROGRAM], frame, context=bytes(context))
        (departs,) = struct.unpack_from("=Q", run.context, _TSTAMP_AT)
        return Sent(run.verdict, departs, run.packet[15] & 3)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a packet; `departs` is CLOCK_MONOTONIC, in nanoseconds."""

    verdict: int
    departs: int
    ecn: int


def _frame(ecn: int) -> bytes:
    """Return 1500 bytes of Ethernet and IPv4 (the checksum does not matter)."""
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, ecn, 1486, 0, 0, 64, 17, 0, bytes(4), bytes((192, 0, 2, 1))
    )
    return bytes(12) + b"\x08\x00" + header + bytes(1500 - 14 - len(header))


@pytest.fixture
def pacer() -> Iterator[Pacer]:
    loaded = load_object(read_object(OBJECT))
    try:
        made = Pacer(loaded)
        made.hold(RATE)
        yield made
    finally:
        loaded.close()


def test_a_burst_leaves_at_once_and_the_rest_one_after_the_other(pacer):
    before = time.monotonic_ns()
    at_once = [pacer.send() for _ in range(BURST_PACKETS + 1)]
    later = [pacer.send() for _ in range(10)]
    after = time.monotonic_ns()

    assert all(before <= one.departs <= after for one in at_once[:BURST_PACKETS])
    times = [one.departs for one in later]
    assert [b - a for a, b in pairwise(times)] == [PACKET_NS] * 9
    assert {one.verdict for one in (*at_once, *later)} == {PASS_ON}


@pytest.mark.parametrize("wire_len", [1500, 9014, 65_536])
def test_a_packet_takes_its_length_on_the_wire_by_the_rate(pacer, wire_len):
    pacer.hold(1_000_000)
    for _ in range(1 + 10_500 // wire_len + 30_000 // wire_len):  # past the burst
        pacer.send(wire_len=wire_len)

    one, other = pacer.send(wire_len=wire_len), pacer.send(wire_len=wire_len)

    assert other.departs - one.departs in (wire_len * 1000, wire_len * 1000 + 1)


def test_what_would_wait_for_two_seconds_is_dropped_and_delays_nobody(pacer):
    sent = [pacer.send() for _ in range(60)]
    kept = [one for one in sent if one.verdict == PASS_ON]

    assert {one.verdict for one in sent[-20:]} == {DROP}
    assert 2_000_000_000 / PACKET_NS <= len(kept) - BURST_PACKETS <= 2 + 2_000_000_000 / PACKET_NS
    again = pacer.send(tstamp=kept[-1].departs)
    assert again.departs - kept[-1].departs <= 2 * PACKET_NS


def test_what_waits_long_is_marked_for_those_who_can_read_it(pacer):
    for _ in range(BURST_PACKETS + 3):
        assert pacer.send(ecn=0).ecn == 0

    assert pacer.send(ecn=2).ecn == 3
    assert pacer.send(ecn=0).ecn == 0


def test_a_time_that_tcp_has_set_is_not_brought_forward(pacer):
    wanted = time.monotonic_ns() + 500_000_000

    assert pacer.send(tstamp=wanted).departs == wanted


def test_another_rate_counts_from_the_next_packet_and_keeps_the_clock(pacer):
    before = [pacer.send() for _ in range(BURST_PACKETS + 3)][-1]
    pacer.hold(2 * RATE)

    first, second = pacer.send(), pacer.send()

    assert first.departs - before.departs == PACKET_NS  # the last one at the old rate still leaves
    assert second.departs - first.departs == PACKET_NS // 2


def test_no_rate_is_no_limit(pacer):
    pacer.hold(0)

    assert {pacer.send().departs for _ in range(100)} == {0}
