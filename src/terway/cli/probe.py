"""What runs inside a test pod: serve, or try every target once and print what came of it.

    probe.py serve            TCP and UDP echo on 17777, both families
    probe.py try TARGETS      TARGETS is JSON; the answer is one line of JSON

Only the standard library: it is handed to the pod's own Python as text.
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import sys
import threading
import time

PORT = 17777
NAME = "kubernetes.default.svc.cluster.local"
TIMEOUT_S = 3.0
_DONT_FRAGMENT = {socket.AF_INET: (0, 10), socket.AF_INET6: (41, 23)}  # …_MTU_DISCOVER
_ALWAYS = 2  # …_PMTUDISC_DO


def serve() -> None:
    """Echo until killed."""
    threading.Thread(target=_serve_udp, daemon=True).start()
    with socket.create_server(
        ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
    ) as server:
        sys.stdout.write("serving\n")
        sys.stdout.flush()
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(TIMEOUT_S)
        try:
            connection.sendall(connection.recv(65536))
        except OSError:
            return


def _serve_udp() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", PORT))
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


def attempt(kind: str, host: str, port: int, size: int) -> str:
    """Return "" when the target was reached, else why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if kind == "udp":
            return _datagram(family, host, port, size)
        if kind == "dns":
            return _query(family, host, port)
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as sock:
            if kind == "echo":
                sock.sendall(b"terway")
                return "" if sock.recv(64) == b"terway" else "the answer was another one"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        # Whoever refuses a connection was reached.
        refused = kind == "reach" and error.errno == errno.ECONNREFUSED
        return "" if refused else error.strerror or str(error)
    return ""


def _datagram(family: socket.AddressFamily, host: str, port: int, size: int) -> str:
    """Send a packet of `size` bytes that must not be split, twice at most."""
    payload = bytes(size - (28 if family == socket.AF_INET else 48))
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(*_DONT_FRAGMENT[family], _ALWAYS)
        sock.settimeout(TIMEOUT_S / 2)
        sock.connect((host, port))
        for _ in range(2):
            sock.send(payload)
            try:
                return "" if len(sock.recv(65536)) == len(payload) else "the answer was cut"
            except TimeoutError:
                continue
    return "no answer"


def _query(family: socket.AddressFamily, host: str, port: int) -> str:
    """Ask a DNS server (RFC 1035) for the API server's address, twice at most."""
    name = b"".join(bytes([len(one)]) + one for one in NAME.encode().split(b"."))
    question = struct.pack("!6H", 0x7E2A, 0x0100, 1, 0, 0, 0) + name + b"\0" + b"\0\1\0\1"
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT_S / 2)
        sock.connect((host, port))
        for _ in range(2):
            sock.send(question)
            try:
                answer = sock.recv(4096)
            except TimeoutError:
                continue
            code = answer[3] & 15 if len(answer) >= 12 and answer[:2] == question[:2] else -1
            return "" if code == 0 else f"the server answered code {code} for {NAME}"
    return "no answer"


def try_all(targets: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return the targets, each with its error (empty: reached) and how long it took."""
    results: list[dict[str, object]] = []
    for one in targets:
        began = time.perf_counter()
        words = str(one["kind"]), str(one["host"]), int(str(one["port"])), int(str(one["size"]))
        error = attempt(*words)
        elapsed_ms = (time.perf_counter() - began) * 1000
        results.append({**one, "error": error, "elapsed_ms": round(elapsed_ms, 2)})
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    else:
        sys.stdout.write(json.dumps(try_all(json.loads(sys.argv[2]))) + "\n")
