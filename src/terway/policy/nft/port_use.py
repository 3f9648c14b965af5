"""Which sets of ports have chains in the table? Those that some rule set refers to, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from terway.policy.nft.batch import Batch
from terway.policy.nft.names import Names
from terway.policy.nft.ports import needs_chain, print_ports
from terway.policy.ports import PortSet


class PortUse:
    """Counts how often each set of ports is referred to."""

    __slots__ = ("_counts", "_names")

    def __init__(self, names: Names) -> None:
        self._counts: Counter[PortSet] = Counter()
        self._names = names

    def take(self, ports: PortSet, batch: Batch) -> None:
        """Refer to ports once more; make their chains if nobody did before."""
        self._counts[ports] += 1
        if self._counts[ports] > 1 or not needs_chain(ports):
            return
        printed = print_ports(ports, self._names)
        for name, rules in printed.chains.items():
            batch.make.chain(name, rules)
        if printed.shape is not None:
            batch.make.set(printed.set_name, printed.shape, printed.elements)

    def leave(self, many: Iterable[PortSet], batch: Batch) -> None:
        """Refer to each of `many` once less; remove chains that nobody refers to any more.

        After all that a change takes: what is in use again is not made anew.
        """
        for ports in many:
            self._counts[ports] -= 1
            if not self._counts[ports]:
                del self._counts[ports]
                self._remove(ports, batch)

    def _remove(self, ports: PortSet, batch: Batch) -> None:
        if not needs_chain(ports):
            return
        printed = print_ports(ports, self._names)
        for name in printed.chains:
            batch.remove.drop_chain(name)
        if printed.shape is not None:
            batch.remove.drop_set(printed.set_name)
