"""How departure times hold what a pod sends: one program for its links, and fq on each.

    eth0, veth1  clsact egress   program: this packet's departure, by the one clock of the pod
                 root            fq: keeps each packet until then

The program is loaded once for each pod that has a limit (some 5 ms): inside the pod a packet has
nothing that no other pod's has, no ifindex and no address that it could not forge, so nothing that
one map for all could be asked by. It lives as long as a link has it. Blocking; for workers.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager

from terway.bpf_objects import object_path
from terway.linux import bpf_find
from terway.linux.bpf import Map, map_of
from terway.linux.libbpf import load_object, read_object
from terway.linux.netlink import link, qdisc, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.qdisc import PACED_HANDLE, ROOT
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import AttachedProgram, Hook
from terway.model.network import Link
from terway.model.traffic import Pacing

OBJECT = object_path("pacing")
PROGRAM = "terway_pacing"
PRIORITY = 250  # of the filter

_ONLY = struct.pack("=I", 0)
_RATE = struct.Struct("=Q")


def put(sock: RouteSocket, wanted: Pacing, ifindex: int) -> None:
    """Make a link's packets leave at a rate, together with those of the pod's other links.

    Raises ConflictError (code ENOENT) where the kernel has no fq.
    """
    sock.request(qdisc.put_simple(ifindex, "fq", handle=PACED_HANDLE))
    with _program(sock) as (fd, rates):
        rates.update(_ONLY, _RATE.pack(wanted.rate_bytes_s))
        sock.request(traffic.put_clsact(ifindex))
        sock.request(
            traffic.put_program(
                ifindex, Hook.EGRESS, program_fd=fd, name=PROGRAM, priority=PRIORITY
            )
        )


def detach(ifindex: int) -> Request:
    """Return what takes the program from a link; that it is not there is success."""
    return traffic.remove_programs(ifindex, Hook.EGRESS, priority=PRIORITY)


def read(sock: RouteSocket, found: Link) -> Iterator[Pacing]:
    """Yield the rate at which a link's packets leave, if we say so."""
    if found.qdisc != "fq":
        return
    roots = (one for one in sock.query(qdisc.qdiscs_of(found.ifindex)) if one.parent == ROOT)
    if not any(one.handle == PACED_HANDLE for one in roots):
        return
    for one in _attached(sock, found.ifindex):
        with bpf_find.program_maps(one.number) as maps:
            rate = maps["rates"].lookup(_ONLY) if "rates" in maps else None
        if rate is not None:
            yield Pacing(link=found.name, rate_bytes_s=_RATE.unpack(rate)[0])


@contextmanager
def _program(sock: RouteSocket) -> Iterator[tuple[int, Map]]:
    """Open the pod's program, loading it for the first of its links."""
    for one in sock.query(link.all_links()):
        for held in _attached(sock, one.ifindex):
            fd = bpf_find.open_program(held.number)
            if fd is not None:
                with _opened(fd) as rates:
                    yield fd, rates
                return
    with closing(load_object(read_object(OBJECT))) as loaded:
        yield loaded.programs[PROGRAM], map_of(loaded.maps["rates"])


@contextmanager
def _opened(fd: int) -> Iterator[Map]:
    maps = bpf_find.open_maps(fd)
    try:
        yield maps["rates"]
    finally:
        for one in (fd, *(held.fd for held in maps.values())):
            os.close(one)


def _attached(sock: RouteSocket, ifindex: int) -> list[AttachedProgram]:
    found = sock.query(traffic.attached_programs(ifindex, Hook.EGRESS))
    return [one for one in found if (one.name, one.priority) == (PROGRAM, PRIORITY)]
