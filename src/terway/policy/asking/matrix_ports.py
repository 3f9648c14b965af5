"""On which ports may each holder reach each other one? `evaluate` for all ports at once.

    row      what the policies of a pod say in one direction     few: pods share policies
    column   which peers match the other end                      few: holders share peers
    (row, column) ──► ports, worked out once, by the algebra of intervals

A pod's names for ports belong to the row on ingress and to the column on egress: they are the
destination's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NewType, assert_never

from terway.policy.asking.matrix_rules import (
    Names,
    fails_closed,
    is_about,
    is_peer_pod,
    rule_ports,
    rules_in,
)
from terway.policy.asking.representatives import (
    Holder,
    is_own_node,
    is_same_pod,
    peers_of,
    rules_of,
    selects,
)
from terway.policy.asking.representatives_space import nets_of
from terway.policy.compiling.nets import number_of
from terway.policy.policies import (
    Action,
    BlockPeer,
    ClusterPolicy,
    Direction,
    NetworkPolicy,
    NodePeer,
    Peer,
    PodPeer,
    Policy,
    PolicyKey,
    PortName,
    Rule,
    Tier,
)
from terway.policy.ports import EVERY_PORT, NOTHING, PortSet, union

Row = NewType("Row", int)
Column = NewType("Column", int)

FREE = Row(0)  # nothing restricts it: no pod, or one that no policy of the direction selects

_Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RowContent:
    direction: Direction
    admin: tuple[ClusterPolicy, ...]
    network: tuple[NetworkPolicy, ...]
    baseline: tuple[ClusterPolicy, ...]
    names: Names  # the subject's, on ingress


@dataclass(frozen=True, slots=True, kw_only=True)
class _ColumnContent:
    peers: frozenset[int]  # by their number
    names: Names  # the other end's, for egress


class PortMatrix:
    """The answers of one list of policies. Rows and columns are numbers of this matrix alone."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = tuple(sorted(policies, key=_order))
        peers = peers_of(self.policies)
        self._peers = {peer: at for at, peer in enumerate(peers)}
        self._nets = nets_of(peer for peer in peers if isinstance(peer, BlockPeer))
        self._names = frozenset(_names_in(self.policies))
        empty = _RowContent(
            direction=Direction.INGRESS, admin=(), network=(), baseline=(), names=()
        )
        self._rows: dict[_RowContent, Row] = {empty: FREE}
        self._row_list = [empty]
        self._columns: dict[_ColumnContent, Column] = {}
        self._column_list: list[_ColumnContent] = []
        self._known: dict[tuple[Row, Column, bool], PortSet] = {}
        self._selecting: dict[tuple[str, _Labels, _Labels], tuple[Policy, ...]] = {}
        self._matching: dict[tuple[str, _Labels, _Labels], frozenset[int]] = {}

    def row(self, holder: Holder, direction: Direction) -> Row:
        """Return the row of a holder's side."""
        if holder.pod is None:
            return FREE
        chosen = [one for one in self._policies_of(holder) if is_about(one, direction)]
        names = self._names_of(holder) if direction is Direction.INGRESS else ()
        return self._intern(chosen, direction, names)

    def _intern(self, chosen: Sequence[Policy], direction: Direction, names: Names) -> Row:
        if not chosen:
            return FREE
        cluster = [one for one in chosen if isinstance(one, ClusterPolicy)]
        content = _RowContent(
            direction=direction,
            admin=tuple(one for one in cluster if one.tier is Tier.ADMIN),
            network=tuple(one for one in chosen if isinstance(one, NetworkPolicy)),
            baseline=tuple(one for one in cluster if one.tier is Tier.BASELINE),
            names=names,
        )
        if content not in self._rows:
            self._rows[content] = Row(len(self._row_list))
            self._row_list.append(content)
        return self._rows[content]

    def column(self, holder: Holder) -> Column:
        """Return the column of a holder as the other end."""
        peers = self._pod_peers(holder) | self._address_peers(holder)
        content = _ColumnContent(peers=peers, names=self._names_of(holder))
        if content not in self._columns:
            self._columns[content] = Column(len(self._column_list))
            self._column_list.append(content)
        return self._columns[content]

    def ports(self, row: Row, column: Column, *, exempt: bool = False) -> PortSet:
        """Return the ports that a side lets through.

        `exempt`: NetworkPolicy lets it whatever it says: the own node, or the pod itself through
        a service.
        """
        if row == FREE:
            return EVERY_PORT
        key = (row, column, exempt)
        if key not in self._known:
            self._known[key] = self._judge(self._row_list[row], self._column_list[column], exempt)
        return self._known[key]

    def policies_of_row(self, row: Row) -> tuple[Policy, ...]:
        """Return the policies that a row is made of."""
        content = self._row_list[row]
        return (*content.admin, *content.network, *content.baseline)

    def row_with(self, row: Row, replaced: Mapping[PolicyKey, Policy | None]) -> Row:
        """Return the row as it were with policies replaced, or (None) taken away.

        A new policy may have fewer rules than the old one, but no other peers or names of ports.
        """
        content = self._row_list[row]
        found = [replaced.get(one.key, one) for one in self.policies_of_row(row)]
        kept = [one for one in found if one is not None and is_about(one, content.direction)]
        return self._intern(kept, content.direction, content.names)

    def between(self, source: Holder, destination: Holder) -> PortSet:
        """Return the ports of `destination` that `source` reaches; a pod reaches itself."""
        if is_same_pod(source, destination):
            return EVERY_PORT
        out = self.ports(
            self.row(source, Direction.EGRESS),
            self.column(destination),
            exempt=is_own_node(source, destination),
        )
        if is_own_node(destination, source):
            return out
        return out & self.ports(self.row(destination, Direction.INGRESS), self.column(source))

    def _policies_of(self, holder: Holder) -> tuple[Policy, ...]:
        key = _label_key(holder)
        if key not in self._selecting:
            pod = holder.pod
            assert pod is not None
            self._selecting[key] = tuple(
                one for one in self.policies if selects(one, pod, holder.namespace)
            )
        return self._selecting[key]

    def _pod_peers(self, holder: Holder) -> frozenset[int]:
        if holder.pod is None:
            return frozenset()
        key = _label_key(holder)
        if key not in self._matching:
            self._matching[key] = frozenset(
                at
                for peer, at in self._peers.items()
                if isinstance(peer, PodPeer) and is_peer_pod(peer, holder)
            )
        return self._matching[key]

    def _address_peers(self, holder: Holder) -> frozenset[int]:
        peers: list[Peer] = [*self._nets.at(number_of(holder.address))]
        labels = [one.labels for one in holder.nodes if one.addresses]
        if labels:
            among = (one for one in self._peers if isinstance(one, NodePeer))
            peers += (one for one in among if any(map(one.nodes.matches, labels)))
        return frozenset(self._peers[one] for one in peers)

    def _names_of(self, holder: Holder) -> Names:
        if holder.pod is None or not self._names:
            return ()
        mine = {one for one in holder.pod.ports if one.name in self._names}
        return tuple(sorted(mine, key=lambda one: (one.name, one.protocol.value, one.port)))

    def _judge(self, row: _RowContent, column: _ColumnContent, exempt: bool) -> PortSet:
        accepted, left = self._tier(row.admin, row, column)
        if row.network:
            return accepted | (left & self._network(row, column, exempt))
        more, rest = self._tier(row.baseline, row, column)
        return accepted | (left & (more | rest))

    def _network(self, row: _RowContent, column: _ColumnContent, exempt: bool) -> PortSet:
        if exempt:
            return EVERY_PORT
        return union(
            rule_ports(rule, _names_for(row, column))
            for policy in row.network
            for rule in rules_in(policy, row.direction)
            if self._matches(rule, column)
        )

    def _tier(
        self, policies: Sequence[ClusterPolicy], row: _RowContent, column: _ColumnContent
    ) -> tuple[PortSet, PortSet]:
        """Return what a tier accepts, and what it leaves to the next: passed or not matched."""
        accepted, passed, left = NOTHING, NOTHING, EVERY_PORT
        names = _names_for(row, column)
        for policy in policies:
            for rule in rules_in(policy, row.direction):
                if fails_closed(rule):
                    return accepted, passed
                if not self._matches(rule, column):
                    continue
                hit = rule_ports(rule, names) & left
                left -= hit
                if rule.action is Action.ACCEPT:
                    accepted |= hit
                elif rule.action is Action.PASS:
                    passed |= hit
        return accepted, left | passed

    def _matches(self, rule: Rule, column: _ColumnContent) -> bool:
        return rule.peers is None or any(self._peers[one] in column.peers for one in rule.peers)


def _names_for(row: _RowContent, column: _ColumnContent) -> Names:
    match row.direction:
        case Direction.INGRESS:
            return row.names
        case Direction.EGRESS:
            return column.names
        case _:
            assert_never(row.direction)


def _names_in(policies: Iterable[Policy]) -> Iterable[str]:
    ports = (port for one in policies for rule in rules_of(one) for port in rule.ports or ())
    return (port.name for port in ports if isinstance(port, PortName))


def _order(policy: Policy) -> tuple[object, ...]:
    if isinstance(policy, ClusterPolicy):
        return 0, policy.rank
    return 1, policy.key.name, policy.key.namespace


def _label_key(holder: Holder) -> tuple[str, _Labels, _Labels]:
    pod = holder.pod
    assert pod is not None
    return (
        pod.key.namespace,
        frozenset(holder.namespace.items()),
        frozenset(pod.labels.items()),
    )
