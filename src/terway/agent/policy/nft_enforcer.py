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
    hooks_in,
    hooks_of_node,
    namespaces_of,
    pod_of,
    spread_change,
    spread_sides,
)
from terway.agent.policy.nft_place import NftPlace
from terway.agent.policy.read_back import ReadBack, ReadTable, of_pod, rule_sets_of
from terway.linux.grace import wait_for_packets
from terway.linux.netns import open_netns
from terway.model.errors import ConflictError, VpcError
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled, Sides
from terway.policy.nft.skeleton import FlowLog, Options

_GONE = frozenset(("ENOENT", "ENOTDIR", "ESRCH"))
_log = structlog.get_logger("policy")


class NftEnforcer:
    """All tables of this node. `compiled` is asked when a pod's own table is to be made."""

    def __init__(self, compiled: Callable[[], Compiled], options: Options) -> None:
        self._compiled = compiled
        self._options = options
        self._node = NftPlace("", options)
        self._pods: dict[str, NftPlace] = {}
        self._sides: dict[PodKey, Sides] = {}

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces of pods that have a table of their own."""
        return tuple(self._pods)

    @property
    def judged_inside(self) -> tuple[PodKey, ...]:
        """Return the pods that have a table of their own."""
        hooks = (next(iter(place.hooks), None) for place in tuple(self._pods.values()))
        return tuple(pod_of(one) for one in hooks if one is not None)

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
                self._pods[netns] = place
                with self._while_there(place):
                    place.adopt(own, hooks)
            else:
                self._pods.pop(netns, None)
                place.remove()

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
        """Return what is in force, as it was read back, and nothing that only waits to go."""
        if self.set_aside():
            self.let_out()
            self.clear_away()
        tables = [ReadTable(table=self._node.read(), hooks=self._node.hooks)]
        for place in tuple(self._pods.values()):
            with self._while_there(place):
                pod = pod_of(next(iter(place.hooks)))
                tables.append(ReadTable(table=place.read(), hooks=place.hooks, pod=pod))
        return ReadBack(tables=tuple(tables))

    def set_aside(self) -> bool:
        """Return whether changes have left something behind, which `clear_away` may remove."""
        found = [place.set_aside() for place in (self._node, *self._pods.values())]
        return any(found)

    def let_out(self) -> None:
        """Return when no packet is in what was set aside. Takes no turn: changes may go on."""
        wait_for_packets()

    def clear_away(self) -> None:
        """Remove what was set aside before all packets were let out."""
        self._node.clear_away()
        for place in tuple(self._pods.values()):
            with self._while_there(place):
                place.clear_away()

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
