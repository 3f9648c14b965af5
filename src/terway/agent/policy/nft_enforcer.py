"""Policies in nftables: one table at the node, and one in each pod that has an ENI itself.

What a pod sends or gets by its second leg is judged at the node, by the ENI inside. The table
inside is there before any policy is: it has the kernel track connections, so that it is known who
opened those that are open when the first policy comes. A pod with CAP_NET_ADMIN could remove it;
that is seen, and made again. What goes wrong in one pod's namespace stays that pod's trouble: the
others, and the node, are served all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

import structlog

from terway.agent.policy.enforcer import Place as PlaceName
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
from terway.linux.nfnetlink.tables import UNREADABLE
from terway.model.errors import VpcError
from terway.policy.cluster import PodKey
from terway.policy.compiled import Change, Compiled, Sides
from terway.policy.nft.skeleton import FlowLog, Options

_NODE: PlaceName = ""
_GONE = frozenset(("ENOENT", "ENOTDIR", "ESRCH"))
_log = structlog.get_logger("policy")


class NftEnforcer:
    """All tables of this node. `compiled` is asked when a pod's own table is to be made.

    `now` is monotonic seconds. What is raised is about the node's table; of pods, see `refused`.
    """

    def __init__(
        self,
        compiled: Callable[[], Compiled],
        options: Options,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._compiled = compiled
        self._now = now
        self._options = options
        self._node = NftPlace("", options)
        self._pods: dict[str, NftPlace] = {}
        self._sides: dict[PodKey, Sides] = {}

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Return the namespaces of pods that have a table of their own."""
        return tuple(self._pods)

    @property
    def refused(self) -> Mapping[PodKey, str]:
        """Return the pods inside of which policies are not in force now, and why."""
        return self._told_of(lambda place: place.refusal)

    @property
    def notices(self) -> Mapping[PodKey, str]:
        """Return the pods that hold our table, so that another one is in force, and how."""
        return self._told_of(lambda place: place.notice)

    def _told_of(self, tell: Callable[[NftPlace], str]) -> Mapping[PodKey, str]:
        told = {_pod_in(place): tell(place) for place in tuple(self._pods.values())}
        return {pod: text for pod, text in told.items() if text}

    @property
    def judged_inside(self) -> tuple[PodKey, ...]:
        """Return the pods that policies restrict inside of them."""
        return tuple(pod for pod in map(_pod_in, tuple(self._pods.values())) if pod in self._sides)

    def adopt(self, compiled: Compiled, seats: SeatMap) -> None:
        """Have `compiled` in force and nothing else, whatever was there, in one switch a place."""
        self._sides = dict(compiled.sides)
        hooks = hooks_of_node(seats)
        self._node.adopt(spread_sides(compiled, hooks), hooks)
        pods = namespaces_of(seats)
        self._leave(self._pods.keys() - pods.keys())
        self._fit_pods(compiled, seats, pods)

    def renew(self, compiled: Compiled, seats: SeatMap, places: Collection[PlaceName]) -> None:
        """Have `compiled` in force in some places, whatever was there."""
        if _NODE in places:
            hooks = hooks_of_node(seats)
            self._node.adopt(spread_sides(compiled, hooks), hooks)
        pods = namespaces_of(seats)
        self._fit_pods(compiled, seats, {one: pods[one] for one in places if one in pods})

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
                anew[netns] = pod
            elif pod in self._sides:
                self._change_pod(place, pod, change)
        self._leave(self._pods.keys() - namespaces_of(seats).keys())
        is_needed = any(pod in self._sides for pod in anew.values())
        self._fit_pods(self._compiled() if is_needed else Compiled(), seats, anew)

    def _leave(self, namespaces: Collection[str]) -> None:
        for netns in tuple(namespaces):
            place = self._pods[netns]
            with self._working_in(place):
                place.remove()
            self._pods.pop(netns, None)

    def _change_pod(self, place: NftPlace, pod: PodKey, change: Change) -> None:
        if place.refusal:
            return  # it is made anew by and by
        known = rule_sets_of(self._sides[pod])
        verdicts = {key: ports for key, ports in change.verdicts.items() if key[0] in known}
        own = Change(verdicts=verdicts, hosts=change.hosts, nets=change.nets)
        if own:
            with self._working_in(place):
                place.change(own, place.hooks)

    def _fit_pods(self, compiled: Compiled, seats: SeatMap, pods: Mapping[str, PodKey]) -> None:
        for netns, pod in pods.items():
            place = self._pods.get(netns) or NftPlace(netns, self._options)
            place.hooks = hooks_in(netns, seats)
            self._pods[netns] = place
            with self._working_in(place):
                place.adopt(spread_sides(of_pod(compiled, pod), place.hooks), place.hooks)

    @contextmanager
    def _working_in(self, place: NftPlace) -> Iterator[None]:
        """Work in a pod for the block; what fails is that pod's trouble, and tried again.

        A pod whose namespace has ended needs nothing.
        """
        try:
            yield
        except VpcError as error:
            if error.code in _GONE and not _is_there(place.netns):
                _log.info("policy.namespace_gone", netns=place.netns)
                self._pods.pop(place.netns, None)
            else:
                place.refuse(error, self._now())

    def disturbed(self) -> tuple[PlaceName, ...]:
        """Return the places in which others have changed nftables, and those to be tried again."""
        found = [] if self._node.is_as_left() else [_NODE]
        for place in tuple(self._pods.values()):
            if place.refusal:
                is_due = self._now() >= place.retry_at
            else:
                is_due = False
                with self._working_in(place):
                    is_due = not place.is_as_left()
            if is_due:
                found.append(place.netns)
        return tuple(found)

    def read(self, places: Collection[PlaceName] | None = None) -> ReadBack:
        """Return what is in force (in some places), as it was read back.

        Nothing that only waits to go is among it.
        """
        if self.set_aside():
            self.let_out()
            with suppress(VpcError):  # somebody was at it: that is read now
                self.clear_away()
        wanted = (_NODE, *self._pods) if places is None else places
        tables = [self._read_node(is_hurt=places is not None)] if _NODE in wanted else []
        pods = (place for place in tuple(self._pods.values()) if place.netns in wanted)
        return ReadBack(tables=(*tables, *(_read_pod(place) for place in pods)))

    def _read_node(self, *, is_hurt: bool) -> ReadTable:
        """Return the node's table; what is known to be hurt need not be read to be mended."""
        hooks = self._node.hooks
        try:
            return ReadTable(table=self._node.read(), hooks=hooks)
        except VpcError as error:
            if error.code != UNREADABLE and not is_hurt:
                raise
            return ReadTable(table=None, hooks=hooks, error=str(error))

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
            with self._working_in(place):
                place.clear_away()

    def log(self, flow_log: FlowLog | None) -> None:
        """Have the rules of all places tell of connections, or (None) not; later ones, too."""
        self._options = replace(self._options, flow_log=flow_log)
        self._node.log(flow_log)
        for place in tuple(self._pods.values()):
            with self._working_in(place):
                place.log(flow_log)

    def remove(self) -> bool:
        """Remove the table at the node; return whether there was one."""
        return self._node.remove()


def _pod_in(place: NftPlace) -> PodKey:
    return pod_of(next(iter(place.hooks)))


def _read_pod(place: NftPlace) -> ReadTable:
    pod, netns = _pod_in(place), place.netns
    try:
        return ReadTable(table=place.read(), hooks=place.hooks, pod=pod, place=netns)
    except VpcError as error:
        return ReadTable(table=None, hooks=place.hooks, pod=pod, place=netns, error=str(error))


def _is_there(netns: str) -> bool:
    try:
        with open_netns(netns):
            return True
    except VpcError:
        return False
