"""What is forgotten when an address goes to another pod: all of its connections, and no others.

Bug class 41: a connection that never came to be (SYN_SENT) keeps its ports busy for the next owner.
Bug class 40: clearing too much ends connections of pods that are not concerned.
Bug class 39: entries of UDP that nobody answers.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from terway.linux.kernel import open_kernel
from tests.support.netns import ScratchNetns

pytestmark = pytest.mark.root

MINE = ("10.9.0.1", "fd00:9::1")
OTHERS = ("10.9.0.2", "fd00:9::2")
LAN = """
ip link add here type veth peer name there; ip link set here up; ip link set there up
sysctl -qw net.ipv6.conf.here.accept_dad=0
for ip in 10.9.0.1/24 10.9.0.2/24; do ip address add $ip dev here; done
for ip in fd00:9::1/64 fd00:9::2/64; do ip address add $ip dev here nodad; done
for ip in 10.9.0.77 fd00:9::77; do ip neigh add $ip lladdr 02:00:00:00:00:77 dev here; done
nft -f - <<'END'
table inet track {
  chain output { type filter hook output priority 0; ct state new accept; }
}
END
"""


@contextmanager
def _connections(netns: ScratchNetns, address: str) -> Iterator[None]:
    """A connection that nobody answers and a datagram that nobody answers, from `address`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    far = "fd00:9::77" if family == socket.AF_INET6 else "10.9.0.77"
    with netns.entered():
        tcp = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        udp = socket.socket(family, socket.SOCK_DGRAM)
    with tcp, udp:
        tcp.bind((address, 0))
        tcp.connect_ex((far, 80))
        udp.bind((address, 0))
        udp.sendto(b"hello", (far, 53))
        yield


@pytest.mark.parametrize("mine", MINE)
async def test_what_waits_for_an_answer_is_forgotten_with_its_address_alone(netns, mine):
    netns.run(LAN)
    addresses = [ip_address(mine)]
    others = [ip_address(one) for one in (*MINE, *OTHERS) if one != mine]
    async with open_kernel() as kernel:
        with (
            _connections(netns, MINE[0]),
            _connections(netns, MINE[1]),
            _connections(netns, OTHERS[0]),
            _connections(netns, OTHERS[1]),
        ):
            assert await kernel.count_connections(addresses) == 2

            assert await kernel.forget_connections(addresses) == 2

            assert await kernel.count_connections(addresses) == 0
            assert await kernel.count_connections(others) == 6
