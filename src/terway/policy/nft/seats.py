"""Which pods are judged at which interface, and what changes in the table when that does?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from terway.model.nft import Element, Rule
from terway.policy.cluster import PodKey
from terway.policy.compiled import RuleSetId, Sides
from terway.policy.nft.batch import Batch
from terway.policy.nft.names import Names
from terway.policy.nft.sides import NOT_HERE, AtHook, Hooked, at_hook
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
        batch: Batch,
    ) -> None:
        """Take other sides, and all interfaces there are now; change what is different of them."""
        moved = {pod for pod, _interface in self._hooks.items() ^ hooks.items()}
        pods = sorted({*sides, *moved})
        before = [self._at_hook(pod, printed) for pod in pods]
        for pod, one in sides.items():
            if one is None:
                self._sides.pop(pod, None)
            else:
                self._sides[pod] = one
        self._hooks = dict(hooks)
        now = [self._at_hook(pod, printed) for pod in pods]
        # All pods at once: an interface may be another one's now.
        self._turn_elements(_elements(before), _elements(now), batch)
        _turn_chains(_chains(before), _chains(now), batch)

    def _at_hook(self, pod: PodKey, printed: Mapping[RuleSetId, Printed]) -> AtHook:
        sides, interface = self._sides.get(pod), self._hooks.get(pod)
        if sides is None or interface is None:
            return NOT_HERE
        hooked = Hooked(interface=interface, sides=sides)
        return at_hook(self._place, self._names, printed, hooked)

    def _turn_elements(
        self,
        before: Mapping[tuple[str, bytes], Element],
        now: Mapping[tuple[str, bytes], Element],
        batch: Batch,
    ) -> None:
        shapes = side_maps(self._place, self._names)
        for place in sorted(before.keys() | now.keys()):
            had, has, name = before.get(place), now.get(place), place[0]
            if had == has:
                continue
            if had is not None:
                batch.switch.remove(name, shapes[name], (had,))
            if has is not None:
                batch.switch.add(name, shapes[name], (has,))


def _turn_chains(
    before: Mapping[str, tuple[Rule, ...]], now: Mapping[str, tuple[Rule, ...]], batch: Batch
) -> None:
    for name in sorted(before.keys() | now.keys()):
        had, has = before.get(name), now.get(name)
        if had == has:
            continue
        if has is None:
            batch.remove.drop_chain(name)
        elif had is None:
            batch.make.chain(name, has)
        else:
            batch.switch.rules(name, has)


def _elements(many: Iterable[AtHook]) -> dict[tuple[str, bytes], Element]:
    return {(name, one.key): one for each in many for name, one in each.elements.items()}


def _chains(many: Iterable[AtHook]) -> dict[str, tuple[Rule, ...]]:
    return dict(chain.from_iterable(each.chains.items() for each in many))
