"""What do terwayd, the kernel and the API say of policies on this node, at a glance?

No pod of the cluster is read while terwayd compares by itself; if it does not, it is done here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from terway.cli.place import Place
from terway.cli.policy_maps import has_policy_maps
from terway.cli.policy_read import POLICY_KINDS
from terway.cli.policy_verified import PAGE, verify_node
from terway.cli.read_kube import open_client
from terway.cli.read_node import get_page
from terway.cli.snapshot_policy import (
    PolicyAgent,
    PolicyApi,
    PolicyDifference,
    PolicyTold,
    PolicyView,
)
from terway.config.agent_config import AgentConfig
from terway.kube.client import KubeClient
from terway.kube.policy_status import POLICY_NODE_STATUSES, PolicyInForce
from terway.kube.resource import NODES, Resource
from terway.linux.nft_chains import NftChain, list_chains
from terway.model.errors import ConflictError, TransientError, VpcError
from terway.policy.nft.names import TABLE

_FAMILY = "inet"
# Whose chains begin so, in iptables-nft or in nftables. Sources: the programs' own documentation.
_MARKS = {
    "Calico": ("cali-", "calico"),
    "Cilium": ("CILIUM_", "OLD_CILIUM_"),
    "kube-router": ("KUBE-ROUTER-", "KUBE-NWPLCY-", "KUBE-POD-FW-"),
    "Antrea": ("ANTREA-",),
    "Weave": ("WEAVE-NPC",),
}


async def read_policy(place: Place, config: AgentConfig | None) -> PolicyView:
    """Return what is known. Raises VpcError when the kernel's chains cannot be read.

    `config` None: it cannot be read, and what is not known to be off may be on.
    """
    is_wanted = config is None or config.wants_policy
    chains = await asyncio.to_thread(list_chains)
    agent = await asyncio.to_thread(_agent, place)
    view = PolicyView(
        is_wanted=is_wanted,
        has_table=any((one.family, one.table) == (_FAMILY, TABLE) for one in chains),
        agent=agent,
        api=await _api(place),
        others=tuple(others_of(chains)),
        in_maps=await asyncio.to_thread(has_policy_maps),
    )
    if not is_wanted or _compares(agent):
        return view
    differences, failure = await asyncio.to_thread(_compare, place)
    return replace(view, differences=differences, failure=failure)


def others_of(chains: Iterable[NftChain]) -> Iterator[str]:
    """Yield the other engines of which there are chains. Pure."""
    names = {word for one in chains for word in (one.name, one.table)}
    for engine, marks in _MARKS.items():
        if any(name.startswith(marks) for name in names):
            yield engine


def _compares(agent: PolicyAgent | None) -> bool:
    return agent is not None and agent.age_s is not None and not agent.failure


def _compare(place: Place) -> tuple[tuple[PolicyDifference, ...], str]:
    """Return where the kernel is not as it should be, or why nobody knows. Takes seconds."""
    try:
        found = verify_node(place)
    except VpcError as error:
        return (), str(error)
    checked = ((one.where, text) for one in found.checked for text in one.differences)
    return tuple(PolicyDifference(where=where, text=text) for where, text in checked), ""


def _agent(place: Place) -> PolicyAgent | None:
    """Return terwayd's own word, None when it does not answer or enforces nothing."""
    try:
        status, body = get_page(place, PAGE)
    except TransientError:
        return None
    return agent_of(json.loads(body)) if status == 200 else None


def agent_of(page: dict[str, Any]) -> PolicyAgent:
    """Return what terwayd's page says. Pure."""
    in_force, verify = page.get("in_force") or {}, page.get("verify") or {}
    return PolicyAgent(
        is_synced=bool(page.get("synced")),
        trouble=str(in_force.get("trouble") or ""),
        silent=tuple(map(str, page.get("not_followed") or ())),
        differences=tuple(verify.get("differences") or ()),
        failure=str(verify.get("error") or ""),
        age_s=verify.get("age_s"),
        adoptions=int(in_force.get("adoptions") or 0),
        restricted_pods=int(in_force.get("restricted_pods") or 0),
        faults={
            str(one["policy"]): str(one["fault"])
            for one in page.get("policies") or ()
            if one.get("fault")
        },
    )


async def _api(place: Place) -> PolicyApi | None:
    """Return what the API says; None when it does not answer, of which there is a finding."""
    try:
        async with open_client(place) as client:
            generations = {
                _name(kind, one): int(one["metadata"].get("generation") or 0)
                for kind in POLICY_KINDS
                for one in await _list(client, kind.typed(dict))
            }
            statuses = await _list(client, POLICY_NODE_STATUSES)
            nodes = [one.metadata.name for one in await _list(client, NODES)]
    except VpcError:
        return None
    told = {one.metadata.name: one.status for one in statuses}
    own = told.get(place.node_name)
    return PolicyApi(
        generations=generations,
        told=None if own is None else tuple(map(_told, own.policies)),
        observed_at="" if own is None else own.observed_at,
        quiet_nodes=tuple(sorted(set(nodes) - set(told))) if told else (),
    )


async def _list(client: KubeClient, resource: Resource[Any]) -> tuple[Any, ...]:
    try:
        return (await client.list(resource)).items
    except ConflictError:
        return ()  # this server has no such kind


def _name(kind: Resource[Any], raw: dict[str, Any]) -> str:
    metadata = raw["metadata"]
    namespace = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return f"{kind.kind} {namespace}{metadata['name']}"


def _told(line: PolicyInForce) -> PolicyTold:
    namespace = f"{line.namespace}/" if line.namespace else ""
    return PolicyTold(
        policy=f"{line.kind} {namespace}{line.name}",
        generation=line.generation,
        pods=line.pods,
        in_force=line.in_force,
        message=line.message,
    )
