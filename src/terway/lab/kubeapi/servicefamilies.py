"""Which families and addresses may a Service ask for, and in which words is it refused?

Source: k8s.io/kubernetes pkg/apis/core/validation/validation.go, v1.32:
ValidateServiceClusterIPsRelatedFields, validateUpgradeDowngradeClusterIPs,
validateUpgradeDowngradeIPFamilies, and the types in ValidateService.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from terway.lab.kubeapi.causes import (
    duplicate_value,
    forbidden_value,
    invalid_list,
    invalid_value,
    not_supported,
    required,
)
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.services.fields import Spec, is_headless

IPV4, IPV6 = FAMILIES = ("IPv4", "IPv6")
SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
HEADLESS = "None"
EXTERNAL = "ExternalName"

CLUSTER_IPS = "spec.clusterIPs"
IP_FAMILIES = "spec.ipFamilies"
POLICY = "spec.ipFamilyPolicy"
_POLICIES = (PREFER, REQUIRE, SINGLE)
_BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_SET_ONCE = "may not change once set"


def addresses_in(spec: Spec) -> list[str]:
    """Return what `clusterIPs` says."""
    return list(spec.get("clusterIPs") or ())


def families_in(spec: Spec) -> list[str]:
    """Return what `ipFamilies` says."""
    return list(spec.get("ipFamilies") or ())


def family_of(address: str) -> str:
    """Return the family of an address that can be read."""
    return IPV6 if ip_address(address).version == 6 else IPV4


def is_address(text: str) -> bool:
    """Return whether a text is an address, of either family."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def validate_type(spec: Spec) -> Iterator[Cause]:
    """Yield what a Service's type forbids of its addresses."""
    if spec["type"] == EXTERNAL:
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                yield forbidden_value(f"spec.{name}", "may not be set for ExternalName services")
        if not spec.get("externalName", "").removesuffix("."):
            yield required("spec.externalName")
    elif spec["type"] in ("NodePort", "LoadBalancer") and is_headless(spec):
        why = f"may not be set to 'None' for {spec['type']} services"
        yield invalid_value(f"{CLUSTER_IPS}[0]", HEADLESS, why)


def validate_families(spec: Spec) -> Iterator[Cause]:
    """Yield what is wrong with the addresses, families and policy of a Service, each by itself."""
    yield from _first_is_the_same(spec)
    seen: set[str] = set()
    for index, family in enumerate(families_in(spec)):
        if family not in FAMILIES:
            yield not_supported(f"{IP_FAMILIES}[{index}]", family, FAMILIES)
        if family in seen:
            yield duplicate_value(f"{IP_FAMILIES}[{index}]", family)
        seen.add(family)
    if spec["ipFamilyPolicy"] not in _POLICIES:
        yield not_supported(POLICY, spec["ipFamilyPolicy"], _POLICIES)
    yield from _addresses(spec)


def _first_is_the_same(spec: Spec) -> Iterator[Cause]:
    addresses, first = addresses_in(spec), spec.get("clusterIP")
    if not first and addresses:
        why = "must be empty when `clusterIP` is not specified"
        yield invalid_list(CLUSTER_IPS, addresses, why)
    elif first and not addresses:
        yield required(CLUSTER_IPS)
    elif first and addresses[0] != first:
        yield invalid_list(CLUSTER_IPS, addresses, "first value must match `clusterIP`")


def _addresses(spec: Spec) -> Iterator[Cause]:
    addresses = addresses_in(spec)
    if addresses == [HEADLESS]:
        return
    if addresses[:1] == [HEADLESS]:
        yield invalid_list(CLUSTER_IPS, addresses, "'None' must be the first and only value")
        return
    unreadable = [index for index, one in enumerate(addresses) if not is_address(one)]
    for index in unreadable:
        yield invalid_value(f"{CLUSTER_IPS}[{index}]", addresses[index], _BAD_ADDRESS)
    if len(addresses) > 2:
        yield invalid_list(CLUSTER_IPS, addresses, "may only hold up to 2 values")
    if unreadable:
        return
    if len(addresses) > 1 and len({family_of(one) for one in addresses}) < 2:
        why = "may specify no more than one IP for each IP family"
        yield invalid_list(CLUSTER_IPS, addresses, why)
    for index, (one, family) in enumerate(zip(addresses, families_in(spec), strict=False)):
        if family in FAMILIES and family_of(one) != family:
            why = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            yield invalid_value(f"{CLUSTER_IPS}[{index}]", one, why)


def validate_change(old: Spec, new: Spec) -> Iterator[Cause]:
    """Yield what a Service may not change of the addresses and families that it was given."""
    if EXTERNAL in (old["type"], new["type"]) or (is_headless(old) and is_headless(new)):
        return
    yield from _kept(CLUSTER_IPS, addresses_in(old), addresses_in(new), noun="clusterIP")
    if not is_headless(old) and not is_headless(new):
        yield from _kept(
            IP_FAMILIES, families_in(old), families_in(new), noun="ipFamily", kind="core.IPFamily"
        )


def _kept(
    field: str, old: Sequence[str], new: Sequence[str], *, noun: str, kind: str = "string"
) -> Iterator[Cause]:
    """Yield what was lost or changed. That a second is only lost as wished, the caller has seen."""
    if old and not new:
        yield invalid_list(f"{field}[0]", new, f"primary {noun} can not be unset", kind=kind)
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        if before != after:
            yield invalid_list(f"{field}[{index}]", new, _SET_ONCE, kind=kind)
