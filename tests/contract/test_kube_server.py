"""Does the lab's API server end, whoever was connected to it?"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from terway.kube.connection import Connection
from tests.support.cluster import make_cluster
from tests.support.kube_server import TOKEN, open_kube_server

ASK = "GET {path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
KEPT, LAST = "", "Connection: close\r\n"


def asked(connection: Connection, path: str, more: str) -> ssl.SSLSocket:
    """Return a connection that was answered, and whose client then says nothing more."""
    context = connection.ssl_context()
    assert context is not None
    _, _, port = connection.server.rpartition(":")
    raw = socket.create_connection(("127.0.0.1", int(port)), timeout=20.0)
    client = context.wrap_socket(raw, server_hostname="127.0.0.1")
    client.sendall(ASK.format(path=path, token=TOKEN, more=more).encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    return client


@pytest.mark.parametrize("more", [KEPT, LAST], ids=["kept", "last"])
@pytest.mark.parametrize("path", ["/version", "/api/v1/pods?watch=true"])
async def test_a_client_that_says_no_farewell_is_cut_when_the_server_ends(
    tmp_path: Path, path: str, more: str
) -> None:
    """asyncio's TLS cannot be aborted once it was closed twice (CPython 3.11)."""
    async with open_kube_server(make_cluster(), tmp_path) as server:
        client = await asyncio.to_thread(asked, server.tls, path, more)
    with closing(client):
        while client.recv(4096):
            pass
