"""Which addresses does a person mean by DST: an address, a pod, a node, a service?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from terway.cli.hops import Hop, fail, ok
from terway.cli.snapshot import KubePod, KubeService, KubeView, Snapshot
from terway.model.address import IPAddress
from terway.model.errors import UsageError

T = TypeVar("T", KubePod, KubeService)

_SERVICE_PREFIX = "svc/"
_TRANSLATOR = "kube-proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a packet is to go. `hops` are what happens before it goes there: a translation.

    `services` are the addresses that the pod itself sends to, where the node translates them.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    port: int | None = None
    hops: tuple[Hop, ...] = ()
    services: tuple[IPAddress, ...] = ()

    def service(self, address: IPAddress) -> IPAddress | None:
        """Return the service's address in the family of one of `addresses`."""
        return next((one for one in self.services if one.version == address.version), None)


def find_target(snapshot: Snapshot, text: str, *, namespace: str) -> Target:
    """Return what `text` means: names are looked for in the sender's namespace first.

    Raises UsageError when nothing has the name.
    """
    end, port = split_port(text)
    kube = snapshot.kubernetes or KubeView()
    try:
        address = ip_address(end)
    except ValueError:
        found = _by_name(snapshot, kube, end, namespace, port)
    else:
        found = _by_address(snapshot, kube, address, port)
    if found is None:
        why = f" ({snapshot.why_missing('kubernetes')})" if snapshot.kubernetes is None else ""
        rule = "an address, [NAMESPACE/]POD, a node, or svc/[NAMESPACE/]SERVICE"
        raise UsageError(f"DST {end!r} is not known{why}: give {rule}", field="DST")
    return found


def split_port(text: str) -> tuple[str, int | None]:
    """Return the end and the port of ``host:80``, ``[v6]:80`` or either without a port."""
    if text.startswith("["):
        inner, _, rest = text[1:].partition("]")
        return inner, _port(rest.removeprefix(":"))
    if text.count(":") != 1:
        return text, None
    head, _, tail = text.partition(":")
    return head, _port(tail)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise UsageError(f"DST port {text!r}: must be a number from 1 to 65535", field="DST")
    return int(text)


def _by_address(snapshot: Snapshot, kube: KubeView, address: IPAddress, port: int | None) -> Target:
    for service in kube.services:
        if address in service.cluster_ips:
            return _service(snapshot, service, port)
    name = next((f"pod {one}" for one in kube.pods if _has(one, address)), "")
    node = next((f"node {one.name}" for one in kube.nodes if address in one.addresses), "")
    return Target(name=name or node or "an address", addresses=(address,), port=port)


def _has(pod: KubePod, address: IPAddress) -> bool:
    return address in pod.addresses and not pod.is_host_network


def _by_name(
    snapshot: Snapshot, kube: KubeView, text: str, namespace: str, port: int | None
) -> Target | None:
    if text.startswith(_SERVICE_PREFIX):
        for service in _named(kube.services, text.removeprefix(_SERVICE_PREFIX), namespace):
            return _service(snapshot, service, port)
        return None
    for pod in _named(kube.pods, text, namespace):
        return Target(name=f"pod {pod} on {pod.node}", addresses=pod.addresses, port=port)
    for node in kube.nodes:
        if node.name == text:
            return Target(name=f"node {text}", addresses=node.addresses, port=port)
    for service in _named(kube.services, text, namespace):
        return _service(snapshot, service, port)
    return _in_journal(snapshot, text, port)


def _named(things: Iterable[T], text: str, namespace: str) -> Iterator[T]:
    wanted, _, name = text.rpartition("/")
    fitting = [one for one in things if one.name == name and wanted in ("", one.namespace)]
    yield from sorted(fitting, key=lambda one: one.namespace != (wanted or namespace))


def _in_journal(snapshot: Snapshot, text: str, port: int | None) -> Target | None:
    """Return a pod of this node by the journal: Kubernetes may be away."""
    journal = snapshot.journal
    namespace, _, name = text.rpartition("/")
    for one in journal.attachments if journal else ():
        if one.pod and one.pod.name == name and namespace in ("", one.pod.namespace):
            addresses = tuple(one.lease.addresses)
            return Target(name=f"pod {one.pod}", addresses=addresses, port=port)
    return None


def _service(snapshot: Snapshot, service: KubeService, port: int | None) -> Target:
    """Return a service as the first endpoint of each family, after its translation."""
    where, what = "node", f"service {service}"
    cluster = " ".join(map(str, service.cluster_ips)) or "no ClusterIP"
    host = snapshot.host
    if not service.endpoints:
        text = f"{cluster} has no endpoints: no ready pod matches its selector"
        remedy = f"kubectl -n {service.namespace} describe service {service.name}"
        hop = fail(where, what, text, remedy)
        return Target(name=what, addresses=service.cluster_ips, port=port, hops=(hop,))
    if host is not None and _TRANSLATOR not in host.programs:
        text = f"{cluster}: nobody translates it here; {_TRANSLATOR} does not run on this node"
        hop = fail(where, what, text, f"kubectl -n kube-system get pods | grep {_TRANSLATOR}")
        return Target(name=what, addresses=service.cluster_ips, port=port, hops=(hop,))
    families = [one.version for one in service.cluster_ips]
    chosen = {one.version: one for one in reversed(service.endpoints)}
    ends = tuple(chosen[one] for one in sorted(chosen) if one in families)
    if not ends:
        text = f"{cluster}: no endpoint is of its family"
        if not service.cluster_ips:
            text = "it is headless: its name leads to the endpoints themselves; ask about a pod"
        remedy = f"kubectl -n {service.namespace} get endpointslices"
        hop = fail(where, what, text, remedy)
        return Target(name=what, addresses=service.endpoints, port=port, hops=(hop,))
    text = f"{_TRANSLATOR} translates {cluster} to an endpoint, for example {ends[0]}"
    return Target(
        name=what,
        addresses=ends,
        port=port,
        hops=(ok(where, what, text),),
        services=service.cluster_ips,
    )
