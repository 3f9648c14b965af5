"""Which pods are judged at which interface, and what changes in the table when that does?"""

from __future__ import annotations

from collections.abc import Mapping

from terway.model.nft import Element, SetShape
from terway.policy.cluster import PodKey
from terway.policy.compiled import RuleSetId, Sides
from terway.policy.nft.batch import Part
from terway.policy.nft.names import Names
from terway.policy.nft.sides import Hooked, elements_of
from terway.policy.nft.skeleton import Place, side_maps
from terway.policy.nft.state import Printed

Hooks = Mapping[PodKey, str]


class Seats:
    """Pods, their rule sets and their interfaces."""

    __slots__ = ("_hooks", "_names", "_place", "_sides")

    def __init__(self, place: Place, names: Names) -> None:
        self._place = place
        self._names = names
        self._sides: dict[PodKey, Sides] = {}
        self._hooks: dict[PodKey, str] = {}

    @property
    def needs_own_node(self) -> bool:
        """Return whether what some pod sends to the node itself is judged."""
        return self._place is Place.NODE and any(
            sides.own_node is not None and pod in self._hooks for pod, sides in self._sides.items()
        )

    def turn(
        self,
        sides: Mapping[PodKey, Sides | None],
        hooks: Hooks,
        printed: Mapping[RuleSetId, Printed],
        part: Part,
    ) -> None:
        """Take other sides, and all interfaces there are now; change elements that are others."""
        moved = {pod for pod, _interface in self._hooks.items() ^ hooks.items()}
        pods = sorted({*sides, *moved})
        before = [self._elements(pod, printed) for pod in pods]
        for pod, one in sides.items():
            if one is None:
                self._sides.pop(pod, None)
            else:
                self._sides[pod] = one
        self._hooks = dict(hooks)
        shapes = side_maps(self._place, self._names)
        for pod, had in zip(pods, before, strict=True):
            _turn(had, self._elements(pod, printed), shapes, part)

    def _elements(self, pod: PodKey, printed: Mapping[RuleSetId, Printed]) -> dict[str, Element]:
        sides, interface = self._sides.get(pod), self._hooks.get(pod)
        if sides is None or interface is None:
            return {}
        hooked = Hooked(interface=interface, sides=sides)
        return elements_of(self._place, self._names, printed, hooked)


def _turn(
    had: Mapping[str, Element],
    has: Mapping[str, Element],
    shapes: Mapping[str, SetShape],
    part: Part,
) -> None:
    """Change a pod's elements from those it `had` to those it `has`."""
    for name in sorted(had.keys() | has.keys()):
        if had.get(name) == has.get(name):
            continue
        if name in had:
            part.remove(name, shapes[name], (had[name],))
        if name in has:
            part.add(name, shapes[name], (has[name],))
