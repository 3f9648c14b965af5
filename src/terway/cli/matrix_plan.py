"""Which paths does a connectivity test try, from where, and how is the outcome reported?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from terway.cli.probe import PORT
from terway.cli.snapshot import KubeNode, KubePod, KubeService
from terway.cli.table import table_lines, wrapped
from terway.model.address import IPAddress

LABEL = "terway.alibabacloud.com/connectivity-test"
METADATA = "100.100.100.200"
_KUBELET_PORT = 10250
_SERVER_PREFIX = "server-"
_DNS_PORT = 53
_COLUMNS = ("tcp v4", "tcp v6", "MTU v4", "MTU v6", "DNS v4", "DNS v6")
SERVICE = "servers"
ROLE = "terway.alibabacloud.com/role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One path.

    `kind`: echo (TCP, answered), reach (TCP, refused is enough), udp (whole MTU), dns (a query).
    """

    to: str
    kind: str
    host: str
    port: int
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial: `error` is empty when it went through; `skipped` says why not tried."""

    source: str
    to: str
    what: str
    host: str = ""
    error: str = ""
    skipped: str = ""
    elapsed_ms: float = 0.0


def left_out(nodes: Iterable[KubeNode]) -> tuple[Outcome, ...]:
    """Return the nodes on which nothing is tried: those that are not Ready."""
    return tuple(
        Outcome(
            source=f"pod on {one.name}",
            to="(all)",
            what="tcp",
            skipped="; ".join(("the Node is not Ready", *one.conditions)),
        )
        for one in nodes
        if not one.is_ready
    )


def trials(
    servers: Iterable[KubePod], nodes: Iterable[KubeNode], *, mtu_bytes: int
) -> tuple[Trial, ...]:
    """Return every path to the server pods, the nodes and the metadata service."""
    found: list[Trial] = []
    for pod in servers:
        for address in pod.addresses:
            name, host = f"pod on {pod.node}", str(address)
            found.append(Trial(to=name, kind="echo", host=host, port=PORT))
            found.append(Trial(to=name, kind="udp", host=host, port=PORT, size=mtu_bytes))
    for node in nodes:
        for own in node.addresses:
            name = f"node {node.name}"
            found.append(Trial(to=name, kind="reach", host=str(own), port=_KUBELET_PORT))
    found.append(Trial(to="metadata", kind="reach", host=METADATA, port=80))
    return tuple(found)


def service_trials(
    services: Iterable[KubeService],
    nodes: Iterable[KubeNode],
    *,
    own: str,
    unserved: str,
) -> tuple[tuple[Trial, ...], tuple[Outcome, ...]]:
    """Return what to try of services and DNS, and what not, with the reason.

    `own` is the test's own service, NAMESPACE/NAME; `unserved` says why nobody translates, if so.
    """
    named = {str(one): one for one in services}
    addresses = tuple(address for one in nodes for address in one.addresses)
    tries: list[Trial] = []
    skipped: list[Outcome] = []
    for to, key, kind in (
        ("ClusterIP of kubernetes", "default/kubernetes", "reach"),
        ("ClusterIP of the test", own, "echo"),
        ("NodePort of the test", own, "echo"),
        ("DNS", "kube-system/kube-dns", "dns"),
    ):
        reason, ends = _ends_of(to, named.get(key), addresses, unserved)
        tries += (Trial(to=to, kind=kind, host=str(one), port=port) for one, port in ends)
        if not ends:
            text = reason or f"there is no service {key}"
            what = "DNS" if kind == "dns" else "tcp"
            skipped.append(Outcome(source="every pod", to=to, what=what, skipped=text))
    return tuple(tries), tuple(skipped)


def _ends_of(
    to: str, service: KubeService | None, nodes: Sequence[IPAddress], unserved: str
) -> tuple[str, list[tuple[IPAddress, int]]]:
    """Return where a service is tried, or why it is not. DNS answers without a ClusterIP, too."""
    if to == "DNS" and service is not None:
        ends = service.endpoints if unserved else service.cluster_ips
        return f"{service} has no endpoints", [(one, _DNS_PORT) for one in ends]
    if unserved or service is None:
        return unserved if to != "DNS" else "", []
    if to.startswith("NodePort"):
        ports = service.node_ports
        return f"{service} has no NodePort", [(one, port) for port in ports for one in nodes]
    port = (service.ports or (443,))[0]
    return f"{service} has no ClusterIP", [(one, port) for one in service.cluster_ips]


def service_manifest(namespace: str) -> dict[str, Any]:
    """Return the test's own service, in front of its servers, with a NodePort."""
    port = {"name": "echo", "port": PORT, "targetPort": PORT, "protocol": "TCP"}
    return {
        "metadata": {"name": SERVICE, "namespace": namespace},
        "spec": {
            "type": "NodePort",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {ROLE: "server"},
            "ports": [port],
        },
    }


