"""Which families and addresses does a Service get, and which may it keep?

    linked fields ─► policy ─► families ─► what may not change ─► addresses of the ranges

Source: k8s.io/kubernetes pkg/registry/core/service/storage/alloc.go and storage.go, and
pkg/registry/core/service/strategy.go, v1.32. One thing is simpler here: the lowest free address
is given, where the real server picks any of the range's upper part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from terway.lab.kubeapi.causes import invalid_list, invalid_value
from terway.lab.kubeapi.errors import ApiError, Cause, invalid
from terway.lab.kubeapi.objects import Object, name_of
from terway.lab.kubeapi.resources import SERVICE
from terway.lab.kubeapi.servicefamilies import (
    CLUSTER_IPS,
    EXTERNAL,
    HEADLESS,
    IP_FAMILIES,
    IPV4,
    IPV6,
    POLICY,
    PREFER,
    REQUIRE,
    SINGLE,
    addresses_in,
    families_in,
    family_of,
    validate_change,
    validate_families,
    validate_type,
)
from terway.lab.kubeapi.services.fields import Spec, is_headless
from terway.model.address import IPAddress, IPNetwork

_ADDRESS_FIELDS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


class Taken(Protocol):
    """The addresses that Services have, and which of a range is free."""

    def __contains__(self, address: object) -> bool:
        """Return whether a Service has the address."""

    def first_free(self, range_: IPNetwork) -> IPAddress | None:
        """Return the lowest address of a range that no Service has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRanges:
    """The ranges of services by family; a Service that asks for no family has the first's."""

    by_family: Mapping[str, IPNetwork]

    @property
    def first(self) -> str:
        """Return the family of a Service that asks for none."""
        return next(iter(self.by_family))

    @property
    def is_dual(self) -> bool:
        """Return whether a Service can have an address of each family."""
        return len(self.by_family) > 1


def read_service_ranges(text: str) -> ServiceRanges:
    """Read ranges as kube-apiserver takes them: `172.21.0.0/20` or `172.21.0.0/20,fd00::/112`."""
    ranges = [ip_network(part) for part in text.split(",")]
    return ServiceRanges(by_family={IPV6 if one.version == 6 else IPV4: one for one in ranges})


def with_addresses(
    service: Object, held: Object | None, *, ranges: ServiceRanges, taken: Taken
) -> Object:
    """Return a Service with its families and addresses; `held` is what it was before, if it was.

    `taken` are the addresses of all Services. ApiError 422 names what cannot be, 500 a full range.
    """
    old: Spec = held["spec"] if held else {}
    spec = _released(_linked(service["spec"], old), old)
    _refuse(service, validate_type(spec))
    if spec["type"] == EXTERNAL:
        return {**service, "spec": spec}
    if not _prefers_what_it_has(spec, old):
        spec = _with_families(service, spec, old, ranges)
    if old:
        _refuse(service, validate_change(old, spec))
    return {**service, "spec": _with_addresses(service, spec, old, ranges, taken)}


def _refuse(service: Object, causes: Iterable[Cause]) -> None:
    if found := tuple(causes):
        raise invalid(SERVICE, name_of(service), found)


def _without(spec: Spec, *names: str) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}


def _linked(spec: Spec, old: Spec) -> dict[str, Any]:
    """Return `clusterIP` and `clusterIPs` in step, where a client knew or changed only one."""
    linked = dict(spec)
    if not old or old["type"] == EXTERNAL:
        if linked.get("clusterIP") and not linked.get("clusterIPs"):
            linked["clusterIPs"] = [linked["clusterIP"]]
        return linked
    if spec["type"] != EXTERNAL and not linked.get("clusterIP"):
        linked["clusterIP"] = old["clusterIP"]  # a PUT that leaves out what was given
    first, addresses = linked.get("clusterIP"), linked.get("clusterIPs")
    if first == old.get("clusterIP") and not addresses:
        linked["clusterIPs"] = addresses_in(old)
    elif first != old.get("clusterIP") and addresses == addresses_in(old):
        linked["clusterIPs"] = [first] if first else []
    return linked


def _released(spec: dict[str, Any], old: Spec) -> dict[str, Any]:
    """Return the spec without what a Service no longer needs that becomes an external name."""
    if spec["type"] != EXTERNAL or not old or old["type"] == EXTERNAL:
        return spec
    return _without(spec, *(name for name in _ADDRESS_FIELDS if spec.get(name) == old.get(name)))


def _prefers_what_it_has(spec: Spec, old: Spec) -> bool:
    """Return whether it stays as it is: a cluster that becomes dual changes nobody's addresses."""
    if not old or not (spec.get("ipFamilyPolicy") == old.get("ipFamilyPolicy") == PREFER):
        return False
    return all(spec.get(name) == old.get(name) for name in ("clusterIPs", "ipFamilies"))


