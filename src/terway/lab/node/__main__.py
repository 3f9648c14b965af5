"""The node's daemon as init starts it: ``python -m terway.lab.node CONTROL_FD SPAWNER_FD``."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import uvloop

from terway.lab.node.client import SpawnerClient
from terway.lab.node.daemon import NodeDaemon
from terway.lab.node.spec import NodeSpec

SPEC_FILE = Path("/run/terway-lab/node.json")


async def main(spec: NodeSpec, control_fd: int, spawner_fd: int) -> None:
    """Run the daemon until the lab closes its end."""
    spawner = SpawnerClient(socket.socket(fileno=spawner_fd))
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=control_fd))
    # Both sockets stay open to the end: init ends the node, and this process, when one closes,
    # and then nobody would read the traceback.
    await NodeDaemon(spec, spawner, writer).run(reader)


if __name__ == "__main__":
    node = NodeSpec.from_json(SPEC_FILE.read_text())
    uvloop.run(main(node, int(sys.argv[1]), int(sys.argv[2])))
