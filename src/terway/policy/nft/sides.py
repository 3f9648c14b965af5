"""Which elements make the rules of one pod apply: constant in number, by its interface's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terway.model.nft import Element
from terway.policy.compiled import RuleSetId, Sides
from terway.policy.nft.names import Names
from terway.policy.nft.skeleton import Place
from terway.policy.nft.state import Printed
from terway.policy.nft.words import jump

_IFNAMSIZ = 16  # include/uapi/linux/if.h, with the zero at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """A pod's rule sets, and the interface at which they judge."""

    interface: str
    sides: Sides


def interface_key(name: str) -> bytes:
    """Return an interface's name as a key."""
    return name.encode().ljust(_IFNAMSIZ, b"\0")


def interface_of(key: bytes) -> str:
    """Return the interface that a key names."""
    return key.rstrip(b"\0").decode(errors="replace")


def elements_of(
    place: Place, names: Names, rule_sets: Mapping[RuleSetId, Printed], pod: Hooked
) -> dict[str, Element]:
    """Return the elements of a pod by the map they belong to."""
    return dict(_elements(place, names, rule_sets, pod))


def _elements(
    place: Place, names: Names, rule_sets: Mapping[RuleSetId, Printed], pod: Hooked
) -> Iterator[tuple[str, Element]]:
    key, sides = interface_key(pod.interface), pod.sides
    wanted = {"egress": sides.egress, "ingress": sides.ingress}
    if place is Place.NODE:
        wanted["own_node"] = sides.own_node
    for name, number in wanted.items():
        if number is not None:
            yield names.of(name), Element(key, None, jump(names.of(rule_sets[number].name)))
    if place is Place.NODE and sides.own_node is None:
        # Only NetworkPolicy selects the pod, which never keeps it from itself.
        yield names.of("itself"), Element(key + key)
