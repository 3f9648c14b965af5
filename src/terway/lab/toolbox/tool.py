"""What do the lab's own pods do? Serve, and measure against somebody who serves.

    tool.py serve               HTTP on 8080, TCP and UDP echo on 7000, a TCP sink on 7001
    tool.py rtt HOST [COUNT]    median round trip of one byte over one TCP connection
    tool.py whoami HOST [SECONDS]  what the HTTP server there says: its host, whom it saw
    tool.py measure HOST        all three, one after the other, in one answer
    tool.py flood HOST [SECONDS]  throughput of one TCP stream into the sink
    tool.py load HOST           one request after the other, until SIGTERM: how many were lost

Answers are one line of JSON. Only the standard library: it is run by the machine's own Python,
with ``-I -S``, so that it starts in 15 ms.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

HTTP_PORT, ECHO_PORT, SINK_PORT = 8080, 7000, 7001
_CHUNK = 256 * 1024
_TIMEOUT_S = 10.0
_LOAD_TIMEOUT_S = 30.0
_LOAD_PAUSE_S = 0.002


def main(argv: list[str]) -> int:
    """Run one of the tools."""
    match argv:
        case ["serve"]:
            serve()
        case ["rtt", host, *rest]:
            report(round_trip(host, int(rest[0]) if rest else 200))
        case ["measure", host]:
            report({**who_am_i(host), **round_trip(host, 300), **flood(host, 0.3)})
        case ["whoami", host, *rest]:
            report(who_am_i(host, float(rest[0]) if rest else _TIMEOUT_S))
        case ["load", host]:
            report(load(host))
        case ["flood", host, *rest]:
            report(flood(host, float(rest[0]) if rest else 1.0))
        case _:
            sys.stderr.write((__doc__ or "") + "\n")
            return 2
    return 0


def report(facts: dict[str, object]) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(facts) + "\n")


def serve() -> None:
    """Serve until SIGTERM, in both families."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        datagrams.bind(("::", ECHO_PORT))
        # The port that the readiness probe asks for is the last: who is Ready has all of them.
        for port, handler in ((HTTP_PORT, _http), (SINK_PORT, _sink), (ECHO_PORT, _echo)):
            listener = _listen(port)
            threading.Thread(target=_accept, args=(listener, handler), daemon=True).start()
        _udp_echo(datagrams)


def round_trip(host: str, count: int) -> dict[str, object]:
    """Return the median round trip in microseconds."""
    times: list[float] = []
    with socket.create_connection((host, ECHO_PORT), timeout=_TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter()
            sock.sendall(b"x")
            if not sock.recv(1):
                break
            times.append(time.perf_counter() - began)
    times.sort()
    return {"median_us": round(times[len(times) // 2] * 1e6, 1), "count": len(times)}


def who_am_i(host: str, timeout_s: float = _TIMEOUT_S) -> dict[str, object]:
    """Return what the HTTP server at `host` says of itself and of us."""
    with socket.create_connection((host, HTTP_PORT), timeout=timeout_s) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {socket.gethostname()}\r\n\r\n".encode())
        answer = sock.makefile("rb").read()
    facts: dict[str, object] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return facts


def load(host: str) -> dict[str, object]:
    """Make requests until SIGTERM, each over a connection of its own; return what came of them."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    servers: set[object] = set()
    answered, lost = 0, 0
    sys.stderr.write("begun\n")
    sys.stderr.flush()
    while not stopped.is_set():
        try:
            servers.add(who_am_i(host, _LOAD_TIMEOUT_S)["own"])
            answered += 1
        except (OSError, ValueError):
            lost += 1
        stopped.wait(_LOAD_PAUSE_S)
    return {"answered": answered, "lost": lost, "servers": len(servers)}


def flood(host: str, seconds: float) -> dict[str, object]:
    """Return the throughput in bits per second, as the receiver counted the bytes."""
    block = memoryview(bytes(_CHUNK))
    with socket.create_connection((host, SINK_PORT), timeout=_TIMEOUT_S) as sock:
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)
        received = int(sock.makefile("rb").readline() or b"0")
        elapsed = time.perf_counter() - began
    return {"bits_per_s": round(received * 8 / elapsed), "bytes": received}


def _listen(port: int) -> socket.socket:
    if socket.has_ipv6:
        return socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
        )
    return socket.create_server(("", port), backlog=512)


def _accept(listener: socket.socket, handler: Callable[[socket.socket], None]) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_one, args=(connection, handler), daemon=True).start()


def _one(connection: socket.socket, handler: Callable[[socket.socket], None]) -> None:
    with connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            handler(connection)
        except OSError:
            return  # the client went away


def _http(connection: socket.socket) -> None:
    request = connection.recv(65536)
    if not request:
        return
    peer, own = connection.getpeername()[0], connection.getsockname()[0]
    facts = {"host": socket.gethostname(), "own": _plain(own), "peer": _plain(peer)}
    body = json.dumps(facts).encode() + b"\n"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def _echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def _sink(connection: socket.socket) -> None:
    buffer, total = bytearray(_CHUNK), 0
    while count := connection.recv_into(buffer):
        total += count
    connection.sendall(f"{total}\n".encode())


def _udp_echo(sock: socket.socket) -> None:
    while True:
        data, peer = sock.recvfrom(65536)
        sock.sendto(data, peer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
