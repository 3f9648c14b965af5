"""Policies in nftables: one table at the node, and one in each pod that has an ENI itself.

What a pod sends or gets by its second leg is judged at the node, by the ENI inside. A pod with
CAP_NET_ADMIN could remove the table inside; that is seen, and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import structlog

from terway.agent.policy.enforcer import SeatMap
from terway.agent.policy.hooks import (
    Hooks,
    hooks_in,
    hooks_of_node,
    namespaces_of,
    pod_of,
    spread_change,
    spread_sides,
)
from terway.agent.policy.read_back import ReadBack, ReadTable, of_pod, rule_sets_of
from terway.linux.netns import open_netns
from terway.linux.nfnetlink.tables import NftSocket, open_nft_socket
from terway.model.errors import ConflictError, VpcError
from terway.model.nft import DeleteTable, Table
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled, Sides
from terway.policy.nft.names import TABLE
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import FlowLog, Options, Place

_GONE = frozenset(("ENOENT", "ENOTDIR", "ESRCH"))
_log = structlog.get_logger("policy")


class NftPlace:
    """Our table in one network namespace; the path "" is the node's own."""

    def __init__(self, netns: str, options: Options) -> None:
        self.netns = netns
        self._printer = Printer(Place.POD if netns else Place.NODE, options)
        self._left_at: int | None = None  # the generation after our last deed
        self._is_disturbed = False
        self.hooks: Hooks = {}

    def adopt(self, compiled: Compiled, hooks: Hooks) -> None:
        """Have `compiled` in force here, in one switch."""
        with self._open() as sock:
            transactions = self._printer.adopt(compiled, hooks, sock.read(TABLE))
            sock.change(TABLE, transactions)
            self._left_at, self._is_disturbed, self.hooks = sock.generation(), False, hooks

    def change(self, change: Change, hooks: Hooks) -> None:
        """Take what is different into force."""
        transactions = self._printer.change(change, hooks)
        self.hooks = hooks
        if not transactions:
            return
        with self._open() as sock:
            self._is_disturbed |= sock.generation() != self._left_at
            sock.change(TABLE, transactions)
            self._left_at = sock.generation()

    def log(self, flow_log: FlowLog | None) -> None:
        """Have the rules tell of connections, or (None) not."""
        with self._open() as sock:
            sock.change(TABLE, self._printer.log(flow_log))
            self._left_at = sock.generation()

    def read(self) -> Table | None:
        """Return what is in force."""
        with self._open() as sock:
            found = sock.read(TABLE)
            self._left_at, self._is_disturbed = sock.generation(), False
        return found

    def is_as_left(self) -> bool:
        """Return whether nobody has changed nftables here since."""
        with self._open() as sock:
            return not self._is_disturbed and sock.generation() == self._left_at

    def remove(self) -> bool:
        """Remove our table; return whether there was one."""
        try:
            with self._open() as sock:
                sock.apply(TABLE, (DeleteTable(),))
        except ConflictError:  # no table, or no such namespace any more
            return False
        return True

    @contextmanager
    def _open(self) -> Iterator[NftSocket]:
        if not self.netns:
            with open_nft_socket() as sock:
                yield sock
            return
        with open_netns(self.netns) as opened, open_nft_socket(opened.fd) as sock:
            yield sock


