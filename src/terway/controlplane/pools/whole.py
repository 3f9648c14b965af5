"""How many ENI slots of each node do single pods have, whose ENIs are whole?

Such an ENI is beside the pool's, and takes a slot as those do; a member of the trunk takes none.
Counted from the moment that its NetworkInterface is to be attached to the node until it is not,
so that the pool leaves the slot alone before the cloud shows anything there.
"""

from __future__ import annotations

from collections import defaultdict

from terway.kube.crds import NetworkInterface
from terway.kube.informer import Change
from terway.kube.resource import ObjectKey

_UNBOUND = ("", "Unbind")


class WholeENIs:
    """Whole ENIs by node. It is told each change of each NetworkInterface, the first ones too."""

    def __init__(self) -> None:
        self._on: defaultdict[str, set[ObjectKey]] = defaultdict(set)

    def take(self, change: Change[NetworkInterface]) -> tuple[ObjectKey, ...]:
        """Take a change over; return the nodes whose slots it changes."""
        old, new = _node_of(change.old), _node_of(change.new)
        if old == new:
            return ()
        self._on[old].discard(change.key)
        if not self._on[old]:
            del self._on[old]
        if new:
            self._on[new].add(change.key)
        return tuple(ObjectKey(namespace="", name=one) for one in (old, new) if one)

    def on(self, node: str) -> int:
        """Return how many a node has, or is about to have."""
        return len(self._on[node]) if node in self._on else 0


def _node_of(one: NetworkInterface | None) -> str:
    """Return the node of which an ENI takes a slot; empty for none."""
    if one is None or one.status.trunk_eni_id or one.status.phase in _UNBOUND:
        return ""
    return one.status.node_name
