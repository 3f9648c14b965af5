"""A lab without terwayd: Debian's ptp and host-local give the pods their network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from terway.lab.world.lab import Lab, open_lab

CONF = "/etc/cni/net.d/10-plain.conflist"


def conflist(number: int) -> str:
    ipam = {"type": "host-local", "ranges": [[{"subnet": f"10.5.{number}.0/24"}]]}
    return json.dumps(
        {"cniVersion": "1.0.0", "name": "plain", "plugins": [{"type": "ptp", "ipam": ipam}]}
    )


@asynccontextmanager
async def open_plain_lab(**plan: Any) -> AsyncIterator[Lab]:
    async with open_lab(agent=False, ready=False, progress=print, **plan) as lab:
        for number, node in enumerate(lab.nodes.values()):
            node.inside(CONF).write_text(conflist(number))
        await lab.wait_ready()
        yield lab
