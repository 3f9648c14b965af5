"""How does terwayd show which data path it has, and what one in eBPF does?

A page, a stream, a chore, a source of metrics.
"""

from __future__ import annotations

from functools import partial

import msgspec

from terway.agent.ebpf.choice import Chosen
from terway.agent.ebpf.losses import LossMetrics
from terway.agent.ebpf.watch import Watch
from terway.agent.ebpf.watch_page import PATH, WatchPage
from terway.agent.readonly import Page
from terway.agent.terwayd import Terwayd
from terway.config.choices import VirtualType
from terway.linux.ebpf.contract import LAYOUT
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.told import open_told
from terway.model.ids import NodeName

CHOICE_PATH = "/debug/datapath"


def tell_choice(terwayd: Terwayd, chosen: Chosen, asked: VirtualType) -> None:
    """Have it shown what was asked for, what the node has, and why that is not the same."""
    state = {"asked": asked.value, "mode": chosen.mode.value, "lacks": chosen.lacks}
    page = Page(body=msgspec.json.encode(state) + b"\n", content_type="application/json")
    terwayd.pages[CHOICE_PATH] = lambda: page


def tell_datapath(terwayd: Terwayd, node: NodeName, pins: Pins) -> None:
    """Have what the programs tell by pinned maps shown to who asks."""
    open_maps = partial(open_told, pins.folder(str(LAYOUT)))
    attachments = terwayd.pool.attachments
    watch = Watch(node, open_maps, attachments)
    terwayd.chores["monitor"] = watch.run
    terwayd.streams[PATH] = WatchPage(watch).stream
    terwayd.metrics.sources.append(LossMetrics(open_maps, attachments).metrics)
