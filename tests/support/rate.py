"""How fast TCP goes between two namespaces, as the links between them count."""

from __future__ import annotations

import asyncio
import json

from tests.support.netns import ScratchNetns


async def rate_bytes_s(
    client: ScratchNetns, server: ScratchNetns, address: object, *options: str, seconds: int = 3
) -> float:
    """Send TCP from client to server and return what arrived, in bytes of frames per second.

    The first second is left out: a bucket that is full at first lets more through.
    """
    enter = ("nsenter", f"--net={server.path}")
    words = (*enter, "iperf3", "--server", "--one-off", "--forceflush")
    listener = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert listener.stdout is not None
    while b"listening" not in await listener.stdout.readline():
        pass
    command = f"iperf3 -c {address} -t {seconds} -O 1 -J {' '.join(options)}"
    said = await asyncio.to_thread(client.run, command)
    await listener.communicate()
    payload = float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 8
    header = 14 + (40 if ":" in str(address) else 20) + 32
    return payload * 1514 / (1514 - header)
