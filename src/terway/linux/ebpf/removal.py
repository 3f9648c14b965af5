"""How does the data path go, and leave no trace in the kernel? Blocking; for workers.

Pods' packets go by the node's stack from then on: the rules and routes of policy routing are
there. Links go first, then the maps, which nobody reads any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from terway.linux.ebpf import tcx
from terway.linux.ebpf.hooks import NAME_PREFIX, PRIORITY, STAMP_PRIORITY
from terway.linux.ebpf.node_sockets import stop_serving
from terway.linux.ebpf.pinned_programs import forget_programs
from terway.linux.ebpf.pins import PROGRAMS, Pins, is_bpffs
from terway.linux.netlink import link, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.model.network import Link

_OURS = frozenset({PRIORITY, STAMP_PRIORITY})


def remove_datapath(sock: RouteSocket, pins: Pins) -> int:
    """Take programs, pins and maps of the data path away; return how many links had programs.

    Of the namespace of `sock`. That there is nothing is success.
    """
    pinned = _remove_links(pins)
    with_filters = remove_programs(sock)
    stop_serving(pins)
    for layout in pins.layouts():
        pins.drop(layout)
    forget_programs(pins.folder(PROGRAMS))
    pins.forget()
    return len(with_filters | pinned)


def remove_programs(sock: RouteSocket) -> set[int]:
    """Take the filters of the data path from all links of a namespace; return which had some."""
    found = {one.ifindex for one in sock.query(link.all_links()) if _is_seen(sock, one)}
    for ifindex in found:
        for request in (*_filters(ifindex), *clsact_without_use(sock, ifindex, _OURS)):
            sock.request(request)
    return found


def _remove_links(pins: Pins) -> set[int]:
    if not is_bpffs(pins.root) or not pins.links.is_dir():
        return set()
    found = tuple(pins.links.iterdir())
    for one in found:
        tcx.remove(one)
    return {int(one.name.partition("-")[0]) for one in found if one.name[0].isdecimal()}


def _is_seen(sock: RouteSocket, one: Link) -> bool:
    return any(
        found.priority in _OURS and found.name.startswith((NAME_PREFIX, "tw_"))
        for hook in Hook
        for found in sock.query(traffic.attached_programs(one.ifindex, hook))
    )


def _filters(ifindex: int) -> Iterable[Request]:
    for hook in Hook:
        for priority in sorted(_OURS):
            yield traffic.remove_programs(ifindex, hook, priority=priority)


def clsact_without_use(
    sock: RouteSocket, ifindex: int, unused: frozenset[int]
) -> tuple[Request, ...]:
    """Return what removes the clsact of a link that has filters of `unused` priorities alone."""
    used = {one for hook in Hook for one in sock.query(traffic.used_priorities(ifindex, hook))}
    return () if used - unused else (traffic.remove_clsact(ifindex),)
