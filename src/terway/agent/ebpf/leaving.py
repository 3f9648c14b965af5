"""How does a node leave the eBPF data path? Once its pods are judged without, all of it goes.

Until policies are in force by tables of nftables, the programs of an earlier terwayd stay where
they are, with the maps they have: a pod is never without its policies in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

import structlog

from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel
from terway.model.attachment import Attachment
from terway.model.network import Netns

_log = structlog.get_logger("datapath")


async def leave_datapath(
    kernel: Kernel,
    pins: Pins,
    *,
    attachments: Callable[[], Iterable[Attachment]],
    judged: Callable[[], Awaitable[None]] | None,
) -> None:
    """Take away what an earlier terwayd had, at links and inside pods; nothing there is success.

    `judged` returns when policies are in force without it; None: there are none to enforce.
    """
    if judged is not None:
        await judged()
    removed = await kernel.remove_datapath(pins, {Netns(one.netns) for one in attachments()})
    if removed:
        _log.info("datapath.removed", links=removed)
