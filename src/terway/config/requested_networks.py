"""Which networks does a pod ask the control plane for, by its annotations?

Three annotations say it, each in its own way, and a pod may have one of them:

    pod-networks           the networks themselves
    pod-networks-request   an interface each, and the PodNetworking that describes it
    pod-networking         the one PodNetworking of its one interface

Source: AliyunContainerService/terway, types/k8s.go and pkg/controller/webhook/mutating.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from terway.config.declare import Key, Record, Values, read_object
from terway.config.findings import Report
from terway.config.kinds import ListOf, Text
from terway.config.network_keys import (
    DEFAULT_ROUTE,
    INTERFACE_NAME,
    POD_NETWORKS,
    PREFIX,
    REQUESTED_ROUTES,
    ROUTES,
    check_routes,
    check_together,
    network_of,
    read_networks,
    routes_of,
)
from terway.config.pod_networks import with_default
from terway.model.pod_network import PRIMARY_INTERFACE, Asked, NetworkRequest, PodNetwork

POD_NETWORKS_REQUEST = f"{PREFIX}pod-networks-request"
POD_NETWORKING = f"{PREFIX}pod-networking"
POD_ENI = f"{PREFIX}pod-eni"
# Of an admitted pod: the PodNetworkings that its `pod-networks-request` named, which is answered.
POD_NETWORKS_FROM = f"{PREFIX}pod-networks-from"

_INTERFACE: Key[str] = Key(
    name="interfaceName", kind=INTERFACE_NAME, default="", meaning="Name of the interface"
)
_NETWORK: Key[str] = Key(
    name="network",
    kind=Text(pattern=r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", words="the name of a PodNetworking"),
    default="",
    meaning="The PodNetworking that describes it",
)
_REQUESTS: Key[tuple[Values, ...]] = Key(
    name="list",
    kind=ListOf(of=Record(keys=(_INTERFACE, _NETWORK, DEFAULT_ROUTE, REQUESTED_ROUTES))),
    default=(),
    meaning="The pod's interfaces",
)


def asks_for_eni(annotations: Mapping[str, str], *, is_central: bool) -> bool | None:
    """Return whether a pod is to have ENIs of its own by its annotations; None: they say nothing.

    Node and control plane both go by this, whatever a webhook did or did not see: nobody else can
    give what a PodNetworking describes. Networks that are listed are the node's own business
    where its pool is; where IPAM `is_central`, they are not.
    """
    said = annotations.get(POD_ENI, "").lower()
    if said:
        return said == "true"
    names = (POD_NETWORKING, POD_NETWORKS_REQUEST, *((POD_NETWORKS,) if is_central else ()))
    return True if any(annotations.get(name) for name in names) else None


def parse_asked(annotations: Mapping[str, str], *, is_admitted: bool = False) -> Asked:
    """Return what the annotations ask for. Raises ConfigError with the paths in them.

    A pod that `is_admitted` has `pod-networks` beside the name that it came from.
    """
    report = Report()
    _refuse_several(annotations, is_admitted, report)
    networks, requests = _networks(annotations, report), _requests(annotations, report)
    has_eni = _has_eni(annotations.get(POD_ENI), report)
    report.raise_refusals()
    networking = annotations.get(POD_NETWORKING, "")
    return Asked(
        networks=networks,
        requests=requests,
        networking="" if networks or requests else networking,
        has_eni=has_eni,
    )


def networkings_of(annotations: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the PodNetworkings that a pod's networks come from, by its annotations.

    None of them where the pod lists its networks itself, or has those of eni-config.
    """
    names = {annotations.get(POD_NETWORKING, "")}
    names.update(annotations.get(POD_NETWORKS_FROM, "").split(","))
    names.update(one.networking for one in _requests(annotations, Report()))
    return frozenset(names - {""})


def _refuse_several(annotations: Mapping[str, str], is_admitted: bool, report: Report) -> None:
    names = (POD_NETWORKS, POD_NETWORKS_REQUEST, POD_NETWORKING)
    first, *others = [name for name in names if annotations.get(name)] or [""]
    for name in others:
        if not is_admitted:
            report.refuse(name, annotations[name], f"excludes {first}: keep one of the two")


def _has_eni(text: str | None, report: Report) -> bool | None:
    if text is None or text == "":
        return None
    if text.lower() not in ("true", "false"):
        report.refuse(POD_ENI, text, 'must be "true" or "false"')
    return text.lower() == "true"


def _networks(annotations: Mapping[str, str], report: Report) -> tuple[PodNetwork, ...]:
    text = annotations.get(POD_NETWORKS)
    if not text:
        return ()
    listed = read_networks(text, report)
    for one in listed:
        check_routes(one, ROUTES, report)
    networks = tuple(network_of(one, report) for one in listed)
    if networks and not report.refusals:
        check_together(networks, PRIMARY_INTERFACE, report)
    return with_default(networks, PRIMARY_INTERFACE)


def _requests(annotations: Mapping[str, str], report: Report) -> tuple[NetworkRequest, ...]:
    text = annotations.get(POD_NETWORKS_REQUEST)
    if not text:
        return ()
    listed = _read_requests(text, report)
    for one in listed:
        check_routes(one, REQUESTED_ROUTES, report)
        for key in (_INTERFACE, _NETWORK):
            if not one[key]:
                report.refuse(one.path(key), "", f"must be {key.kind.words}")
    found = tuple(map(_request, listed))
    if found and not report.refusals:
        _check_requests(found, report)
    return found


def _read_requests(text: str, report: Report) -> tuple[Values, ...]:
    try:
        raw = cast("object", json.loads(text))
    except (ValueError, RecursionError) as error:
        report.refuse(POD_NETWORKS_REQUEST, text, f"is no JSON: {error}")
        return ()
    found = read_object((_REQUESTS,), {"list": raw}, POD_NETWORKS_REQUEST, report)[_REQUESTS]
    if not found and not report.refusals:
        rule = "must list at least one interface, or go as a whole"
        report.refuse(POD_NETWORKS_REQUEST, raw, rule)
    return found


def _request(one: Values) -> NetworkRequest:
    return NetworkRequest(
        interface=one[_INTERFACE],
        networking=one[_NETWORK],
        routes=routes_of(one, REQUESTED_ROUTES),
        has_default_route=one[DEFAULT_ROUTE],
    )


def _check_requests(found: tuple[NetworkRequest, ...], report: Report) -> None:
    networks = (
        PodNetwork(
            interface=one.interface, routes=one.routes, has_default_route=one.has_default_route
        )
        for one in found
    )
    check_together(networks, PRIMARY_INTERFACE, report, path=POD_NETWORKS_REQUEST)
