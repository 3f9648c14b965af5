"""Is the world in order? Pool, journal, cloud, kernel, API server and runtime say the same.

Every sentence that comes back is something that is not so. What the agent itself complains about
by name is no fault of the agent: an address that somebody took from under a pod is `missing` in
the pool's status, and STATUS fails with 51.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from terway.agent.node_report import MAX_AVAILABLE_IP
from terway.agent.pool_ports import PoolStatus
from terway.agent.reporter import POD_IPS
from terway.config.pod_bandwidth import parse_bandwidth
from terway.config.pod_networks import POD_NETWORKS
from terway.ipam.settings import INSTANCE_TAG
from terway.ipam.values import ENIPhase
from terway.lab.cloud.records import ENIRecord
from terway.lab.faults.node import Node
from terway.lab.faults.runtime import Runtime, Sandbox
from terway.lab.faults.world import World
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import Attachment
from terway.model.eni import ENIStatus
from terway.model.network import Neighbour, Route, RoutingRule


async def judge(world: World) -> tuple[str, ...]:
    """Return what is not in order now; nothing goes wrong any more, and all have had their time."""
    found = _broken(world)
    if found:
        return tuple(found)
    for runtime in world.runtimes:
        found += [f"{runtime.node.name}: {one}" async for one in _judge_node(world, runtime)]
    return (*found, *_judge_cloud(world))


def is_beyond_mending(world: World) -> bool:
    """Return whether something happened that no time can mend."""
    return bool(_broken(world))


def _broken(world: World) -> list[str]:
    found = [one for runtime in world.runtimes for one in runtime.broken]
    found += [one for node in world.nodes for one in node.crashes]
    return found + [one for one in world.record.alarms if one.startswith("cni.defect")]


async def _judge_node(world: World, runtime: Runtime) -> Any:
    node, terwayd = runtime.node, runtime.node.terwayd
    if terwayd is None:
        yield "terwayd does not serve"
        return
    if runtime.asking:
        yield f"{runtime.asking} calls of the plugin are not answered"
        return
    for one in (*_judge_pods(runtime), *_judge_pool(world, node), *_judge_api(world, runtime)):
        yield one
    lost = {one.key.container_id for one in terwayd.pool.attachments() if _is_lost(one, node)}
    for sandbox in _live(runtime):
        if sandbox.container_id in lost:
            continue  # its way leads nowhere, and that is said
        reply = await runtime.check(sandbox)
        if reply is None or reply.exit_code:
            said = "nobody answered" if reply is None else reply.body.decode()
            yield f"CHECK of {sandbox.container_id}: {said}"
    for one in await _judge_kernel(node):
        yield one


def _is_lost(attachment: Attachment, node: Node) -> bool:
    """Return whether the pool says that the cloud no longer has the attachment's addresses."""
    assert node.terwayd is not None
    return not set(attachment.lease.addresses).isdisjoint(node.terwayd.pool.status().missing)


def _live(runtime: Runtime) -> list[Sandbox]:
    held = [one for one in runtime.sandboxes.values() if one.exists and one.addresses]
    return [one for one in held if one.wanted]


def _judge_pods(runtime: Runtime) -> Iterator[str]:
    """Each pod that is wanted has addresses, or a full node; the journal has no others."""
    terwayd = runtime.node.terwayd
    assert terwayd is not None
    status = terwayd.pool.status()
    live = {one.container_id: sorted(one.addresses) for one in _live(runtime)}
    held: dict[str, list[str]] = defaultdict(list)
    for attachment in terwayd.pool.attachments():
        held[attachment.key.container_id] += map(str, attachment.lease.addresses)
        held[attachment.key.container_id].sort()
    for container in sorted(live.keys() | held.keys()):
        if live.get(container) != held.get(container):
            yield (
                f"the runtime has {container} with {live.get(container)}, "
                f"the journal with {held.get(container)}"
            )
    for sandbox in runtime.sandboxes.values():
        hopes = status.can_add and not _asks_for_others(runtime, sandbox)
        if sandbox.wanted and not sandbox.addresses and (hopes or not sandbox.error):
            yield f"{sandbox.container_id} has no address, and the pool has: {sandbox.error}"
    notes = sorted(one.name for one in runtime.node.paths.spool.iterdir())
    if notes:
        yield f"{len(notes)} notes lie in the spool"


