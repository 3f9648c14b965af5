"""How does terwayd show what its data path in eBPF does: a stream, a chore, a source of metrics."""

from __future__ import annotations

from functools import partial

from terway.agent.terwayd import Terwayd
from terway.linux.ebpf.contract import LAYOUT
from terway.linux.ebpf.pins import Pins
from terway.model.ids import NodeName


def tell_datapath(terwayd: Terwayd, node: NodeName, pins: Pins) -> None:
    """Have what the programs tell by pinned maps shown to who asks."""
    # A node without a data path in eBPF has no room for what shows one.
    from terway.agent.ebpf.losses import LossMetrics
    from terway.agent.ebpf.watch import Watch
    from terway.agent.ebpf.watch_page import PATH, WatchPage
    from terway.linux.ebpf.told import open_told

    open_maps = partial(open_told, pins.folder(str(LAYOUT)))
    attachments = terwayd.pool.attachments
    watch = Watch(node, open_maps, attachments)
    terwayd.watchers = watch.watchers
    terwayd.chores["monitor"] = watch.run
    terwayd.streams[PATH] = WatchPage(watch).stream
    terwayd.metrics.sources.append(LossMetrics(open_maps, attachments).metrics)
