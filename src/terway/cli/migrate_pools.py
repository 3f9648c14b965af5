"""How do the resources of pools become upstream's again, when our control plane has gone?

Node          without our words; an address that we wanted back, and that no agent has given
              back, is Valid again: upstream takes a Deleting one without asking anybody
NodeRuntime   without our agents' words: of a later take-over they would be answers of before
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from terway.cli.migrate_seen import GROUP, raw
from terway.kube.client import KubeClient

Object = dict[str, Any]

_NODES = raw(GROUP, "v1beta1", "nodes", "Node", namespaced=False)
_RUNTIMES = raw(GROUP, "v1beta1", "noderuntimes", "NodeRuntime", namespaced=False)
_OUR_WORDS = ("journal", "reason", "round")
_AGENTS_WORDS = ("held", "released", "waiting", "seen")


async def give_pools_back(client: KubeClient) -> None:
    """Write all of them that have words of ours. Safe to repeat; nobody of ours may run."""
    runtimes = {
        one["metadata"]["name"]: one.get("status") or {}
        for one in (await client.list(_RUNTIMES)).items
    }
    for node in (await client.list(_NODES)).items:
        name, status = node["metadata"]["name"], node.get("status") or {}
        wanted = as_upstreams(status, runtimes.get(name, {}).get("released") or {})
        if wanted != status:
            await client.update(_NODES, {**node, "status": wanted}, subresource="status")
    for name, status in runtimes.items():
        ours: dict[str, None] = {word: None for word in _AGENTS_WORDS if word in status}
        if ours:  # None takes a field away (RFC 7396)
            await client.patch(_RUNTIMES, name, {"status": ours}, subresource="status")


def as_upstreams(status: Mapping[str, Any], released: Mapping[str, int]) -> Object:
    """Return a Node's status in upstream's words. `released` is which recalls were answered."""
    found = {name: held for name, held in status.items() if name not in _OUR_WORDS}
    enis = status.get("networkInterfaces")
    if enis:
        found["networkInterfaces"] = {key: _eni(one, released) for key, one in enis.items()}
    return found


def _eni(one: Mapping[str, Any], released: Mapping[str, int]) -> Object:
    changed = dict(one)
    for family in ("ipv4", "ipv6"):
        if family in one:
            changed[family] = {ip: _kept(each, ip, released) for ip, each in one[family].items()}
        ranges = f"{family}Prefix"
        if ranges in one:
            changed[ranges] = [_kept(each, each["prefix"], released) for each in one[ranges]]
    return changed


def _kept(one: Mapping[str, Any], name: str, released: Mapping[str, int]) -> Object:
    """Return an address, or a prefix, as upstream may have it."""
    recall = one.get("recall")
    if not recall:
        return dict(one)
    bare = {key: held for key, held in one.items() if key != "recall"}
    return bare if released.get(name) == recall else {**bare, "status": "Valid"}
