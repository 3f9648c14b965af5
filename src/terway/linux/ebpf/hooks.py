"""At which hook is which program of the data path, and how does it get there?

    a pod's link        filters of clsact: from_pod at ingress (after the guard), to_pod at egress
    a pod's own device  a stamp and out_of_pod at egress, a stamp and into_pod at ingress
    an ENI              from_eni at ingress            by a pinned tcx link, or else filters;
                        of a trunk with members filters, behind what takes the tags off
    the uplink          from_uplink, to_uplink         the same

A filter goes with its link and stays when terwayd goes; putting one over another of its place is
one step, without a packet between the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from terway.linux.ebpf import tcx
from terway.linux.ebpf.programs import EntryPoint
from terway.linux.ebpf.stamp import open_stamp, stamp_name
from terway.linux.netlink import qdisc, traffic
from terway.linux.netlink.codec import Request
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.trunk_contract import POP_PRIORITY, POP_PROGRAM
from terway.model.endpoint import EndpointNumber
from terway.model.errors import VpcError
from terway.model.programs import Edge

# After the guard (100). Before what a limit leads away (200): that does not pass here again.
STAMP_PRIORITY = 149
PRIORITY = 150
NAME_PREFIX = "terway_"  # of filters; the entry point's name follows

POD_HOOKS = {Hook.INGRESS: "from_pod", Hook.EGRESS: "to_pod"}
INNER_HOOKS = {Hook.INGRESS: "into_pod", Hook.EGRESS: "out_of_pod"}
EDGE_HOOKS = {
    Edge.ENI: {Hook.INGRESS: "from_eni"},
    Edge.UPLINK: {Hook.INGRESS: "from_uplink", Hook.EGRESS: "to_uplink"},
}

Programs = Mapping[str, EntryPoint]


def put_filters(ifindex: int, programs: Programs, hooks: Mapping[Hook, str]) -> tuple[Request, ...]:
    """Return what puts programs at a link's hooks, or exchanges those that are there."""
    return (traffic.put_clsact(ifindex), *_filters(ifindex, programs, hooks))


def _filters(ifindex: int, programs: Programs, hooks: Mapping[Hook, str]) -> Iterator[Request]:
    for hook, name in hooks.items():
        yield traffic.put_program(
            ifindex,
            hook,
            program_fd=programs[name].fd,
            name=f"{NAME_PREFIX}{name}",
            priority=PRIORITY,
        )


def remove_filters(ifindex: int) -> tuple[Request, ...]:
    """Return what takes programs and stamps from a link's hooks."""
    places = ((hook, priority) for hook in Hook for priority in (STAMP_PRIORITY, PRIORITY))
    return tuple(
        traffic.remove_programs(ifindex, hook, priority=priority) for hook, priority in places
    )


def has_filters(
    sock: RouteSocket, ifindex: int, programs: Programs, hooks: Mapping[Hook, str]
) -> bool:
    """Return whether these very programs see a link's packets."""
    return all(
        any(
            (one.priority, one.number) == (PRIORITY, programs[name].number)
            for one in sock.query(traffic.attached_programs(ifindex, hook))
        )
        for hook, name in hooks.items()
    )


def put_stamped(
    sock: RouteSocket, ifindex: int, programs: Programs, number: EndpointNumber
) -> tuple[Request, ...]:
    """Stamp what passes a device inside a pod; return what puts the programs behind the stamp.

    The stamps stand when this returns: behind none, the programs would let nothing pass.
    """
    if any(
        traffic.is_instead_of_clsact(one.kind, one.parent)
        for one in sock.query(qdisc.qdiscs_of(ifindex))
    ):
        sock.request(traffic.remove_instead_of_clsact(ifindex))
    sock.request(traffic.put_clsact(ifindex))
    with open_stamp(number) as fd:
        for hook in INNER_HOOKS:
            name = stamp_name(number)
            sock.request(
                traffic.put_program(
                    ifindex, hook, program_fd=fd, name=name, priority=STAMP_PRIORITY
                )
            )
    return tuple(_filters(ifindex, programs, INNER_HOOKS))


