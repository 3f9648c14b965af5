"""When is the kernel looked at before its time? When somebody else changed what terwayd stands on.

node's links, rules, routes, settings, queues ──► does it matter? ──► look at the node soon
a pod's own namespace ──────────────────────────► whose is it? ─────► look into that pod soon

An event is only a reason to look: one too many costs a look, one too few waits for the next period.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from terway.agent.blame import Blame
from terway.agent.enis import ENILinks
from terway.agent.reconcile import Reconciler
from terway.agent.turns import Turns
from terway.datapath.names import HOST_LINK_PREFIX, is_eni_table, key_of
from terway.datapath.plan import is_of_a_pod, is_pod_rule
from terway.linux.foreign import Change, ChangesLost, Kind, open_foreign_changes
from terway.model.attachment import AttachmentKey
from terway.model.network import Link, NetObject, Route, RoutingRule


class KernelWatch:
    """Wakes the reconciler."""

    def __init__(
        self,
        *,
        enis: ENILinks,
        reconciler: Reconciler,
        turns: Turns,
        blame: Blame,
        standing: Iterable[NetObject],
    ) -> None:
        """`standing` is what the node has whatever its pods are."""
        objects = tuple(standing)
        self._tables = {one.table for one in objects if isinstance(one, Route)}
        self._priorities = {one.priority for one in objects if isinstance(one, RoutingRule)}
        self._enis = enis
        self._reconciler = reconciler
        self._turns = turns
        self._blame = blame

    async def run(self) -> None:
        """Watch until cancelled."""
        with open_foreign_changes() as changes:
            async for change in changes.read():
                self._see(change)

    def _see(self, change: Change | ChangesLost) -> None:
        match change:
            case ChangesLost():
                self._reconciler.wake()
            case Change(nsid=None, kind=Kind.TRAFFIC):
                self._see_traffic(change)
            case Change(nsid=None):
                if self._matters(change):
                    self._blame.note(change)
                    self._reconciler.wake()
            case Change():
                self._see_pod(change)
            case _:
                assert_never(change)

    def _see_traffic(self, change: Change) -> None:
        """Look into the pod whose host link it was; of an ENI's queues, at the node."""
        if change.process == 0 or not self._is_ours(change.ifindex):
            return
        self._blame.note(change)
        _, key = self._reconciler.ground.links[change.ifindex]
        if key is None:
            self._reconciler.wake()
        else:
            self._reconciler.wake_pod(key)

    def _see_pod(self, change: Change) -> None:
        """Look into the pod that the change happened in.

        A namespace that is not known is a pod's that was made since the last look, or nobody's of
        ours; the look at the node tells which. Only what a program did is worth that.
        """
        assert change.nsid is not None
        key = self._reconciler.ground.pods.get(change.nsid)
        if key is not None and self._is_at_rest(key):
            # The kernel itself only ever takes away, as a consequence, or tells what we did.
            if change.process or change.is_gone or change.kind in (Kind.LINK, Kind.SETTING):
                self._reconciler.wake_pod(key)
        elif key is None and change.process and change.nsid not in self._reconciler.strangers:
            self._reconciler.wake_stranger(change.nsid)

    def _matters(self, change: Change) -> bool:
        match change.kind:
            case Kind.LINK:
                assert isinstance(change.object, Link)
                return self._link_matters(change.object, is_gone=change.is_gone)
            case Kind.RULE:
                return isinstance(change.object, RoutingRule) and self._rule_matters(change.object)
            case Kind.ROUTE:
                return isinstance(change.object, Route) and self._route_matters(change)
            case Kind.ADDRESS:
                # What the kernel itself adds is no reason, and what it takes goes with a link.
                is_deed = change.process != 0 or change.is_gone
                return is_deed and self._is_ours(change.ifindex)
            case Kind.SETTING:
                return not change.is_gone and (change.ifindex < 0 or self._is_ours(change.ifindex))
            case Kind.NEIGHBOUR | Kind.TRAFFIC:
                return False  # no neighbour of the node's is ours
            case _:
                assert_never(change.kind)

    def _rule_matters(self, rule: RoutingRule) -> bool:
        return is_pod_rule(rule) or rule.priority in self._priorities

    def _route_matters(self, change: Change) -> bool:
        assert isinstance(change.object, Route)
        return change.object.table in self._tables or _is_route_of_ours(change)

    def _link_matters(self, link: Link, *, is_gone: bool) -> bool:
        # The links of pods come and go all day, and which ENIs are in use is asked of all of them.
        is_pods = link.name.startswith(HOST_LINK_PREFIX)
        if not is_pods and self._eni_changed(link, is_gone=is_gone):
            return True
        before = self._reconciler.ground.links.get(link.ifindex)
        if before is None:
            # Of a pod that was attached since the last look.
            owner = key_of(link.alias)
            return is_gone and owner is not None and self._is_at_rest(owner)
        if not self._is_ours(link.ifindex):
            return False
        was, _ = before
        return is_gone or (was.name, was.settings) != (link.name, link.settings)

    def _eni_changed(self, link: Link, *, is_gone: bool) -> bool:
        if link.mac is None or link.mac not in self._reconciler.enis_in_use:
            return False
        known = self._enis.known(link.mac)
        is_as_known = known is not None and (known.name, known.ifindex) == (link.name, link.ifindex)
        return is_gone or not link.is_up or not is_as_known

    def _is_ours(self, ifindex: int) -> bool:
        known = self._reconciler.ground.links.get(ifindex)
        return known is not None and (known[1] is None or self._is_at_rest(known[1]))

    def _is_at_rest(self, key: AttachmentKey) -> bool:
        """Return whether an attachment is there, and not being made or undone."""
        return key not in self._turns.busy and self._reconciler.is_attached(key)


def _is_route_of_ours(change: Change) -> bool:
    route = change.object
    assert isinstance(route, Route)
    return is_eni_table(route.table) or (change.is_gone and is_of_a_pod(route))
