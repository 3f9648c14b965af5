"""Which networks does a pod get, and by whose word?

    annotation pod-networks            as it says
    annotation pod-networks-request    each interface by the PodNetworking that it names
    annotation pod-networking          one interface, by that PodNetworking
    nothing                            the first Ready PodNetworking, by name, that selects the pod;
                                       a Fixed one only pods whose name stays
    pod-eni: "true", or every pod      one interface of the defaults

Source: upstream's pkg/controller/webhook/mutating.go, whose order among several PodNetworkings is
that of a cache; here it is by name, so that the same pod always gets the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from terway.model.errors import UsageError
from terway.model.pod_network import (
    PRIMARY_INTERFACE,
    Asked,
    ENIOption,
    NetworkRequest,
    PodNetwork,
    PodNetworking,
    VSwitchChoice,
)
from terway.podeni.pods import PodFacts
from terway.podeni.settings import LEAST_TTL_S, Defaults, Settings

ANNOTATION = "k8s.aliyun.com/"
_REQUEST = f"{ANNOTATION}pod-networks-request"
_BY_NAME = f"{ANNOTATION}pod-networking"
_NETWORKS = f"{ANNOTATION}pod-networks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The networks of a pod. `networking` is the PodNetworking that gave them, if it was one.

    `requested` are the PodNetworkings of several interfaces, each by an annotation's word.
    `remarks` are for whoever made the pod.
    """

    networks: tuple[PodNetwork, ...]
    networking: str = ""
    requested: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def select_networks(
    pod: PodFacts,
    asked: Asked,
    *,
    namespace_labels: Mapping[str, str],
    networkings: Iterable[PodNetworking],
    defaults: Defaults,
    settings: Settings,
) -> Selected | None:
    """Return the networks of a pod, None for one that has none of its own.

    Raises UsageError, with the field, for what cannot be had.
    """
    if pod.is_none_of_ours or asked.has_eni is False:
        return None
    known = {one.name: one for one in networkings}
    if asked.networks:
        selected = Selected(networks=asked.networks)
    elif asked.requests:
        selected = Selected(
            networks=_requested(asked.requests, known),
            requested=tuple(dict.fromkeys(one.networking for one in asked.requests)),
        )
    elif asked.networking:
        selected = _named(asked.networking, known)
    else:
        chosen = _chosen(pod, namespace_labels, known.values(), settings)
        if chosen is None:
            if not (asked.has_eni or settings.has_every_pod):
                return None
            chosen = Selected(networks=(PodNetwork(interface=PRIMARY_INTERFACE),))
        selected = chosen
    networks = _of_one_kind(selected.networks, asks_whole=pod.asks_whole and settings.has_trunk)
    filled = tuple(fill(one, defaults) for one in networks)
    _check(filled, pod, settings)
    return replace(selected, networks=_with_default_route(filled))


def _of_one_kind(networks: tuple[PodNetwork, ...], *, asks_whole: bool) -> tuple[PodNetwork, ...]:
    """Return the networks, whole ENIs where one is to be, or the pod asks for that resource."""
    if not asks_whole and all(one.eni is not ENIOption.ENI for one in networks):
        return networks
    return tuple(
        replace(one, eni=ENIOption.ENI) if one.eni is ENIOption.DEFAULT else one for one in networks
    )


def _with_default_route(networks: tuple[PodNetwork, ...]) -> tuple[PodNetwork, ...]:
    if any(one.has_default_route for one in networks):
        return networks
    return tuple(
        replace(one, has_default_route=one.interface == PRIMARY_INTERFACE) for one in networks
    )


def fill(network: PodNetwork, defaults: Defaults) -> PodNetwork:
    """Return the network with the defaults for all that it does not say."""
    is_unsaid = network.vswitch_choice is VSwitchChoice.UNSAID
    return replace(
        network,
        vswitch_ids=network.vswitch_ids or defaults.vswitch_ids,
        security_group_ids=network.security_group_ids or defaults.security_group_ids,
        resource_group_id=network.resource_group_id or defaults.resource_group_id,
        vswitch_choice=VSwitchChoice.ORDERED if is_unsaid else network.vswitch_choice,
    )


