"""What of ours goes from a node's kernel when upstream Terway has it back? No pod's packet with it.

guards, at pods' links     gone: upstream has none
tables of nftables         gone: connections, translation, policies (felix makes its own)
data path in eBPF          gone: the stack underneath goes on
queues, classes, trunks    stay: what pods that run need, and upstream makes at ADD alone
clsact                     stays: to remove it would stop the link's queues for a moment
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.linux import guard, nftables
from terway.linux.ebpf.node_sockets import stop_serving
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.removal import remove_datapath
from terway.linux.netlink import link
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.shared_program import SharedProgram

_TABLE_PREFIX = "terway_"


def hand_back(sock: RouteSocket, pins: Pins) -> tuple[str, ...]:
    """Take what upstream has not from the namespace of `sock`; return in words what there was.

    Idempotent, and blocking. No terwayd may run.
    """
    stop_serving(pins)
    links = remove_datapath(sock, pins)
    done = (f"data path in eBPF: at {links} links",) if links else ()
    return (*done, *_guards(sock), *_tables())


def _guards(sock: RouteSocket) -> Iterator[str]:
    program = SharedProgram(guard.OBJECT, guard.PROGRAM, hook=Hook.INGRESS, priority=guard.PRIORITY)
    for one in sock.query(link.all_links()):
        if any(program.attached(sock, one.ifindex)):
            sock.request(program.detach(one.ifindex))
            yield f"guard of {one.name}"


def _tables() -> Iterator[str]:
    names = (line.removeprefix("table ") for line in nftables.run("list tables").splitlines())
    for name in names:
        if name.partition(" ")[2].startswith(_TABLE_PREFIX):
            nftables.run(f"delete table {name}")
            yield f"table {name} of nftables"
