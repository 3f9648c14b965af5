"""What does terwayd leave in a node's kernel beside its pods' links, and how does it go?

Programs of eBPF with their maps and pins, at links and at sockets; queues; tables of nftables; in
the node's namespace, and inside pods. What running pods need to go on stays: their links,
addresses, routes and rules. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from terway.linux import guard, living_links, nftables, pacing, priorities, trunk
from terway.linux.ebpf.node_sockets import stop_serving
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.removal import clsact_without_use, remove_datapath, remove_programs
from terway.linux.netlink import link, qdisc, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netlink.traffic import Hook
from terway.linux.netns import entered, open_netns
from terway.linux.trunk_contract import POP_PRIORITY, POP_PROGRAM
from terway.model.errors import VpcError
from terway.model.network import Link

_NAMES = {
    guard.PROGRAM: guard.PRIORITY,
    priorities.PROGRAM: priorities.PRIORITY,
    trunk.PUSH_PROGRAM: trunk.PUSH_PRIORITY,
    POP_PROGRAM: POP_PRIORITY,
}
_OURS = frozenset({*_NAMES.values(), pacing.PRIORITY})
_TABLE_PREFIX = "terway_"
_HANDLES = frozenset({qdisc.HANDLE, qdisc.PACED_HANDLE})


def uninstall(sock: RouteSocket, pins: Pins, pods: Iterable[str] = ()) -> tuple[str, ...]:
    """Take what is ours from the namespace of `sock`, which the calling thread is in.

    `pods` are the paths of namespaces that may have some, too. Return in words what there was.
    Idempotent. No terwayd may run.
    """
    inside = tuple(line for path in sorted(set(pods)) for line in _uninstall_inside(path))
    stop_serving(pins)
    links = remove_datapath(sock, pins)
    done = (f"data path in eBPF: at {links} links",) if links else ()
    return (*inside, *done, *_take_rest(sock))


def _uninstall_inside(path: str) -> tuple[str, ...]:
    done: tuple[str, ...] = ()
    with (
        suppress(VpcError),  # the namespace is gone, and all in it
        open_netns(path) as opened,
        entered(opened.fd),
        open_route_socket() as sock,
    ):
        links = remove_programs(sock)
        done = (f"data path in eBPF: at {len(links)} links",) if links else ()
        done = (*done, *_take_rest(sock))
    return tuple(f"{line} in {path}" for line in done)


def _take_rest(sock: RouteSocket) -> tuple[str, ...]:
    done = []
    for one in sock.query(link.all_links()):
        requests = (*_filters(sock, one), *_queues(sock, one))
        for request in requests:
            sock.request(request)
        has_guard = living_links.remove(one.ifindex, Hook.INGRESS, guard.PROGRAM)
        if requests or has_guard:
            done.append(f"filters and queues of {one.name}")
    return (*done, *_drop_tables())


def _drop_tables() -> Iterator[str]:
    names = (line.removeprefix("table ") for line in nftables.run("list tables").splitlines())
    for name in names:
        if name.partition(" ")[2].startswith(_TABLE_PREFIX):
            nftables.run(f"delete table {name}")
            yield f"table {name} of nftables"


def _filters(sock: RouteSocket, one: Link) -> Iterator[Request]:
    found = [
        (hook, held.priority)
        for hook in Hook
        for held in sock.query(traffic.attached_programs(one.ifindex, hook))
        if _NAMES.get(held.name) == held.priority
    ]
    for hook, priority in found:
        yield traffic.remove_programs(one.ifindex, hook, priority=priority)
    if found:
        yield from clsact_without_use(sock, one.ifindex, _OURS)


def _queues(sock: RouteSocket, one: Link) -> Iterable[Request]:
    roots = (held for held in sock.query(qdisc.qdiscs_of(one.ifindex)) if held.parent == qdisc.ROOT)
    return (qdisc.remove_root(one.ifindex),) if any(r.handle in _HANDLES for r in roots) else ()
