"""Which pods does a selector match, without asking each?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from terway.model.selector import EVERYTHING, Labels, Selector
from terway.policy.cluster import Pod, PodKey
from terway.policy.compiling.index_selectors import Label, anchors_of
from terway.policy.policies import PodPeer

_NO_PODS: dict[PodKey, Labels] = {}


class Namespaces:
    """The labels of namespaces, and the namespaces of labels.

    One that is not there has no labels, and whoever has none is still matched by an empty selector.
    """

    __slots__ = ("_by_label", "_found", "_labels")

    def __init__(self) -> None:
        self._labels: dict[str, Labels] = {}
        self._by_label: dict[Label, dict[str, None]] = {}
        self._found: dict[Selector, frozenset[str]] = {}

    def labels(self, name: str) -> Labels:
        """Return the labels of a namespace."""
        return self._labels.get(name, {})

    def put(self, name: str, labels: Labels) -> bool:
        """Give a namespace its labels; return whether they are others now."""
        if self._labels.get(name) == labels:
            return False
        self.remove(name)
        self._labels[name] = labels
        for label in labels.items():
            self._by_label.setdefault(label, {})[name] = None
        return True

    def remove(self, name: str) -> None:
        """Forget the labels of a namespace, if it has any."""
        self._found.clear()
        for label in self._labels.pop(name, {}).items():
            del self._by_label[label][name]
            if not self._by_label[label]:
                del self._by_label[label]

    def forget_found(self) -> None:
        """Forget what selectors were found to match: it is kept for a batch, not for ever."""
        self._found.clear()

    def matching(self, selector: Selector) -> frozenset[str]:
        """Return the namespaces with labels that a selector matches."""
        found = self._found.get(selector)
        if found is None:
            found = frozenset(
                name for name in self._candidates(selector) if selector.matches(self._labels[name])
            )
            self._found[selector] = found
        return found

    def _candidates(self, selector: Selector) -> Iterator[str]:
        anchors = anchors_of(selector)
        if anchors is None:
            yield from self._labels
        for anchor in anchors or ():
            yield from self._by_label.get(anchor, ())

    def has(self, name: str) -> bool:
        """Return whether a namespace is there."""
        return name in self._labels


class PodIndex:
    """Pods by namespace, by label and by the names of their ports."""

    __slots__ = ("_by_label", "_by_namespace", "_by_port", "_namespaces")

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._by_namespace: dict[str, dict[PodKey, Labels]] = {}
        self._by_label: dict[Label, dict[str, dict[PodKey, Labels]]] = {}
        self._by_port: dict[str, dict[PodKey, None]] = {}

    def add(self, pod: Pod) -> None:
        """Add a pod that is not here."""
        key, labels = pod.key, pod.labels
        self._by_namespace.setdefault(key.namespace, {})[key] = labels
        for label in labels.items():
            self._by_label.setdefault(label, {}).setdefault(key.namespace, {})[key] = labels
        for port in pod.ports:
            self._by_port.setdefault(port.name, {})[key] = None

    def remove(self, pod: Pod) -> None:
        """Remove a pod that is here as it was added."""
        key = pod.key
        _discard(self._by_namespace, key.namespace, key)
        for label in pod.labels.items():
            of_label = self._by_label[label]
            _discard(of_label, key.namespace, key)
            if not of_label:
                del self._by_label[label]
        for name in {port.name for port in pod.ports}:
            del self._by_port[name][key]
            if not self._by_port[name]:
                del self._by_port[name]

    def of_namespace(self, name: str) -> Iterable[PodKey]:
        """Return the pods of a namespace."""
        return self._by_namespace.get(name, ())

    def with_port(self, name: str) -> Iterable[PodKey]:
        """Return the pods that have a port of this name."""
        return self._by_port.get(name, ())

    def select(self, peer: PodPeer) -> Iterator[PodKey]:
        """Iterate over the pods that a selector matches."""
        anchors = anchors_of(peer.pods)
        if anchors is None:
            yield from self._among(self._by_namespace, peer)
        for anchor in anchors or ():
            yield from self._among(self._by_label.get(anchor, {}), peer)

    def _among(self, of: dict[str, dict[PodKey, Labels]], peer: PodPeer) -> Iterator[PodKey]:
        selector = peer.pods
        for namespace in self._where(of, peer.namespaces):
            found = of.get(namespace, _NO_PODS)
            if selector == EVERYTHING:
                yield from found
            else:
                yield from (key for key, labels in found.items() if selector.matches(labels))

    def _where(
        self, of: dict[str, dict[PodKey, Labels]], namespaces: str | Selector
    ) -> Iterable[str]:
        """Return the namespaces to look into: those that match, or the shorter list of the two."""
        if isinstance(namespaces, str):
            return (namespaces,)
        if namespaces == EVERYTHING:
            return of
        wanted = self._namespaces.matching(namespaces)
        unknown = (
            [] if not namespaces.matches({}) else [n for n in of if not self._namespaces.has(n)]
        )
        if len(of) < len(wanted):
            return [*unknown, *(name for name in of if name in wanted)]
        return [*unknown, *wanted]


def _discard(of: dict[str, dict[PodKey, Labels]], namespace: str, key: PodKey) -> None:
    del of[namespace][key]
    if not of[namespace]:
        del of[namespace]
