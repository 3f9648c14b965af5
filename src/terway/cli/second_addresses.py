"""Whose are addresses that the API's pods do not say? Of interfaces beside the first of a pod.

Policies that select a pod judge all its interfaces. As a peer it is known by the API's addresses
alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

from terway.cli.snapshot import Snapshot
from terway.kube.client import KubeClient
from terway.kube.crds import POD_ENIS
from terway.model.address import IPAddress
from terway.model.errors import VpcError
from terway.policy.cluster import Cluster, PodKey
from terway.policy.evaluate import evaluate
from terway.policy.flow import AddressEnd, Flow, Verdict
from terway.policy.policies import Policy

Owners = Mapping[IPAddress, PodKey]


async def read_pod_enis(client: KubeClient) -> Mapping[PodKey, tuple[IPAddress, ...]]:
    """Return the addresses of all PodENIs; nothing where they may not be read."""
    found: dict[PodKey, tuple[IPAddress, ...]] = {}
    with suppress(VpcError):
        for one in (await client.list(POD_ENIS)).items:
            texts = [text for each in one.spec.allocations for text in (each.ipv4, each.ipv6)]
            key = PodKey(namespace=one.metadata.namespace, name=one.metadata.name)
            found[key] = tuple(ip_address(text) for text in texts if text)
    return found


def owners_of(snapshot: Snapshot) -> Owners:
    """Return the pods of second addresses: this node's by the journal, others' by their PodENIs."""
    kube, journal = snapshot.kubernetes, snapshot.journal
    found: dict[IPAddress, PodKey] = {}
    for pod in kube.pods if kube is not None else ():
        key = PodKey(namespace=pod.namespace, name=pod.name)
        found |= dict.fromkeys(pod.more_addresses, key)
    for held in journal.attachments if journal is not None else ():
        if held.pod is not None and held.spec.parent:
            key = PodKey(namespace=held.pod.namespace, name=held.pod.name)
            found |= dict.fromkeys(held.lease.addresses, key)
    return found


def judge_by_owners(
    cluster: Cluster, policies: Collection[Policy], flow: Flow, owners: Owners
) -> Verdict:
    """Return what both sides say, each of which knows its own pod by all addresses.

    Raises UsageError as `evaluate` does.
    """
    source, destination = (
        _with(cluster, end.address, owners) if isinstance(end, AddressEnd) else cluster
        for end in (flow.source, flow.destination)
    )
    egress = evaluate(source, policies, flow).egress
    return Verdict(egress=egress, ingress=evaluate(destination, policies, flow).ingress)


def _with(cluster: Cluster, address: IPAddress, owners: Owners) -> Cluster:
    """Return the cluster as the owner of an address knows it."""
    pod = cluster.pods.get(owners[address]) if address in owners else None
    if pod is None or address in pod.addresses:
        return cluster
    known = replace(pod, addresses=(*pod.addresses, address))
    return replace(cluster, pods={**cluster.pods, pod.key: known})
