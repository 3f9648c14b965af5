"""A server that dies at SIGTERM, at once: whatever it had to do by then is lost.

    mortal_server.py PORT

TCP and UDP, both families. To each line, or datagram: who it is, and whom it sees.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading


def serve(port: int) -> None:
    """Serve until told to end."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    threading.Thread(target=_udp, args=(port,), daemon=True).start()
    listener = socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128
    )
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=_talk, args=(connection, peer), daemon=True).start()


def _answer(peer: tuple[str, int]) -> bytes:
    return f"{socket.gethostname()} {peer[0].removeprefix('::ffff:')}\n".encode()


def _talk(connection: socket.socket, peer: tuple[str, int]) -> None:
    with connection:
        try:
            while connection.recv(100):
                connection.sendall(_answer(peer))
        except ConnectionError:
            return  # a health check ends so


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        while True:
            _, peer = sock.recvfrom(100)
            sock.sendto(_answer(peer), peer)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
