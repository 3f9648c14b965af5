"""What does a policy of a case look like in the lab's API? The same, of the addresses there.

Names become such that the API takes, selectors that a typed client would send empty are sent, and
blocks hold the real addresses. Whatever else the API refuses is the answer of the state's probes.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from terway.lab.policy.blocks import Addresses, Block, flatten, make_block
from terway.model.address import IPNetwork
from terway.model.errors import UsageError

Manifest = dict[str, Any]

MARK = "lab.terway/case"  # an annotation: who has it was made for a case
_NETWORKS_LIMIT = 25  # CRDs of network-policy-api
_LAST_PORT = 65535
_KEPT = ("name", "namespace", "labels")
_NOBODY = {
    "matchExpressions": [
        {"key": "lab.terway/nobody", "operator": "Exists"},
        {"key": "lab.terway/nobody", "operator": "DoesNotExist"},
    ]
}


def translate(manifests: Sequence[Manifest], addresses: Addresses) -> tuple[Manifest, ...]:
    """Return the manifests for the lab. UsageError for a block that is none."""
    baselines = [one for one in manifests if one.get("kind") == "BaselineAdminNetworkPolicy"]
    made = []
    for manifest in manifests:
        metadata = manifest.get("metadata") or {}
        kept = {field: metadata[field] for field in _KEPT if metadata.get(field)}
        is_only = manifest.get("kind") == "BaselineAdminNetworkPolicy" and len(baselines) == 1
        name = "default" if is_only else _api_name(str(metadata.get("name", "")))
        spec = copy.deepcopy(manifest.get("spec") or {})
        _fill_selectors(spec)
        for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
            _translate_rule(rule, addresses)
        kept |= {"name": name, "annotations": {MARK: "true"}}
        made.append({**manifest, "metadata": kept, "spec": spec})
    return tuple(made)


def has_blocks(manifests: Sequence[Manifest]) -> bool:
    """Return whether any policy names addresses."""
    peers = (peer for one in manifests for peer in _peers(one.get("spec") or {}))
    return any("ipBlock" in peer or "networks" in peer for peer in peers)


def has_domain_names(manifests: Sequence[Manifest]) -> bool:
    """Return whether any policy names domain names."""
    peers = (peer for one in manifests for peer in _peers(one.get("spec") or {}))
    return any("domainNames" in peer for peer in peers)


def _peers(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        yield from (*(rule.get("from") or ()), *(rule.get("to") or ()))


def _api_name(name: str) -> str:
    """Return a name that the API takes: nothing depends on it but the order of equal priorities."""
    return re.sub(r"[^a-z0-9.-]", "-", name.lower()).strip("-.") or "unnamed"


def _fill_selectors(spec: dict[str, Any]) -> None:
    """Write the selectors that Go's typed clients write: there, absent is empty."""
    holders = [spec.get("subject") or {}, *_peers(spec)]
    for holder in holders:
        if isinstance(holder.get("pods"), dict):
            holder["pods"] = {"namespaceSelector": {}, "podSelector": {}, **holder["pods"]}


def _translate_rule(rule: dict[str, Any], addresses: Addresses) -> None:
    for port in rule.get("ports") or ():
        if isinstance(port.get("endPort"), int):  # there is no port above, and the API says so
            port["endPort"] = min(port["endPort"], _LAST_PORT)
    for field in ("from", "to"):
        if rule.get(field):
            rule[field] = [new for peer in rule[field] for new in _translate_peer(peer, addresses)]


def _translate_peer(peer: dict[str, Any], addresses: Addresses) -> list[dict[str, Any]]:
    if "ipBlock" in peer:
        held = peer["ipBlock"] or {}
        blocks = _real([_read(held.get("cidr", ""), held.get("except") or ())], addresses)
        written = [{"ipBlock": _write(block)} for block in blocks]
        return written or [{"podSelector": _NOBODY, "namespaceSelector": {}}]
    if "networks" in peer:
        blocks = _real([_read(text) for text in peer["networks"]], addresses)
        ranges = list(dict.fromkeys(one for block in blocks for one in flatten(block)))
        return _chunks(ranges) or [{"pods": {"namespaceSelector": {}, "podSelector": _NOBODY}}]
    return [peer]


def _real(blocks: Sequence[Block | None], addresses: Addresses) -> list[Block]:
    found = (one for block in blocks if block is not None for one in addresses.blocks(block))
    return list(dict.fromkeys(found))


def _chunks(ranges: Sequence[IPNetwork]) -> list[dict[str, Any]]:
    texts = [str(one) for one in ranges]
    starts = range(0, len(texts), _NETWORKS_LIMIT)
    return [{"networks": texts[start : start + _NETWORKS_LIMIT]} for start in starts]


def _read(cidr: str, excepts: Sequence[str] = ()) -> Block | None:
    try:
        return make_block(cidr, excepts)
    except ValueError as error:
        raise UsageError(f"the policy has a block that is none: {error}") from error


def _write(block: Block) -> dict[str, Any]:
    holes = [str(hole) for hole in block.excepts]
    return {"cidr": str(block.cidr), **({"except": holes} if holes else {})}
