"""What is changed of a pod, or of a PodNetworking, on its way into the API?

Both are questions of the webhook; the answer is a value, which `controlplane.podenis` writes as a
patch. A refusal is a UsageError with the field and what to do.
Source: upstream's pkg/controller/webhook/mutating.go and validate.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from terway.model.errors import UsageError
from terway.model.ids import VSwitchId, ZoneId
from terway.model.label_names import NAME_RULE, VALUE_RULE, is_label_name, is_label_value
from terway.model.pod_network import ENIOption, PodNetwork, PodNetworking
from terway.model.selector import Selector
from terway.podeni.pods import PodFacts
from terway.podeni.selection import Selected, check_ttl, fill
from terway.podeni.settings import Defaults, Settings

MEMBER_RESOURCE = "aliyun/member-eni"
ENI_RESOURCE = "aliyun/eni"
_ENI_TYPE = "k8s.aliyun.com/pod-networks.podNetworks[].eniOptions.eniType"
_VSWITCHES = "k8s.aliyun.com/pod-networks.podNetworks[].vSwitchOptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an earlier pod of the name left: the zone of the ENIs that wait for this one."""

    zone_id: ZoneId


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPatch:
    """What is to be added to a pod.

    `resource` is asked for `count` times by its first container; empty: it is not asked for. The
    pod may only be in a zone that each of `zones` has. `is_gated`: it is kept back by GATE.
    """

    networks: tuple[PodNetwork, ...]
    networking: str = ""
    requested: tuple[str, ...] = ()
    resource: str = ""
    count: int = 0
    zones: tuple[frozenset[ZoneId], ...] = ()
    is_gated: bool = False
    remarks: tuple[str, ...] = ()


def admit_pod(
    pod: PodFacts,
    selected: Selected,
    *,
    zones: Mapping[VSwitchId, ZoneId],
    held: Held | None,
    settings: Settings,
) -> PodPatch:
    """Return what a pod with these networks needs.

    `zones` are those of the vSwitches that are known; a network with another one may be anywhere.
    A pod whose ENIs wait for it goes where they are, and nowhere else, because an ENI cannot leave
    its zone. All others may go wherever each of their networks has a vSwitch.
    """
    resource = _resource(selected.networks, settings) if settings.injects_resource else ""
    terms = () if pod.is_of_daemon_set else _terms(selected.networks, zones, held)
    return PodPatch(
        networks=selected.networks,
        networking=selected.networking,
        requested=selected.requested,
        resource=resource,
        count=len(selected.networks) if resource else 0,
        zones=terms,
        is_gated=settings.has_gates and held is None and not pod.is_of_daemon_set,
        remarks=selected.remarks,
    )


def _resource(networks: Sequence[PodNetwork], settings: Settings) -> str:
    options = {one.eni for one in networks}
    if {ENIOption.ENI, ENIOption.TRUNK} <= options:
        rule = "a pod has either members of a trunk or whole ENIs: use one of the two"
        raise UsageError(f"{_ENI_TYPE} is ENI and Trunk: {rule}", field=_ENI_TYPE)
    if ENIOption.TRUNK in options and not settings.has_trunk:
        rule = "this cluster has no trunk ENIs: set enableTrunk, or use Default"
        raise UsageError(f"{_ENI_TYPE} is Trunk: {rule}", field=_ENI_TYPE)
    is_member = settings.has_trunk and ENIOption.ENI not in options
    return MEMBER_RESOURCE if is_member else ENI_RESOURCE


def _terms(
    networks: Sequence[PodNetwork], zones: Mapping[VSwitchId, ZoneId], held: Held | None
) -> tuple[frozenset[ZoneId], ...]:
    terms = [frozenset({held.zone_id})] if held is not None else []
    for one in networks:
        where = {zones.get(vswitch_id) for vswitch_id in one.vswitch_ids}
        if None not in where:
            terms.append(frozenset(zone for zone in where if zone is not None))
    if terms and not frozenset.intersection(*terms):
        said = "; ".join(", ".join(sorted(term)) for term in terms)
        rule = "name vSwitches of one zone for all networks, and of the zone of a fixed address"
        text = f"{_VSWITCHES}: no zone has all that the pod needs ({said}): {rule}"
        raise UsageError(text, field=_VSWITCHES)
    return tuple(dict.fromkeys(terms))


def fill_networking(networking: PodNetworking, defaults: Defaults) -> PodNetworking:
    """Return a PodNetworking with vSwitches and security groups, where it names none."""
    filled = fill(networking.network, defaults)
    network = replace(
        networking.network,
        vswitch_ids=filled.vswitch_ids,
        security_group_ids=filled.security_group_ids,
    )
    return replace(networking, network=network)


def check_networking(networking: PodNetworking, settings: Settings) -> None:
    """Refuse a PodNetworking that no pod could have. Raises UsageError with the field."""
    network = networking.network
    for field, selector in (
        ("podSelector", networking.pods),
        ("namespaceSelector", networking.namespaces),
    ):
        if selector is not None:
            _check_labels(selector, f"spec.selector.{field}")
    for field, ids in (
        ("vSwitchOptions", network.vswitch_ids),
        ("securityGroupIDs", network.security_group_ids),
    ):
        if not ids:
            text = f"spec.{field} is empty, and eni_conf has none either: name one"
            raise UsageError(text, field=f"spec.{field}")
    check_ttl(network, "spec.allocationType.releaseAfter")
    path = "spec.eniOptions.eniType"
    is_default = network.eni is ENIOption.DEFAULT
    if not (settings.injects_resource or networking.has_selector or is_default):
        rule = "without enableWebhookInjectResource a network without selectors must be Default"
        raise UsageError(f"{path} is {network.eni.value}: {rule}", field=path)
    if network.eni is ENIOption.TRUNK and not settings.has_trunk:
        rule = "this cluster has no trunk ENIs: set enableTrunk, or use Default"
        raise UsageError(f"{path} is Trunk: {rule}", field=path)


def _check_labels(selector: Selector, path: str) -> None:
    """Refuse what no label is called, or has. Raises UsageError with `path`."""
    for one in sorted(selector.requirements, key=lambda one: one.key):
        if not is_label_name(one.key):
            raise UsageError(f'{path} has the label "{one.key}": it {NAME_RULE}', field=path)
        for value in sorted(one.values):
            if not is_label_value(value):
                text = f'{path} has "{value}" for the label {one.key}: it {VALUE_RULE}'
                raise UsageError(text, field=path)


def remarks_on(networking: PodNetworking, others: Iterable[PodNetworking]) -> tuple[str, ...]:
    """Return what whoever writes a PodNetworking should know of others that select the same."""
    if not networking.has_selector:
        return ()
    selectors = (networking.pods, networking.namespaces)
    same = (one.name for one in others if (one.pods, one.namespaces) == selectors)
    names = sorted({networking.name, *same})
    if len(names) == 1:
        return ()
    text = f"PodNetworkings {', '.join(names)} have the same selector: pods have {names[0]}, "
    return (f"{text}the first by name, while it is Ready; give each its own, or remove one",)
