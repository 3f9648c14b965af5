"""Which of many selectors match these labels, without trying each?

A selector that wants one of some values is found by them; only one that does not is always tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from terway.model.selector import Labels, Operator, Selector
from terway.policy.policies import PodPeer

T = TypeVar("T")

Label = tuple[str, str]


def anchors_of(selector: Selector) -> tuple[Label, ...] | None:
    """Return labels of which an object must have one to be matched; None if it need not."""
    wanted = [r for r in selector.requirements if r.operator is Operator.IN]
    if not wanted:
        return None
    best = min(wanted, key=lambda r: (len(r.values), r.key))
    return tuple((best.key, value) for value in best.values)


class Selectors(Generic[T]):
    """Label selectors, and something for each."""

    __slots__ = ("_anchored", "_others")

    def __init__(self) -> None:
        self._anchored: dict[Label, dict[Selector, T]] = {}
        self._others: dict[Selector, T] = {}

    def __bool__(self) -> bool:
        return bool(self._anchored or self._others)

    def get(self, selector: Selector) -> T | None:
        """Return what a selector has, if it is here."""
        anchors = anchors_of(selector)
        if anchors is None:
            return self._others.get(selector)
        return self._anchored.get(anchors[0], {}).get(selector) if anchors else None

    def put(self, selector: Selector, item: T) -> None:
        """Add a selector; one that wants a value out of none matches nothing, and is not kept."""
        anchors = anchors_of(selector)
        if anchors is None:
            self._others[selector] = item
        for anchor in anchors or ():
            self._anchored.setdefault(anchor, {})[selector] = item

    def remove(self, selector: Selector) -> None:
        """Remove a selector that is here."""
        anchors = anchors_of(selector)
        if anchors is None:
            del self._others[selector]
        for anchor in anchors or ():
            del self._anchored[anchor][selector]
            if not self._anchored[anchor]:
                del self._anchored[anchor]

    def matching(self, labels: Labels) -> Iterator[T]:
        """Iterate over what the selectors have that match `labels`."""
        for selector, item in self._others.items():
            if selector.matches(labels):
                yield item
        for label in labels.items():
            for selector, item in self._anchored.get(label, {}).items():
                if selector.matches(labels):
                    yield item


class PodSelectors(Generic[T]):
    """Selectors of pods with their namespaces, and something for each."""

    __slots__ = ("_named", "_selected")

    def __init__(self) -> None:
        self._named: dict[str, Selectors[T]] = {}
        self._selected: Selectors[Selectors[T]] = Selectors()

    def get(self, peer: PodPeer) -> T | None:
        """Return what a selector has, if it is here."""
        inner = self._inner(peer.namespaces)
        return None if inner is None else inner.get(peer.pods)

    def ensure(self, peer: PodPeer, make: Callable[[], T]) -> T:
        """Return what a selector has; if it is not here, add it with what `make` returns."""
        inner = self._inner(peer.namespaces)
        if inner is None:
            inner = self._add_inner(peer.namespaces)
        item = inner.get(peer.pods)
        if item is None:
            item = make()
            inner.put(peer.pods, item)
        return item

    def remove(self, peer: PodPeer) -> None:
        """Remove a selector that is here."""
        inner = self._inner(peer.namespaces)
        if inner is None:
            return
        inner.remove(peer.pods)
        if inner:
            return
        if isinstance(peer.namespaces, str):
            del self._named[peer.namespaces]
        else:
            self._selected.remove(peer.namespaces)

    def matching(self, namespace: str, about: Labels, labels: Labels) -> Iterator[T]:
        """Iterate over what matches a pod with `labels`; `about` are those of its namespace."""
        named = self._named.get(namespace)
        if named is not None:
            yield from named.matching(labels)
        for inner in self._selected.matching(about):
            yield from inner.matching(labels)

    def _inner(self, namespaces: str | Selector) -> Selectors[T] | None:
        if isinstance(namespaces, str):
            return self._named.get(namespaces)
        return self._selected.get(namespaces)

    def _add_inner(self, namespaces: str | Selector) -> Selectors[T]:
        inner: Selectors[T] = Selectors()
        if isinstance(namespaces, str):
            self._named[namespaces] = inner
        else:
            self._selected.put(namespaces, inner)
        return inner
