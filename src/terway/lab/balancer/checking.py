"""How is one backend asked whether it serves? With real packets, from the load balancers' address.

TCP: a connection. HTTP: a request, and the class of its status. UDP: a datagram; an ICMP
"unreachable" is a no, and silence a yes, unless an answer is expected.
Source: CLB and NLB help pages, "Health check overview".
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass

from terway.lab.cloud.balancer_records import HealthCheckRecord
from terway.lab.world.sockets import connect_in, socket_in
from terway.model.address import IPAddress

_ANSWER_BYTES = 4096
_SILENCE_S = 1.0  # of UDP: an ICMP error is there long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """From where backends are asked."""

    netns_path: str
    sources: tuple[IPAddress, ...]  # one a family

    def source_for(self, target: IPAddress) -> str | None:
        """Return the own address of the target's family, if there is one."""
        found = (str(one) for one in self.sources if one.version == target.version)
        return next(found, None)


async def ask(asker: Asker, check: HealthCheckRecord, target: IPAddress, port: int) -> bool:
    """Return whether a backend says that it serves; takes the check's timeout at most."""
    source = asker.source_for(target)
    if source is None:
        return False
    try:
        if check.kind == "udp":  # its silence is no failure
            return await _ask_udp(asker.netns_path, check, (str(target), port), source)
        async with asyncio.timeout(check.timeout_s):
            return await _ask_tcp(asker.netns_path, check, (str(target), port), source)
    except (OSError, TimeoutError):
        return False


async def _ask_tcp(
    netns_path: str, check: HealthCheckRecord, target: tuple[str, int], source: str
) -> bool:
    reader, writer = await connect_in(netns_path, *target, source=source)
    try:
        if check.kind != "http":
            return True
        host = check.domain or target[0]
        verb = check.method.upper()
        words = f"{verb} {check.uri} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        writer.write(words.encode())
        status = (await reader.read(_ANSWER_BYTES)).split(b" ", 2)[1:2]
        classes = {one.removeprefix("http_")[:1].encode() for one in check.http_codes}
        return bool(status) and status[0][:1] in classes
    finally:
        writer.close()


async def _ask_udp(
    netns_path: str, check: HealthCheckRecord, target: tuple[str, int], source: str
) -> bool:
    loop = asyncio.get_running_loop()
    with await socket_in(netns_path, target[0], socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        await loop.sock_connect(sock, target)
        await loop.sock_sendall(sock, check.request.encode() or b"\0")
        try:
            async with asyncio.timeout(check.timeout_s if check.expected else _SILENCE_S):
                answer = await loop.sock_recv(sock, _ANSWER_BYTES)
        except TimeoutError:
            return not check.expected
        return not check.expected or answer == check.expected.encode()
