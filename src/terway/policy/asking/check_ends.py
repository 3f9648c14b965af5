"""Whom does an expectation mean by `shop/web-*`, `node:*`, `ip:10.0.0.0/8`, or by labels?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network

from terway.model.address import IPNetwork
from terway.model.selector import EVERYTHING, Selector
from terway.policy.asking.representatives import Holder
from terway.policy.policies import BlockPeer
from terway.policy.reading.parse_fields import refusal, table_of
from terway.policy.reading.parse_selector import parse_selector

OUTSIDE = "outside"
_FORMS = "write NAMESPACE/POD, node:NAME, ip:ADDRESS or BLOCK, outside, or selectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsNamed:
    """Pods by namespace and name; `*` is any text."""

    namespace: str
    name: str

    def has(self, holder: Holder) -> bool:
        """Return whether the holder is meant."""
        pod = holder.pod
        return (
            pod is not None
            and fnmatchcase(pod.key.namespace, self.namespace)
            and fnmatchcase(pod.key.name, self.name)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsSelected:
    """Pods by labels: of one namespace (a name), or of those whose labels match (a selector)."""

    namespaces: str | Selector
    pods: Selector

    def has(self, holder: Holder) -> bool:
        """Return whether the holder is meant."""
        pod = holder.pod
        if pod is None or not self.pods.matches(pod.labels):
            return False
        if isinstance(self.namespaces, str):
            return self.namespaces == pod.key.namespace
        return self.namespaces.matches(holder.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesNamed:
    """Processes of nodes by name; `*` is any text."""

    name: str

    def has(self, holder: Holder) -> bool:
        """Return whether the holder is meant."""
        return any(fnmatchcase(node.name, self.name) for node in holder.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Whoever has an address of the block: pods and nodes included."""

    block: IPNetwork

    def has(self, holder: Holder) -> bool:
        """Return whether the holder is meant."""
        return holder.address in self.block


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Every address that neither a pod nor a node has."""

    def has(self, holder: Holder) -> bool:
        """Return whether the holder is meant."""
        return holder.is_outside


Whom = PodsNamed | PodsSelected | NodesNamed | Addresses | Outside


def blocks_meant(whom: Whom) -> tuple[BlockPeer, ...]:
    """Return the blocks whose addresses must be told from others."""
    return (BlockPeer(block=whom.block),) if isinstance(whom, Addresses) else ()


def parse_whom(raw: object, path: str) -> Whom:
    """Return whom an expectation means. Raises UsageError."""
    if isinstance(raw, Mapping):
        return _selected(raw, path)
    if not isinstance(raw, str):
        raise refusal(path, raw, _FORMS)
    if raw == OUTSIDE:
        return Outside()
    kind, colon, rest = raw.partition(":")
    if kind == "node" and colon:
        return NodesNamed(name=rest)
    if kind == "ip" and colon:
        return Addresses(block=_block(rest, path))
    namespace, slash, name = raw.partition("/")
    if not slash or not name:
        raise refusal(path, raw, _FORMS)
    return PodsNamed(namespace=namespace, name=name)


def _selected(raw: Mapping[object, object], path: str) -> PodsSelected:
    table = table_of(raw, path)
    table.refuse_unknown("namespace", "namespaceSelector", "podSelector")
    if table.has("namespace") and table.has("namespaceSelector"):
        raise refusal(path, dict(raw), "write namespace or namespaceSelector, not both")
    spaces: str | Selector = table.text("namespace")
    if not spaces:
        spaces = parse_selector(table.table("namespaceSelector"))
    pods = parse_selector(table.table("podSelector")) if table.has("podSelector") else EVERYTHING
    return PodsSelected(namespaces=spaces, pods=pods)


def _block(text: str, path: str) -> IPNetwork:
    try:
        return ip_network(text)
    except ValueError as error:
        raise refusal(path, text, f"{error}; write ip:10.0.0.1 or ip:10.0.0.0/8") from error