def remove_before(sock: RouteSocket, ifindex: int) -> tuple[Request, ...]:
    """Return what removes filters that stand before ours at a device inside a pod.

    A pod with CAP_NET_ADMIN can put one there that ends the way of a packet, or leads it off.
    """
    return tuple(
        traffic.remove_filters_of(ifindex, hook, priority=priority)
        for hook in INNER_HOOKS
        for priority in sorted(set(sock.query(traffic.first_priorities(ifindex, hook))))
        if priority < PRIORITY and priority != STAMP_PRIORITY
    )


def read_stamp(sock: RouteSocket, ifindex: int) -> EndpointNumber | None:
    """Return the number that is stamped at both hooks of a device; None where none is."""
    found = [
        {
            one.name
            for one in sock.query(traffic.attached_programs(ifindex, hook))
            if one.priority == STAMP_PRIORITY
        }
        for hook in INNER_HOOKS
    ]
    names = set[str].intersection(*found)
    if len(names) != 1:
        return None
    digits = names.pop().rpartition("_")[2]
    with suppress(ValueError):
        return EndpointNumber(int(digits, 16))
    return None


class Edges:
    """The programs of devices that stay: by tcx where the kernel has it."""

    def __init__(self, programs: Programs, folder: Path, *, has_tcx: bool) -> None:
        self._programs = programs
        self._folder = folder
        self.has_tcx = has_tcx

    def hooks(self, edge: Edge) -> dict[Hook, str]:
        """Return the programs that an edge has, as far as the object has them."""
        return {hook: name for hook, name in EDGE_HOOKS[edge].items() if name in self._programs}

    def put(self, sock: RouteSocket, ifindex: int, edge: Edge) -> tuple[Request, ...]:
        """Put an edge's programs at a device; return what is still to be sent for it."""
        hooks = self.hooks(edge)
        if not hooks:
            return ()
        if not self.has_tcx:
            return put_filters(ifindex, self._programs, hooks)
        if _takes_tags_off(sock, ifindex):
            return self.put_behind_tags(sock, ifindex, edge)
        for hook, name in hooks.items():
            tcx.attach(self._folder, ifindex, hook, self._programs[name].fd)
        return remove_filters(ifindex)  # of a terwayd that had no tcx

    def put_behind_tags(self, sock: RouteSocket, ifindex: int, edge: Edge) -> tuple[Request, ...]:
        """Put an edge's programs where they see a trunk's packets after their tags came off.

        What takes tags off is a filter, and links of tcx come before all filters.
        """
        for request in put_filters(ifindex, self._programs, self.hooks(edge)):
            sock.request(request)
        for hook in Hook:
            tcx.detach(self._folder, ifindex, hook)
        return ()

    def remove(self, ifindex: int) -> tuple[Request, ...]:
        """Take our programs from a device; return what is still to be sent for it."""
        for hook in Hook:
            tcx.detach(self._folder, ifindex, hook)
        return remove_filters(ifindex)

    def has(self, sock: RouteSocket, ifindex: int, edge: Edge) -> bool:
        """Return whether these very programs see a device's packets."""
        hooks = self.hooks(edge)
        if not self.has_tcx or _takes_tags_off(sock, ifindex):
            return has_filters(sock, ifindex, self._programs, hooks)
        return all(self._is_at(ifindex, hook, name) for hook, name in hooks.items())

    def _is_at(self, ifindex: int, hook: Hook, name: str) -> bool:
        number = self._programs[name].number
        with suppress(VpcError):  # a pin of another kind at that name
            return tcx.attached(self._folder, ifindex, hook) == number
        return False

    def forget_gone(self, ifindexes: frozenset[int]) -> None:
        """Remove the pins of devices that are gone: all but these."""
        for one in tuple(self._folder.iterdir()) if self._folder.is_dir() else ():
            number = one.name.partition("-")[0]
            if not number.isdecimal() or int(number) not in ifindexes:
                tcx.remove(one)


def _takes_tags_off(sock: RouteSocket, ifindex: int) -> bool:
    """Return whether a device is a trunk with members: a filter takes their tags off."""
    found = sock.query(traffic.attached_programs(ifindex, Hook.INGRESS))
    return any((one.name, one.priority) == (POP_PROGRAM, POP_PRIORITY) for one in found)