def server_manifest(node: str, *, namespace: str, image: str, script: str) -> dict[str, Any]:
    """Return the pod that answers on a node."""
    name = f"{_SERVER_PREFIX}{node}"
    return _manifest(name, node, namespace, image, [script, "serve"], host_network=False)


def client_manifest(
    node: str,
    tries: Sequence[Trial],
    *,
    namespace: str,
    image: str,
    script: str,
    host_network: bool,
) -> dict[str, Any]:
    """Return the pod that tries everything once and ends; with `host_network`, as the node."""
    raw = [
        {"to": one.to, "kind": one.kind, "host": one.host, "port": one.port, "size": one.size}
        for one in tries
    ]
    name = f"{'node' if host_network else 'client'}-{node}"
    words = [script, "try", json.dumps(raw)]
    return _manifest(name, node, namespace, image, words, host_network=host_network)


def _manifest(
    name: str, node: str, namespace: str, image: str, words: list[str], *, host_network: bool
) -> dict[str, Any]:
    container = {
        "name": "probe",
        "image": image,
        "command": ["python3", "-I", "-S", "-c", *words],
    }
    role = "server" if name.startswith(_SERVER_PREFIX) else "client"
    labels = {LABEL: "probe", ROLE: role}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "hostNetwork": host_network,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


def outcomes(source: str, answers: Iterable[Mapping[str, Any]]) -> Iterator[Outcome]:
    """Yield what a client printed."""
    words = {"echo": "tcp", "reach": "tcp", "udp": "MTU", "dns": "DNS"}
    for one in answers:
        yield Outcome(
            source=source,
            to=one["to"],
            what=words[one["kind"]],
            host=one["host"],
            error=one["error"],
            elapsed_ms=one["elapsed_ms"],
        )


def matrix_lines(found: Sequence[Outcome]) -> list[str]:
    """Return the matrix: a row for each pair, a column for each thing tried; then the failures."""
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for one in found:
        if one.skipped:
            continue
        column = f"{one.what} v{6 if ':' in one.host else 4}"
        cell = "FAIL" if one.error else f"{one.elapsed_ms:.1f}"
        pairs.setdefault((one.source, one.to), {})[column] = cell
    there = {one for cells in pairs.values() for one in cells}
    columns = [one for one in _COLUMNS if one in there]
    rows = [
        (source, to, *(cells.get(one, "-") for one in columns))
        for (source, to), cells in pairs.items()
    ]
    lines = table_lines(("FROM", "TO", *columns), rows) if rows else []
    lines.append("(milliseconds, connection and answer)")
    for one in found:
        if one.error:
            text = f"FAIL  {one.source} to {one.to} ({one.host}), {one.what}: {one.error}"
            lines += wrapped(text)
        elif one.skipped:
            lines += wrapped(f"skip  {one.source} to {one.to}: {one.skipped}")
    failed = sum(bool(one.error) for one in found)
    skipped = sum(bool(one.skipped) for one in found)
    lines.append(f"{len(found) - failed - skipped} paths work, {failed} fail, {skipped} skipped")
    return lines


def junit(found: Sequence[Outcome]) -> str:
    """Return the report as JUnit XML, for build servers."""
    failed = sum(bool(one.error) for one in found)
    skipped = sum(bool(one.skipped) for one in found)
    counts = f'tests="{len(found)}" failures="{failed}" skipped="{skipped}"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="terway connectivity" {counts}>',
    ]
    for one in found:
        name = quoteattr(f"{one.to} {one.what} {one.host}".strip())
        head = f"  <testcase classname={quoteattr(one.source)} name={name}"
        inner = f"<failure message={quoteattr(one.error)}/>" if one.error else ""
        inner = inner or (f"<skipped message={quoteattr(one.skipped)}/>" if one.skipped else "")
        lines.append(f'{head} time="{one.elapsed_ms / 1000:.4f}">{inner}</testcase>')
    return "\n".join([*lines, "</testsuite>", ""])
