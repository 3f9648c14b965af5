"""What does policy need of a Pod, a Namespace, a Node of the API?

Source: Kubernetes API reference, core/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from terway.model.address import IPAddress
from terway.model.ids import NodeName
from terway.model.selector import Labels
from terway.policy.cluster import NamedPort, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.reading.parse_fields import Table, refusal, table_of

NAME_LABEL = "kubernetes.io/metadata.name"  # on every namespace since Kubernetes 1.21
FINISHED_PHASES = ("Succeeded", "Failed")
_NODE_IP_TYPES = ("InternalIP", "ExternalIP")
_PROTOCOLS = {protocol.value: protocol for protocol in (Protocol.TCP, Protocol.UDP, Protocol.SCTP)}


def parse_pod(raw: object) -> Pod:
    """Return the pod. One without a status has no addresses yet. Raises UsageError."""
    pod = table_of(raw, "")
    metadata, spec, status = pod.table("metadata"), pod.table("spec"), pod.table("status")
    return Pod(
        key=PodKey(namespace=metadata.text("namespace") or "default", name=name_of(metadata)),
        labels=metadata.labels("labels"),
        addresses=_pod_addresses(status),
        node=NodeName(spec.text("nodeName")) if spec.text("nodeName") else None,
        ports=tuple(_named_ports(spec)),
        is_host_network=bool(spec.values.get("hostNetwork")),
        is_finished=status.text("phase") in FINISHED_PHASES,
        created_at=_time_of(metadata),
    )


def parse_namespace(raw: object) -> Namespace:
    """Return the namespace, with the label that has its name. Raises UsageError."""
    metadata = table_of(raw, "").table("metadata")
    name = name_of(metadata)
    return Namespace(name=name, labels=namespace_labels(name, metadata.labels("labels")))


def parse_node(raw: object) -> Node:
    """Return the node, with the IP addresses of its status. Raises UsageError."""
    node = table_of(raw, "")
    metadata, status = node.table("metadata"), node.table("status")
    addresses = (
        parse_address(entry.text("address"), entry.at("address"))
        for entry in status.tables("addresses")
        if entry.text("type") in _NODE_IP_TYPES
    )
    return Node(
        name=NodeName(name_of(metadata)),
        labels=metadata.labels("labels"),
        addresses=tuple(dict.fromkeys(addresses)),
    )


def namespace_labels(name: str, labels: Labels) -> Labels:
    """Return `labels` with the one that every namespace has."""
    return {**labels, NAME_LABEL: name}


def name_of(metadata: Table) -> str:
    """Return the name of an object. Raises UsageError where it has none."""
    name = metadata.text("name")
    if not name:
        raise refusal(metadata.at("name"), name, "name the object")
    return name


def parse_address(text: str, path: str) -> IPAddress:
    """Return the address. Raises UsageError."""
    try:
        return ip_address(text)
    except ValueError:
        raise refusal(path, text, "write an IPv4 or IPv6 address") from None


def parse_protocol(text: str, path: str) -> Protocol:
    """Return the protocol; empty is TCP, as everywhere in the API. Raises UsageError."""
    protocol = _PROTOCOLS.get(text or "TCP")
    if protocol is None:
        raise refusal(path, text, f"write one of {', '.join(_PROTOCOLS)}")
    return protocol


def _pod_addresses(status: Table) -> tuple[IPAddress, ...]:
    texts = [(entry.at("ip"), entry.text("ip")) for entry in status.tables("podIPs")]
    if not texts and status.text("podIP"):
        texts = [(status.at("podIP"), status.text("podIP"))]
    return tuple(parse_address(text, path) for path, text in texts)


def _named_ports(spec: Table) -> Iterator[NamedPort]:
    for container in _lasting_containers(spec):
        for entry in container.tables("ports"):
            if entry.text("name"):
                yield parse_named_port(entry, "containerPort")


def parse_named_port(entry: Table, number_field: str) -> NamedPort:
    """Return the port that a container declares with a name. Raises UsageError."""
    return NamedPort(
        name=entry.text("name"),
        protocol=parse_protocol(entry.text("protocol"), entry.at("protocol")),
        port=entry.number(number_field, 1, 65535),
    )


def _lasting_containers(spec: Table) -> Iterable[Table]:
    """Iterate over the containers that run beside each other: sidecars are init containers."""
    yield from spec.tables("containers")
    for container in spec.tables("initContainers"):
        if container.text("restartPolicy") == "Always":
            yield container


def _time_of(metadata: Table) -> str:
    # YAML makes a date of a timestamp without quotes.
    created = metadata.values.get("creationTimestamp")
    return "" if created is None else str(created)