class NftEnforcer:
    """All tables of this node. `compiled` is asked when a pod's own table is to be made."""

    def __init__(self, compiled: Callable[[], Compiled], options: Options) -> None:
        self._compiled = compiled
        self._options = options
        self._node = NftPlace("", options)
        self._pods: dict[str, NftPlace] = {}
        self._sides: dict[PodKey, Sides] = {}
        self._has_said_inside = False

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces of pods that have a table of their own."""
        return tuple(self._pods)

    def adopt(self, compiled: Compiled, seats: SeatMap) -> None:
        """Have `compiled` in force and nothing else, whatever was there, in one switch a place."""
        self._sides = dict(compiled.sides)
        hooks = hooks_of_node(seats)
        self._node.adopt(spread_sides(compiled, hooks), hooks)
        self._pods.clear()
        self._fit_pods(compiled, seats, namespaces_of(seats))

    def apply(self, change: Change, seats: SeatMap) -> None:
        """Take what is different into force, for the pods as they are seated now."""
        for pod, sides in change.sides.items():
            if sides is None:
                self._sides.pop(pod, None)
            else:
                self._sides[pod] = sides
        hooks = hooks_of_node(seats)
        self._node.change(spread_change(change, self._sides, self._node.hooks, hooks), hooks)
        self._apply_to_pods(change, seats)

    def _apply_to_pods(self, change: Change, seats: SeatMap) -> None:
        """Make the tables of pods anew that have other sides now; change the others."""
        anew: dict[str, PodKey] = {}
        for netns, pod in namespaces_of(seats).items():
            place = self._pods.get(netns)
            if place is None or pod in change.sides or hooks_in(netns, seats) != place.hooks:
                if place is not None or pod in self._sides or pod in change.sides:
                    anew[netns] = pod
                continue
            self._change_pod(place, pod, change)
        for netns in self._pods.keys() - namespaces_of(seats).keys():
            self._pods.pop(netns).remove()
        if anew:
            self._fit_pods(self._compiled(), seats, anew)

    def _change_pod(self, place: NftPlace, pod: PodKey, change: Change) -> None:
        known = rule_sets_of(self._sides[pod])
        verdicts = {key: ports for key, ports in change.verdicts.items() if key[0] in known}
        own = Change(verdicts=verdicts, hosts=change.hosts, nets=change.nets)
        if own:
            with self._while_there(place):
                place.change(own, place.hooks)

    def _fit_pods(self, compiled: Compiled, seats: SeatMap, pods: Mapping[str, PodKey]) -> None:
        for netns, pod in pods.items():
            place = NftPlace(netns, self._options)
            hooks = hooks_in(netns, seats)
            own = spread_sides(of_pod(compiled, pod), hooks)
            if own.sides:
                self._say_inside()
                self._pods[netns] = place
                with self._while_there(place):
                    place.adopt(own, hooks)
            else:
                self._pods.pop(netns, None)
                place.remove()

    def _say_inside(self) -> None:
        """Say once what a pod could do about its own table."""
        if not self._has_said_inside:
            self._has_said_inside = True
            text = "what passes a pod's own ENI is judged inside the pod: with CAP_NET_ADMIN it can"
            _log.warning("policy.judged_inside", text=f"{text} remove that for some seconds")

    @contextmanager
    def _while_there(self, place: NftPlace) -> Iterator[None]:
        """Work in a pod for the block; a pod whose namespace has ended needs nothing."""
        try:
            yield
        except ConflictError as error:
            if error.code not in _GONE or _is_there(place.netns):
                raise
            _log.info("policy.namespace_gone", netns=place.netns)
            self._pods.pop(place.netns, None)

    def read(self) -> ReadBack:
        """Return what is in force, as it was read back."""
        tables = [ReadTable(table=self._node.read(), hooks=self._node.hooks)]
        for place in tuple(self._pods.values()):
            with self._while_there(place):
                pod = pod_of(next(iter(place.hooks)))
                tables.append(ReadTable(table=place.read(), hooks=place.hooks, pod=pod))
        return ReadBack(tables=tuple(tables))

    def is_as_left(self) -> bool:
        """Return whether nobody has changed nftables in any of the places since."""
        for place in tuple(self._pods.values()):
            with self._while_there(place):
                if not place.is_as_left():
                    return False
        return self._node.is_as_left()

    def log(self, flow_log: FlowLog | None) -> None:
        """Have the rules of all places tell of connections, or (None) not; later ones, too."""
        self._options = replace(self._options, flow_log=flow_log)
        self._node.log(flow_log)
        for place in tuple(self._pods.values()):
            with self._while_there(place):
                place.log(flow_log)

    def remove(self) -> bool:
        """Remove the table at the node; return whether there was one."""
        return self._node.remove()


def _is_there(netns: str) -> bool:
    try:
        with open_netns(netns):
            return True
    except VpcError:
        return False