def _requested(
    requests: tuple[NetworkRequest, ...], known: Mapping[str, PodNetworking]
) -> tuple[PodNetwork, ...]:
    return tuple(_request(one, index, known) for index, one in enumerate(requests))


def _request(one: NetworkRequest, index: int, known: Mapping[str, PodNetworking]) -> PodNetwork:
    path = f"{_REQUEST}[{index}].network"
    networking = _ready(one.networking, path, known)
    if networking.has_selector:
        rule = "chooses its pods by selectors: name one without, or remove the annotation"
        raise UsageError(f"{path} is {one.networking}: PodNetworking {rule}", field=path)
    return replace(
        networking.network,
        interface=one.interface,
        routes=one.routes,
        has_default_route=one.has_default_route,
    )


def _named(name: str, known: Mapping[str, PodNetworking]) -> Selected:
    networking = _ready(name, _BY_NAME, known)
    network = replace(networking.network, interface=PRIMARY_INTERFACE, has_default_route=True)
    return Selected(networks=(network,), networking=name)


def _ready(name: str, path: str, known: Mapping[str, PodNetworking]) -> PodNetworking:
    networking = known.get(name)
    if networking is None:
        rule = "there is no such PodNetworking: make it first"
    elif not networking.is_ready:
        rule = "that PodNetworking is not Ready: its status says why"
    else:
        return networking
    raise UsageError(f"{path} is {name}: {rule}", field=path)


def choose(
    pod: PodFacts,
    namespace_labels: Mapping[str, str],
    networkings: Iterable[PodNetworking],
    settings: Settings,
) -> str | None:
    """Return the name of the PodNetworking that selects a pod, None where none does."""
    fitting = (one.name for one in networkings if _fits(one, pod, namespace_labels, settings))
    return min(fitting, default=None)


def _chosen(
    pod: PodFacts,
    namespace_labels: Mapping[str, str],
    networkings: Iterable[PodNetworking],
    settings: Settings,
) -> Selected | None:
    fitting = sorted(one.name for one in networkings if _fits(one, pod, namespace_labels, settings))
    if not fitting:
        return None
    first, *others = fitting
    known = {one.name: one for one in networkings}
    remarks = (
        (f"PodNetworkings {', '.join(fitting)} select this pod: it has {first}, the first",)
        if others
        else ()
    )
    return replace(_named(first, known), remarks=remarks)


def _fits(
    one: PodNetworking, pod: PodFacts, namespace_labels: Mapping[str, str], settings: Settings
) -> bool:
    may = not one.network.lifetime.is_fixed or pod.has_fixed_name(settings)
    return one.is_ready and may and one.selects(pod.labels, namespace_labels)


def _check(networks: tuple[PodNetwork, ...], pod: PodFacts, settings: Settings) -> None:
    for index, one in enumerate(networks):
        path = f"{_NETWORKS}.podNetworks[{index}]"
        if not one.vswitch_ids:
            rule = "names none, and eni_conf has no vswitches: name one"
            raise UsageError(f"{path}.vSwitchOptions {rule}", field=f"{path}.vSwitchOptions")
        if not one.security_group_ids:
            rule = "names none, and eni_conf has no security_groups: name one"
            raise UsageError(f"{path}.securityGroupIDs {rule}", field=f"{path}.securityGroupIDs")
        if one.lifetime.is_fixed and not pod.has_fixed_name(settings):
            kinds = ", ".join(sorted(settings.fixed_kinds))
            owner = ", ".join(pod.owner_kinds)
            rule = f"its pod is a {owner}'s, whose names do not stay: only those of {kinds} do, "
            rule += "and of nobody; make it Elastic"
            where = f"{path}.allocationType.type"
            raise UsageError(f"{where} is Fixed: {rule}", field=where)
        check_ttl(one, f"{path}.allocationType.releaseAfter")


def check_ttl(network: PodNetwork, path: str) -> None:
    """Refuse a time that a pod needs to come back. Raises UsageError with `path`."""
    ttl_s = network.lifetime.ttl_s
    if ttl_s is not None and ttl_s < LEAST_TTL_S:
        rule = f"must be 5m at least, as pods take a while to come back: it is {ttl_s:g}s"
        raise UsageError(f"{path} {rule}", field=path)
