"""How much has the data path lost, by pod and reason, when somebody asks for metrics?

Of pods that are here, and of reasons that occurred: so there are no more series than that. What a
pod lost that is gone is added up without its name; then the kernel forgets it.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from terway.agent.ebpf.names import Attachments, Names, owner_of
from terway.linux.ebpf.told import Lost, ToldMaps, forget_losses, read_left_out, read_losses
from terway.model.errors import VpcError
from terway.model.exposition import Counter, Metric

GONE = ""  # the label of pods that are not here any more, and of what was nobody's

OpenTold = Callable[[], AbstractContextManager[ToldMaps | None]]


class LossMetrics:
    """The metrics. `metrics` is a source of `agent.metrics`."""

    def __init__(self, open_told: OpenTold, attachments: Attachments) -> None:
        self._open_told = open_told
        self._attachments = attachments
        self._gone: Sums[str] = Sums()  # packets by reason

    def metrics(self) -> Iterable[Metric]:
        """Return what was lost so far; nothing where there is no data path in eBPF."""
        try:
            with self._open_told() as maps:
                return () if maps is None else tuple(self._read(maps))
        except VpcError:
            return ()  # a page of metrics goes on without these

    def _read(self, maps: ToldMaps) -> Iterator[Metric]:
        names = Names(self._attachments())
        for gone in forget_losses(maps.losses, names.numbers):
            self._gone[gone.reason.word] += gone.packets
        lost = Counter(
            name="terway_datapath_drops_total",
            text="packets that the eBPF data path lost, by pod and reason",
        )
        for reason, packets in self._gone.items():
            lost.add((("pod", GONE), ("reason", reason)), packets)
        for one in read_losses(maps.losses):
            lost.add((("pod", _pod(names, one)), ("reason", one.reason.word)), one.packets)
        yield lost
        untold = Counter(
            name="terway_datapath_untold_total",
            text="messages to watchers that there was no room for",
        )
        untold.add((), read_left_out(maps.untold))
        yield untold


def _pod(names: Names, lost: Lost) -> str:
    held = names.at(lost.endpoint)
    return GONE if held is None else owner_of(held)