def _asks_for_others(runtime: Runtime, sandbox: Sandbox) -> bool:
    """Return whether a pod asks for several networks: the pool may have none that fits."""
    pod = runtime.cluster.get("pods", sandbox.pod, "default")
    return pod is not None and POD_NETWORKS in pod["metadata"].get("annotations", {})


def _judge_pool(world: World, node: Node) -> Iterator[str]:
    """Pool, disk and cloud have the same ENIs with the same addresses, and nothing is pending."""
    assert node.terwayd is not None
    pool, status = node.terwayd.pool, node.terwayd.pool.status()
    if status.waiting or status.coming or status.retiring:
        yield f"the pool is not at rest: {status}"
    if node.disk.intents:
        yield f"calls are in the journal that nobody makes: {sorted(node.disk.intents)}"
    missing = _missing(node, status)
    lost = {one.lease.eni_id for one in pool.attachments() if _is_lost(one, node)}
    moving = [eni.id for eni in pool.enis() if eni.phase is not ENIPhase.IN_USE]
    if set(moving) - lost:
        yield f"ENIs are neither here nor gone: {moving}"
    cloud: dict[str, set[str]] = {
        # The cloud may have given one again: it is nobody's until the pod that misses it goes.
        eni.id: _addresses_of(eni, node) - missing
        for eni in world.enis_of(node)
    }
    disk: dict[str, set[str]] = {eni_id: set() for eni_id in node.disk.enis}
    for slot in node.disk.slots.values():
        is_inner = any(slot.address in network for network in node.disk.prefixes)
        if str(slot.address) not in missing and not is_inner:
            disk.setdefault(slot.eni_id, set()).add(str(slot.address))
    for prefix in node.disk.prefixes.values():
        if str(prefix.network) not in missing:
            disk.setdefault(prefix.eni_id, set()).add(str(prefix.network))
    for eni_id in sorted(cloud.keys() | disk.keys()):
        is_missing = eni_id not in cloud and not disk[eni_id]  # all that is left of it
        if cloud.get(eni_id) != disk.get(eni_id) and not is_missing:
            yield f"{eni_id}: cloud {_sorted(cloud.get(eni_id))}, disk {_sorted(disk.get(eni_id))}"


def _missing(node: Node, status: PoolStatus) -> set[str]:
    """Return the addresses that are missing by name, which is an alarm, and their prefixes."""
    ranges = [one for one in node.disk.prefixes if any(ip in one for ip in status.missing)]
    return {*map(str, status.missing), *map(str, ranges)}


def _sorted(addresses: set[str] | None) -> list[str] | None:
    return None if addresses is None else sorted(addresses)


def _addresses_of(eni: ENIRecord, node: Node) -> set[str]:
    versions = {family.value for family in node.config.families}
    return {str(one) for one in _all_of(eni) if one.version in versions}


