"""What of ours goes from a node's kernel when upstream Terway has it back? No pod's packet with it.

guards, at pods' links     gone: upstream has none
tables of nftables         gone: connections, translation, policies (felix makes its own)
data path in eBPF          gone: the stack underneath goes on
trunks                     upstream's filters, where there are members; then our programs go
queues, classes            stay: what pods that run need, and upstream makes at ADD alone
clsact                     stays: to remove it would stop the link's queues for a moment
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.linux import guard, nftables, trunk
from terway.linux.ebpf.node_sockets import stop_serving
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.removal import remove_datapath
from terway.linux.netlink import link
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.shared_program import SharedProgram
from terway.linux.upstream_filters import put_filters
from terway.model.network import Link
from terway.model.traffic import TrunkMember

_TABLE_PREFIX = "terway_"


def hand_back(
    sock: RouteSocket, pins: Pins, members: Iterable[TrunkMember] = ()
) -> tuple[str, ...]:
    """Take what upstream has not from the namespace of `sock`; return in words what there was.

    `members` are those of trunks, which go on being tagged. Idempotent, and blocking. No terwayd
    may run.
    """
    stop_serving(pins)
    links = remove_datapath(sock, pins)
    done = (f"data path in eBPF: at {links} links",) if links else ()
    return (*done, *_trunks(sock, tuple(members)), *_guards(sock), *_tables())


def _trunks(sock: RouteSocket, members: tuple[TrunkMember, ...]) -> Iterator[str]:
    """Have upstream's filters tag, and then our programs not: a frame that has a tag, or has none
    any more, is nothing to the filters, so both together do no harm."""
    programs = trunk.programs()
    for one in sock.query(link.all_links()):
        if any(any(program.attached(sock, one.ifindex)) for program in programs):
            yield from _return_trunk(sock, one, members)
            for program in programs:
                sock.request(program.detach(one.ifindex))


def _return_trunk(
    sock: RouteSocket, link_: Link, members: tuple[TrunkMember, ...]
) -> Iterator[str]:
    own = [one for one in members if one.link == link_.name and not one.has_device]
    if own:
        for request in put_filters(link_.ifindex, own):
            sock.request(request)
    yield f"trunk {link_.name}: tags of {len(own)} members by upstream's filters"


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