def _with_families(
    service: Object, spec: dict[str, Any], old: Spec, ranges: ServiceRanges
) -> dict[str, Any]:
    policy = spec.get("ipFamilyPolicy") or old.get("ipFamilyPolicy") or _default_policy(spec)
    spec = {**spec, "ipFamilyPolicy": policy}
    _refuse(service, validate_families(spec))
    if policy == SINGLE:
        spec = _with_one(spec, old)
    _refuse(service, (*_against_policy(spec, old), *_unserved_addresses(spec, ranges)))
    given = families_in(spec)
    families = given + [family_of(one) for one in _readable(spec)[len(given) :]]
    if not _is_by_hand(spec):
        _refuse(service, _unserved_families(policy, families, ranges))
    families = families or [ranges.first]
    if policy != SINGLE and len(families) == 1 and (ranges.is_dual or _is_by_hand(spec)):
        families = [*families, IPV6 if families == [IPV4] else IPV4]
    return {**spec, "ipFamilies": families}


def _is_by_hand(spec: Spec) -> bool:
    """Return whether its endpoints are written by somebody: they may be of any family."""
    return is_headless(spec) and not spec.get("selector")


def _default_policy(spec: Spec) -> str:
    return REQUIRE if _is_by_hand(spec) else SINGLE


def _readable(spec: Spec) -> list[str]:
    return [one for one in addresses_in(spec) if one != HEADLESS]


def _with_one(spec: dict[str, Any], old: Spec) -> dict[str, Any]:
    """Return the spec of a Service that is to have one family: the second goes, if unchanged."""
    cut = {
        name: spec[name][:1]
        for name in ("clusterIPs", "ipFamilies")
        if old and spec.get(name) and spec[name] == old.get(name)
    }
    return {**spec, **cut}


def _against_policy(spec: Spec, old: Spec) -> Iterator[Cause]:
    """Yield where the policy does not allow as many addresses or families as there are."""
    policy = spec["ipFamilyPolicy"]
    for one, many, values in (
        ("cluster IP", "cluster IPs", addresses_in),
        ("IP family", "IP families", families_in),
    ):
        if policy != SINGLE and 0 < len(values(spec)) < len(values(old)):
            why = f"must be 'SingleStack' to release the secondary {one}"
            yield invalid_value(POLICY, policy, why)
        if policy == SINGLE and len(values(spec)) == 2:
            dual = "must be 'RequireDualStack' or 'PreferDualStack'"
            yield invalid_value(POLICY, policy, f"{dual} when multiple {many} are specified")


def _unserved_addresses(spec: Spec, ranges: ServiceRanges) -> Iterator[Cause]:
    """Yield addresses of families that the cluster has no range of, where no family was asked."""
    for index, one in enumerate(_readable(spec)):
        family = family_of(one)
        if index >= len(families_in(spec)) and family not in ranges.by_family:
            why = f"{family} is not configured on this cluster"
            yield invalid_list(f"{CLUSTER_IPS}[{index}]", addresses_in(spec), why)


def _unserved_families(
    policy: str, families: Sequence[str], ranges: ServiceRanges
) -> Iterator[Cause]:
    if policy == REQUIRE and not ranges.is_dual:
        why = "this cluster is not configured for dual-stack services"
        yield invalid_value(POLICY, policy, why)
    for index, family in enumerate(families):
        if family not in ranges.by_family:
            why = "not configured on this cluster"
            yield invalid_value(f"{IP_FAMILIES}[{index}]", family, why)


def _with_addresses(
    service: Object, spec: dict[str, Any], old: Spec, ranges: ServiceRanges, taken: Taken
) -> dict[str, Any]:
    if is_headless(spec):
        return spec
    wished, has = addresses_in(spec), addresses_in(old)
    addresses = [
        one if one in has else _checked(service, one, wished, ranges, taken) for one in wished
    ]
    missing = families_in(spec)[len(wished) :]
    addresses += [_next_free(ranges.by_family[family], taken) for family in missing]
    return {**spec, "clusterIP": addresses[0], "clusterIPs": addresses}


def _checked(
    service: Object,
    wished: str,
    among: Sequence[str],
    ranges: ServiceRanges,
    taken: Taken,
) -> str:
    """Return an address that somebody asks for. ApiError 422 where it cannot be given."""
    range_, address = ranges.by_family[family_of(wished)], ip_address(wished)
    if address in taken:
        why = "provided IP is already allocated"
    elif not _can_be_given(address, range_):
        why = (
            f"the provided IP ({wished}) is not in the valid range. "
            f"The range of valid IPs is {range_}"
        )
    else:
        return wished
    text = f"failed to allocate IP {wished}: {why}"
    raise invalid(SERVICE, name_of(service), (invalid_list(CLUSTER_IPS, among, text),))


def _can_be_given(address: IPAddress, range_: IPNetwork) -> bool:
    ends = {range_.network_address} | ({range_.broadcast_address} if range_.version == 4 else set())
    return address in range_ and address not in ends


def _next_free(range_: IPNetwork, taken: Taken) -> str:
    found = taken.first_free(range_)
    if found is None:
        text = "Internal error occurred: failed to allocate a serviceIP: range is full"
        raise ApiError(500, "InternalError", text)
    return str(found)
