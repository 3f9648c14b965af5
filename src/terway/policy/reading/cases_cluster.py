"""Which cluster, and which connections, does a case describe? The short form of both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from terway.model.address import Family, IPAddress
from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import Cluster, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.domains import Answers
from terway.policy.flow import AddressEnd, End, Flow, NodeEnd, PodEnd
from terway.policy.reading.parse_fields import Table, refusal
from terway.policy.reading.parse_objects import (
    FINISHED_PHASES,
    namespace_labels,
    parse_address,
    parse_named_port,
    parse_protocol,
)

_PORTLESS = ("ICMP", "ICMPV6", "OTHER")


def read_cluster(state: Table) -> Cluster:
    """Return the namespaces, pods and nodes of a state. Raises UsageError."""
    namespaces = (_namespace(table) for table in state.tables("namespaces"))
    pods = (_pod(table) for table in state.tables("pods"))
    nodes = (_node(table) for table in state.tables("nodes"))
    return Cluster(
        namespaces={namespace.name: namespace for namespace in namespaces},
        pods={pod.key: pod for pod in pods},
        nodes={node.name: node for node in nodes},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a probe or a matrix asks of two ends."""

    protocol: Protocol
    port: int
    family: Family | None
    via_service: bool

    def about(self, source: End, destination: End) -> Flow:
        """Return the connection from one end to the other."""
        return Flow(
            source=source,
            destination=destination,
            protocol=self.protocol,
            port=self.port,
            family=self.family,
            via_service=self.via_service,
        )


def read_flow(probe: Table) -> Flow:
    """Return the connection of a probe. Raises UsageError."""
    source = read_end(probe.text("from"), probe.at("from"))
    destination = read_end(probe.text("to"), probe.at("to"))
    return read_question(probe).about(source, destination)


def read_question(table: Table) -> Question:
    """Return what a probe or a matrix asks. Raises UsageError."""
    fields = table.values
    asked = (fields.get("protocol"), fields.get("port"), fields.get("family"), fields.get("via"))
    try:
        return _question_of(*asked)
    except (TypeError, UsageError):  # a value is no text or number, or is wrong: say where
        return _read_question(table)


@lru_cache(maxsize=65536, typed=True)  # thousands of probes ask the same of other ends
def _question_of(protocol: object, port: object, family: object, via: object) -> Question:
    fields = {"protocol": protocol, "port": port, "family": family, "via": via}
    return _read_question(Table(path="", values=fields))


def _read_question(table: Table) -> Question:
    protocol = _protocol(table)
    return Question(
        protocol=protocol,
        port=table.number("port", 1, 65535) if protocol is not Protocol.OTHER else 0,
        family=_family(table) if table.has("family") else None,
        via_service=bool(table.values.get("via")),
    )


def read_answers(stage: Table) -> Answers:
    """Return the addresses of the domain names that the probes of a stage resolved."""
    answers: dict[str, list[IPAddress]] = {}
    for probe in stage.tables("probes"):
        if not probe.has("domain"):
            continue
        kind, _, address = probe.text("to").partition(":")
        if kind == "ip":
            found = parse_address(address, probe.at("to"))
            answers.setdefault(probe.text("domain"), []).append(found)
    return answers


def read_end(text: str, path: str) -> End:
    """Return the end in `ns/pod`, `node:NAME` or `ip:ADDRESS`. Raises UsageError."""
    try:
        return _end(text)
    except UsageError as error:
        raise refusal(path, text, str(error)) from None


@lru_cache(maxsize=65536)  # cases name the same few ends very often
def _end(text: str) -> End:
    kind, colon, rest = text.partition(":")
    if kind == "node" and colon:
        return NodeEnd(node=NodeName(rest))
    if kind == "ip" and colon:
        return AddressEnd(address=parse_address(rest, "ip"))
    namespace, slash, name = text.partition("/")
    if not slash:
        raise UsageError("write namespace/pod, node:NAME or ip:ADDRESS")
    return PodEnd(pod=PodKey(namespace=namespace, name=name))


def _family(table: Table) -> Family:
    try:
        return Family(table.number("family", 4, 6))
    except ValueError:
        raise refusal(table.at("family"), table.values["family"], "write 4 or 6") from None


def _protocol(probe: Table) -> Protocol:
    text = probe.text("protocol").upper()
    return Protocol.OTHER if text in _PORTLESS else parse_protocol(text, probe.at("protocol"))


def _namespace(table: Table) -> Namespace:
    name = table.text("name")
    return Namespace(name=name, labels=namespace_labels(name, table.labels("labels")))


def _pod(table: Table) -> Pod:
    return Pod(
        key=PodKey(namespace=table.text("ns"), name=table.text("name")),
        labels=table.labels("labels"),
        addresses=tuple(_addresses(table)),
        node=NodeName(table.text("node")) if table.text("node") else None,
        ports=tuple(
            parse_named_port(port, "port") for port in table.tables("ports") if port.text("name")
        ),
        is_host_network=bool(table.values.get("hostNetwork")),
        is_finished=table.text("phase") in FINISHED_PHASES,
    )


def _node(table: Table) -> Node:
    return Node(
        name=NodeName(table.text("name")),
        labels=table.labels("labels"),
        addresses=tuple(_addresses(table)),
    )


def _addresses(table: Table) -> Iterator[IPAddress]:
    texts = table.texts("ips") or ((table.text("ip"),) if table.text("ip") else ())
    for text in texts:
        yield parse_address(text, table.at("ips"))
