"""How several links of a pod share a limit: an ifb with a tbf, and filters that lead there.

    eth0  clsact ─ mirred ─┐
    veth1 clsact ─ mirred ─┴► tw-egress: tbf ─► back, out of the link that it came from

The ifb hands a packet back to where it was taken from, past the filter that took it. It is made
with the first limit of a direction and deleted with the last. Blocking; for workers.
Source: drivers/net/ifb.c, net/sched/act_mirred.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.linux.netlink import link, qdisc, redirect, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.model.errors import ConflictError
from terway.model.network import Link, LinkSettings
from terway.model.traffic import SHARED_LINK, Direction, SharedLimit, TokenBucket

PRIORITY = 200  # of the filters
_HOOKS = {Direction.INGRESS: Hook.INGRESS, Direction.EGRESS: Hook.EGRESS}


def put(sock: RouteSocket, wanted: SharedLimit, ifindex: int) -> tuple[Request, ...]:
    """Make the bucket, or change it; return what leads the link's packets through it.

    A bucket that is there keeps what waits in it, and so does a filter that is right.
    """
    name = wanted.bucket.link
    target = sock.index_of(name) or _made(sock, name)
    sock.request(qdisc.put_tbf(wanted.bucket, target))
    sock.request(link.change(LinkSettings(name=name)))
    hook = _HOOKS[wanted.direction]
    if _leads_to(sock, ifindex, hook, target):
        return ()
    return (
        traffic.put_clsact(ifindex),
        redirect.put_redirect(ifindex, hook, target=target, priority=PRIORITY),
    )


def _made(sock: RouteSocket, name: str) -> int:
    sock.request(link.create_ifb(name))
    made = sock.index_of(name)
    if made is None:
        raise ConflictError(f"there is no link {name!r}", code="ENODEV")
    sock.request(link.without_own_addresses(made))
    return made


def remove(sock: RouteSocket, unwanted: SharedLimit, ifindex: int) -> None:
    """Lead the link's packets past the bucket; delete the bucket when nobody is led to it."""
    hook, name = _HOOKS[unwanted.direction], unwanted.bucket.link
    sock.request(traffic.remove_programs(ifindex, hook, priority=PRIORITY))
    target = sock.index_of(name)
    if target is None:
        return
    others = (one.ifindex for one in sock.query(link.all_links()))
    if not any(_leads_to(sock, one, hook, target) for one in others):
        sock.request(link.delete(name))


def read(sock: RouteSocket, found: Link) -> Iterator[SharedLimit]:
    """Yield the limits that a link shares, or could share, with others.

    A pod without limits costs two calls of some microseconds.
    """
    for direction, name in SHARED_LINK.items():
        target = sock.index_of(name)
        if target is None or not _leads_to(sock, found.ifindex, _HOOKS[direction], target):
            continue
        bucket = _bucket(sock, name)
        if bucket is not None:
            yield SharedLimit(link=found.name, direction=direction, bucket=bucket)


def _bucket(sock: RouteSocket, name: str) -> TokenBucket | None:
    found = sock.first(link.by_name(name))
    if found is None or not found.is_up:
        return None  # what is led there is lost
    buckets = (qdisc.token_bucket(one, name) for one in sock.query(qdisc.qdiscs_of(found.ifindex)))
    return next((one for one in buckets if one is not None), None)


def _leads_to(sock: RouteSocket, ifindex: int, hook: Hook, target: int) -> bool:
    return target in sock.query(redirect.redirects(ifindex, hook, priority=PRIORITY))
