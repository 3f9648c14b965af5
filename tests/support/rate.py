"""How fast TCP goes between two namespaces, as the links between them count."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tests.support.netns import ScratchNetns

_TRIES = 5


async def rate_bytes_s(
    client: ScratchNetns, server: ScratchNetns, address: object, *options: str, seconds: int = 3
) -> float:
    """Send TCP from client to server and return what arrived, in bytes of frames per second.

    The first second is left out: a bucket that is full at first lets more through.
    """
    enter = ("nsenter", f"--net={server.path}")
    words = (*enter, "iperf3", "--server", "--one-off", "--forceflush", "--bind", str(address))
    listener = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert listener.stdout is not None
    while b"listening" not in (line := await listener.stdout.readline()):
        assert line, "iperf3 does not listen"
    command = f"iperf3 -c {address} -t {seconds} -O 1 -J {' '.join(options)}"
    said = await asyncio.to_thread(client.run, command)
    await listener.communicate()
    payload = float(json.loads(said)["end"]["sum_received"]["bits_per_second"]) / 8
    header = 14 + (40 if ":" in str(address) else 20) + 32
    return payload * 1514 / (1514 - header)


async def held_bytes_s(
    client: ScratchNetns, server: ScratchNetns, address: object, *options: str, enough: float
) -> float:
    """Return `rate_bytes_s`, measured again while it is less than `enough`, a few times.

    A machine with other things to do makes traffic slower, and never faster: too fast is too fast
    the first time.
    """
    found = 0.0
    for _ in range(_TRIES):
        found = await rate_bytes_s(client, server, address, *options)
        if found >= enough:
            break
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """A rate in bytes per second that is not exactly known: looking at counters takes time."""

    least: float
    most: float

    def is_held_to(self, limit: float) -> bool:
        """Tell whether it may be a limit that is kept and used, on a machine with other work."""
        return self.least <= 1.1 * limit and self.most >= 0.75 * limit


async def both_bytes_s(
    pod: ScratchNetns,
    flows: Callable[[], Sequence[Coroutine[None, None, float]]],
    *,
    links: Sequence[str],
    enough: float,
) -> Between:
    """Return what all `links` of a pod sent, while all `flows` were under way.

    Not the sum of what the flows say: each measures its own time, and part of it alone. A flow is
    two connections. As `held_bytes_s`, it looks again while it finds less than `enough`.
    """
    found = Between(least=0.0, most=0.0)
    for _ in range(_TRIES):
        found = await _sent_during(pod, flows(), links)
        if found.most >= enough:
            break
    return found


async def _sent_during(
    pod: ScratchNetns, flows: Sequence[Coroutine[None, None, float]], links: Sequence[str]
) -> Between:
    running = [asyncio.create_task(one) for one in flows]
    wanted = 2 * len(running)
    wait = f'until [ "$(ss -Htn state established | wc -l)" -ge {wanted} ]; do sleep 0.02; done'
    await asyncio.to_thread(pod.run, wait)
    first = await _look(pod, links)
    await asyncio.sleep(1.5)
    second = await _look(pod, links)
    await asyncio.gather(*running)
    sent = second.sent - first.sent
    return Between(
        least=sent / (second.ended - first.began), most=sent / (second.began - first.ended)
    )


class _Look(NamedTuple):
    began: float
    sent: int
    ended: float


async def _look(pod: ScratchNetns, links: Sequence[str]) -> _Look:
    """Read what the links sent, in bytes, between two readings of the clock."""
    began = time.monotonic()
    said = await asyncio.to_thread(
        pod.run, "; ".join(f"ip -s -j link show dev {one}" for one in links)
    )
    return _Look(began, _sent(said), time.monotonic())


def _sent(text: str) -> int:
    links = (one for line in text.splitlines() for one in json.loads(line))
    return sum(int(one["stats64"]["tx"]["bytes"]) for one in links)
