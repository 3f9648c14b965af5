"""A TCP server in a namespace that sends back what it gets, and who asks it from another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.netns import ScratchNetns

PORT = 8080

_SERVE = f"""
import socket, threading
def answer(peer):
    with peer:
        while got := peer.recv(65536):
            peer.sendall(got)
with socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    print("ready", flush=True)
    while True:
        threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()
"""
_ASK = f"""
import socket, sys, threading
count = int(sys.argv[2])
with socket.create_connection((sys.argv[1], {PORT}), 10) as peer:
    threading.Thread(target=peer.sendall, args=(bytes(count),), daemon=True).start()
    got = 0
    while got < count and (more := peer.recv(65536)):
        got += len(more)
print(got)
"""


def _inside(space: ScratchNetns, script: str, *words: str) -> list[str]:
    return ["nsenter", f"--net={space.path}", sys.executable, "-I", "-c", script, *words]


@contextmanager
def echoing(space: ScratchNetns) -> Iterator[None]:
    """Have a server in `space` for the block; it listens when the block begins."""
    with subprocess.Popen(_inside(space, _SERVE), stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.kill()


def echoed(space: ScratchNetns, address: object, count: int) -> int:
    """Return how many of `count` bytes come back that are sent from `space` to a server."""
    words = _inside(space, _ASK, str(address), str(count))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
