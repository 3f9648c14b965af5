"""Which networks does a pod ask for by its annotations, and can a node alone give them?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from terway.config.declare import Values
from terway.config.findings import Report
from terway.config.network_keys import (
    ALLOCATION_TYPE,
    ENI_OPTIONS,
    ENI_TYPE,
    KEPT,
    POD_NETWORKS,
    POLICY,
    PREFIX,
    RESOURCE_GROUP,
    ROUTES,
    SELECT,
    Kept,
    check_routes,
    check_together,
    network_of,
    read_networks,
)
from terway.model.pod_network import ENIOption, PodNetwork, VSwitchChoice

__all__ = [
    "METADATA_ACCESS",
    "OF_THE_CONTROL_PLANE",
    "POD_NETWORKS",
    "PodNetwork",
    "parse_metadata_access",
    "parse_pod_networks",
    "with_default",
]

# These name PodNetworking resources, which are resolved by the control plane.
OF_THE_CONTROL_PLANE = (f"{PREFIX}pod-networks-request", f"{PREFIX}pod-networking")
METADATA_ACCESS = f"{PREFIX}metadata-access"


def parse_pod_networks(
    annotations: Mapping[str, str], *, primary: str = "eth0"
) -> tuple[PodNetwork, ...]:
    """Return the networks of the annotation `pod-networks`, that of `primary` first.

    Without the annotation there are none. `primary` is the interface that the runtime asks for:
    it must be listed, and has the default route unless another one asks for it. Raises ConfigError
    with the paths in the annotation.
    """
    report = Report()
    _refuse_strangers(annotations, report)
    networks: tuple[PodNetwork, ...] = ()
    if annotations.get(POD_NETWORKS):
        listed = read_networks(annotations[POD_NETWORKS], report)
        for one in listed:
            _check_centralized(one, report)
            check_routes(one, ROUTES, report)
        networks = tuple(network_of(one, report) for one in listed)
        if listed and not report.refusals:
            check_together(networks, primary, report)
    report.raise_refusals()
    return with_default(networks, primary)


def parse_metadata_access(annotations: Mapping[str, str]) -> bool:
    """Return whether the pod may reach the instance's metadata. Raises ConfigError."""
    text = annotations.get(METADATA_ACCESS, "true")
    if text not in ("true", "false"):
        report = Report()
        report.refuse(METADATA_ACCESS, text, 'must be "true" or "false"')
        report.raise_refusals()
    return text == "true"


def _refuse_strangers(annotations: Mapping[str, str], report: Report) -> None:
    for name in OF_THE_CONTROL_PLANE:
        if not annotations.get(name):
            continue
        if annotations.get(POD_NETWORKS):
            rule = f"excludes {POD_NETWORKS}: keep one of the two"
        else:
            rule = f"needs terway-controlplane: write the networks into {POD_NETWORKS} instead"
        report.refuse(name, annotations[name], rule)


def _check_centralized(one: Values, report: Report) -> None:
    allocation, options, select = one[ALLOCATION_TYPE], one[ENI_OPTIONS], one[SELECT]
    if allocation is not None and allocation[KEPT] is Kept.FIXED:
        rule = "a fixed address needs terway-controlplane: use Elastic, or remove allocationType"
        report.refuse(allocation.path(KEPT), "Fixed", rule)
    if options is not None and options[ENI_TYPE] is not ENIOption.DEFAULT:
        rule = "a shared ENI has Default only; others need terway-controlplane: remove it"
        report.refuse(options.path(ENI_TYPE), options[ENI_TYPE].value, rule)
    if select is not None and select[POLICY] is not VSwitchChoice.UNSAID:
        rule = "a node chooses by eni_conf.vswitch_selection_policy: remove it"
        report.refuse(select.path(POLICY), select[POLICY].value, rule)
    if one[RESOURCE_GROUP]:
        rule = "a node creates ENIs in eni_conf.resource_group_id: remove it"
        report.refuse(one.path(RESOURCE_GROUP), one[RESOURCE_GROUP], rule)


def with_default(networks: tuple[PodNetwork, ...], primary: str) -> tuple[PodNetwork, ...]:
    """Return the networks, `primary` first, with one default route among them."""
    claimants = [one.interface for one in networks if one.has_default_route]
    chosen = claimants[0] if claimants else primary
    ordered = sorted(networks, key=lambda one: one.interface != primary)  # stable
    return tuple(replace(one, has_default_route=one.interface == chosen) for one in ordered)
