"""Servers of a node at its own ports, in place of who serves node ports: run on the node itself.

    balanced_node.py PORT [HEALTH_PORT]

TCP and UDP, both families: one answer, the node's name and whom it saw. At HEALTH_PORT HTTP, 200.
"""

from __future__ import annotations

import socket
import sys
import threading


def serve(port: int, health_port: int) -> None:
    """Serve until killed."""
    if health_port:
        threading.Thread(target=_health, args=(_listen(health_port),), daemon=True).start()
    threading.Thread(target=_tcp, args=(_listen(port),), daemon=True).start()
    _udp(port)


def _listen(port: int) -> socket.socket:
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)


def _answer(peer: tuple[str, int]) -> bytes:
    seen = peer[0].removeprefix("::ffff:")
    return f"{socket.gethostname()} {seen}\n".encode()


def _tcp(listener: socket.socket) -> None:
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=_talk, args=(connection, peer), daemon=True).start()


def _talk(connection: socket.socket, peer: tuple[str, int]) -> None:
    with connection:
        while connection.recv(100):
            connection.sendall(_answer(peer))


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        while True:
            _, peer = sock.recvfrom(100)
            sock.sendto(_answer(peer), peer)


def _health(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


if __name__ == "__main__":
    serve(int(sys.argv[1]), int((sys.argv[2:] or ["0"])[0]))
