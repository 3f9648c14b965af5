"""``python -m terway.lab.flannel vxlan``: the daemon of one node."""

from __future__ import annotations

import asyncio
import sys

from terway.lab.flannel.agent import run
from terway.lab.flannel.plan import Backend

if __name__ == "__main__":
    asyncio.run(run(Backend(sys.argv[1])))
