"""What rules of nftables log comes to us: whose packet, by which links, and how many were lost."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from contextlib import closing, suppress
from ipaddress import ip_address

import pytest

from terway.linux.ip_header import ICMP, ICMPV6, TCP, UDP, parse_ip_header
from terway.linux.nflog import LoggedPacket, PacketLog, bind_packet_log
from terway.model.errors import ConflictError
from tests.support.netns import ScratchNetns, scratch_netns
from tests.support.wires import on_one_core

pytestmark = pytest.mark.root

GROUP = 20101
STORM = 3000  # packets; a core that is late with its work has a queue for 1000 of them
PAIR = """
ip link add here type veth peer name eth0 netns {other}
ip address add 10.9.0.1/24 dev here; ip address add fd00:9::1/64 dev here nodad
sysctl -qw net.ipv6.conf.here.accept_dad=0; ip link set here up
nsenter --net={other} sh -ec '
ip address add 10.9.0.2/24 dev eth0; ip address add fd00:9::2/64 dev eth0 nodad
sysctl -qw net.ipv6.conf.eth0.accept_dad=0; ip link set eth0 up'
ip route add 10.10.0.0/16 via 10.9.0.2; ip -6 route add fd00:10::/64 via fd00:9::2
"""
RULES = """
table inet t {
  chain in { type filter hook input priority 0
    meta l4proto ipv6-icmp icmpv6 type != echo-request accept
    udp dport 9 accept
    meta mark set 7 counter log prefix "denied by rs9" group 20101 drop
  }
}
"""


@pytest.fixture
def ends():
    with scratch_netns("logged") as node, scratch_netns("sender") as sender:
        node.run(PAIR.format(other=sender.path))
        node.run(f"nft -f - <<'END'{RULES}END")
        yield node, sender


def _send(sender: ScratchNetns, kind: int, protocol: int, to: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with sender.entered():
        opened = socket.socket(family, kind, protocol)
    with opened:
        opened.setblocking(False)
        if kind == socket.SOCK_RAW:
            # Both families' echo request; the kernel writes ICMPv6's checksum.
            head = b"\x08\x00\xf7\xfe" if family == socket.AF_INET else b"\x80\x00\x00\x00"
            opened.sendto(head + b"\x00\x00\x00\x01", (to, 0))
        else:
            opened.connect_ex((to, port))
            if kind == socket.SOCK_DGRAM:
                opened.send(b"hello")


async def _next(log: PacketLog) -> LoggedPacket:
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(log.fileno(), ready.set)
    try:
        async with asyncio.timeout(10):
            while not (taken := log.take()).packets:
                ready.clear()
                await ready.wait()
    finally:
        loop.remove_reader(log.fileno())
    return taken.packets[0]


@pytest.mark.parametrize(
    ("kind", "protocol", "number", "to"),
    [
        (socket.SOCK_STREAM, 0, TCP, "10.9.0.1"),
        (socket.SOCK_STREAM, 0, TCP, "fd00:9::1"),
        (socket.SOCK_DGRAM, 0, UDP, "10.9.0.1"),
        (socket.SOCK_DGRAM, 0, UDP, "fd00:9::1"),
        (socket.SOCK_RAW, socket.IPPROTO_ICMP, ICMP, "10.9.0.1"),
        (socket.SOCK_RAW, socket.IPPROTO_ICMPV6, ICMPV6, "fd00:9::1"),
    ],
)
async def test_a_logged_packet_says_who_talked_to_whom(ends, kind, protocol, number, to):
    node, sender = ends
    with closing(bind_packet_log(GROUP, node.path)) as log:
        _send(sender, kind, protocol, to, 8080)
        logged = await _next(log)
        header = parse_ip_header(logged.packet)
        assert header is not None
        assert header.protocol == number
        assert header.destination == ip_address(to)
        assert header.source == ip_address(to.replace("9::1", "9::2").replace("0.1", "0.2"))
        if number in (TCP, UDP):
            assert header.destination_port == 8080
            assert header.source_port > 0
        else:
            assert header.icmp_type == (8 if number == ICMP else 128)
        assert logged.prefix == "denied by rs9"
        assert logged.mark == 7
        assert log.link_name(logged.in_index) == "here"
        assert log.link_name(logged.out_index) == ""
        assert len(logged.packet) <= 128


async def test_the_rule_costs_nothing_and_says_nothing_while_nobody_listens(ends):
    node, sender = ends
    with node.entered():
        fence = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with on_one_core(), fence:
        fence.bind(("10.9.0.1", 9))
        fence.settimeout(10)
        _send(sender, socket.SOCK_DGRAM, 0, "10.9.0.1", 1)
        _send(sender, socket.SOCK_DGRAM, 0, "10.9.0.1", 9)
        fence.recv(8)  # it is allowed, and came after the other
    with closing(bind_packet_log(GROUP, node.path)) as log:
        assert log.take().packets == ()
        _send(sender, socket.SOCK_DGRAM, 0, "10.9.0.1", 2)
        header = parse_ip_header((await _next(log)).packet)
        assert header is not None
        assert header.destination_port == 2


async def test_packets_beyond_the_buffer_are_counted_as_lost_to_the_last(ends):
    node, sender = ends
    with closing(bind_packet_log(GROUP, node.path, buffer_bytes=16 * 1024)) as log:
        with sender.entered():
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with opened:
            opened.connect(("10.9.0.1", 53))
            opened.send(b"hello")
            await _next(log)  # the neighbour is found: none waits for it from here on
            for _ in range(STORM):
                opened.send(b"hello")
            while _logged(node) < STORM // 10:
                pass  # each look takes its time
            first = log.take()
            assert first.lost >= 1
            seen, lost = 1 + len(first.packets), first.lost
            # One more after the storm: its number tells how many there were in between.
            async with asyncio.timeout(60):
                while (reached := _logged(node)) > seen + lost:
                    opened.send(b"hello")
                    with suppress(TimeoutError):  # it was lost on its way to the rule
                        await _readable(log, within_s=1.0)
                    more = log.take()
                    seen, lost = seen + len(more.packets), lost + more.lost
        assert seen + lost == reached
        assert lost > 0


def _logged(node: ScratchNetns) -> int:
    """Return how many packets the rule has seen: not all that were sent get as far."""
    counted = re.search(r"counter packets (\d+)", node.run("nft list chain inet t in"))
    assert counted
    return int(counted[1])


async def _readable(log: PacketLog, *, within_s: float = 10.0) -> None:
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(log.fileno(), ready.set)
    try:
        async with asyncio.timeout(within_s):
            await ready.wait()
    finally:
        loop.remove_reader(log.fileno())


async def test_a_group_is_of_one_reader_and_free_again_after_it(ends):
    node, _sender = ends
    first = bind_packet_log(GROUP, node.path)
    with closing(first), pytest.raises(ConflictError, match=f"bind log group {GROUP}.*another"):
        bind_packet_log(GROUP, node.path)
    bind_packet_log(GROUP, node.path).close()


async def test_a_namespace_that_is_gone_is_a_conflict():
    path = f"/run/netns/nobody-{os.getpid()}"
    with pytest.raises(ConflictError):
        bind_packet_log(GROUP, path)
