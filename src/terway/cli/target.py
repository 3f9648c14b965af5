"""Which addresses does a person mean by DST: an address, a pod, a node, a service?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import TypeVar

from terway.cli.second_addresses import owners_of
from terway.cli.snapshot import KubePod, KubeService, KubeView, Snapshot
from terway.cli.target_service import Target, address_target, service_target
from terway.model.address import IPAddress
from terway.model.errors import UsageError

T = TypeVar("T", KubePod, KubeService)

Asked = tuple[int | None, str]
"""Port and protocol."""

_SERVICE_PREFIX = "svc/"


def find_target(snapshot: Snapshot, text: str, *, namespace: str, protocol: str = "tcp") -> Target:
    """Return what `text` means: names are looked for in the sender's namespace first.

    Raises UsageError when nothing has the name.
    """
    end, port = split_port(text)
    kube = snapshot.kubernetes or KubeView()
    try:
        address = ip_address(end)
    except ValueError:
        found = _by_name(snapshot, kube, end, namespace, (port, protocol))
    else:
        found = _by_address(snapshot, kube, address, (port, protocol))
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


def _by_address(snapshot: Snapshot, kube: KubeView, address: IPAddress, asked: Asked) -> Target:
    port = asked[0]
    for service in kube.services:
        if address in service.cluster_ips:
            return service_target(snapshot, service, *asked)
    translated = address_target(snapshot, address, *asked)
    if translated is not None:
        return translated
    name = next((f"pod {one}" for one in kube.pods if _has(one, address)), "")
    owner = owners_of(snapshot).get(address)
    name = name or (f"pod {owner}, one of its further interfaces" if owner else "")
    node = next((f"node {one.name}" for one in kube.nodes if address in one.addresses), "")
    return Target(name=name or node or "an address", addresses=(address,), port=port)


def _has(pod: KubePod, address: IPAddress) -> bool:
    return address in pod.addresses and not pod.is_host_network


def _by_name(
    snapshot: Snapshot, kube: KubeView, text: str, namespace: str, asked: Asked
) -> Target | None:
    port = asked[0]
    if text.startswith(_SERVICE_PREFIX):
        for service in _named(kube.services, text.removeprefix(_SERVICE_PREFIX), namespace):
            return service_target(snapshot, service, *asked)
        return None
    for pod in _named(kube.pods, text, namespace):
        return Target(name=f"pod {pod} on {pod.node}", addresses=pod.addresses, port=port)
    for node in kube.nodes:
        if node.name == text:
            return Target(name=f"node {text}", addresses=node.addresses, port=port)
    for service in _named(kube.services, text, namespace):
        return service_target(snapshot, service, *asked)
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