async def _judge_kernel(node: Node) -> list[str]:
    """Another look at everything changes nothing, and nothing in the kernel is nobody's."""
    assert node.terwayd is not None
    before = await _state_of(node)
    await node.terwayd.reconciler.reconcile()
    after = await _state_of(node)
    found = [f"a second reconcile removes {one}" for one in sorted(before - after)]
    found += [f"a second reconcile adds {one}" for one in sorted(after - before)]
    held = {str(ip) for one in node.terwayd.pool.attachments() for ip in one.lease.addresses}
    state = await node.kernel.read_node()
    for one in state.objects:
        match one:
            case RoutingRule(source=source, destination=destination):
                ends = {str(end.network_address) for end in (source, destination) if end}
                if ends and not ends & held:
                    found.append(f"a rule is nobody's: {one}")
            case Route(destination=destination) if one.link.startswith("cali"):
                if str(destination.network_address) not in held:
                    found.append(f"a route is nobody's: {one}")
            case _:
                pass
    veths = [one for one in state.links if one.kind == "veth"]
    if len(veths) != len(node.terwayd.pool.attachments()):
        names = [one.name for one in veths]
        found.append(f"veths {names} for {len(node.terwayd.pool.attachments())} attachments")
    return found


async def _state_of(node: Node) -> set[str]:
    state = await node.kernel.read_node()
    return {repr(one) for one in (*state.links, *state.objects) if not isinstance(one, Neighbour)}


def _judge_api(world: World, runtime: Runtime) -> Iterator[str]:
    """Pods carry their addresses as an annotation; the node says whether it has addresses."""
    node = runtime.node
    for sandbox in _live(runtime):
        pod = world.cluster.get("pods", sandbox.pod, "default")
        if pod is None:
            yield f"pod {sandbox.pod} is not in the API server, and has a sandbox"
            continue
        said = pod["metadata"].get("annotations", {}).get(POD_IPS)
        if said != ",".join(sandbox.own_addresses):
            yield f"pod {sandbox.pod} is annotated with {said}, and has {sandbox.own_addresses}"
    yield from _judge_limits(runtime)
    found = world.cluster.get("nodes", node.name)
    assert found is not None
    assert node.terwayd is not None
    conditions = {
        one["type"]: one["status"] for one in found.get("status", {}).get("conditions", [])
    }
    says, is_so = conditions.get("SufficientIP"), node.terwayd.pool.status().can_add
    if says != str(is_so):
        yield f"the Node says SufficientIP={says}, the pool {is_so}"
    if MAX_AVAILABLE_IP not in found["metadata"].get("annotations", {}):
        yield f"the Node does not say {MAX_AVAILABLE_IP}"


def _judge_limits(runtime: Runtime) -> Iterator[str]:
    """Pods have the limits that they ask for now."""
    assert runtime.node.terwayd is not None
    pods = {one.container_id: one.pod for one in _live(runtime)}
    for attachment in runtime.node.terwayd.pool.attachments():
        name = pods.get(attachment.key.container_id, "")
        pod = runtime.cluster.get("pods", name, "default")
        asked = {} if pod is None else pod["metadata"].get("annotations", {})
        if pod is not None and attachment.spec.bandwidth != parse_bandwidth(asked):
            yield f"{attachment.key} has {attachment.spec.bandwidth}, its pod asks for {asked}"


def _judge_cloud(world: World) -> Iterator[str]:
    """No ENI is left behind, no address is on two, and the calls stayed within their budget."""
    enis = world.cloud.world.state.enis.values()
    for eni in enis:
        tags = dict(eni.tags)
        if INSTANCE_TAG in tags and eni.status is not ENIStatus.IN_USE:
            yield f"{eni.id} was made for {tags[INSTANCE_TAG]} and is {eni.status.value}"
    counts = Counter(one for eni in enis for one in _all_of(eni))
    yield from (f"{address} is on {n} ENIs" for address, n in counts.items() if n > 1)
    lived_s = asyncio.get_running_loop().time()
    for node in world.nodes:
        allowed = node.starts * node.config.call_burst + lived_s * node.config.calls_per_s
        calls = world.cloud.calls.count() / len(world.nodes)
        if calls > allowed:
            yield f"{calls:.0f} calls of the cloud where {allowed:.0f} are in the budget"


def _all_of(eni: ENIRecord) -> tuple[IPAddress | IPNetwork, ...]:
    return *eni.ipv4, *eni.ipv6, *eni.ipv4_prefixes, *eni.ipv6_prefixes
