"""Who asks by HTTP and HTTPS from outside of a lab, and what certificates are made of."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

from terway.lab.balancer.http_heads import Head, parse_head
from terway.lab.cloud.cloud import Call, Cloud
from terway.lab.kubeapi.tls import ServerIdentity, make_identity
from terway.lab.world.pods import ANSWER_S
from terway.model.address import IPAddress
from tests.support.instances import socket_in

SLB_VERSION = "2014-05-15"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer to one request."""

    head: Head
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """What `web_server` says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def identity_of(*names: str) -> ServerIdentity:
    """Make a certificate for some names, with an authority of its own."""
    return make_identity(names, now=time.time())


def trusting(identity: ServerIdentity) -> ssl.SSLContext:
    """Return a client's side that takes this authority's word alone."""
    return ssl.create_default_context(cadata=identity.ca_pem)


def upload(cloud: Cloud, identity: ServerIdentity) -> str:
    """Upload a certificate, and return its id."""
    parameters = {
        "RegionId": str(cloud.world.place.region_id),
        "ServerCertificate": identity.cert_pem,
        "PrivateKey": identity.key_pem,
    }
    call = Call(version=SLB_VERSION, action="UploadServerCertificate", parameters=parameters)
    reply = cloud.perform(call)
    assert not reply.code, reply.body
    return str(reply.body["ServerCertificateId"])


async def ask(
    netns_path: str,
    address: IPAddress,
    *,
    port: int,
    source: str = "",
    host: str = "",
    tls: ssl.SSLContext | None = None,
    path: str = "/",
    body: bytes = b"",
    fields: tuple[str, ...] = (),
    timeout_s: float = ANSWER_S,
) -> Answered:
    """Make one request on a connection of its own. Raises OSError, and TimeoutError."""
    async with asyncio.timeout(timeout_s):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        sock = socket_in(netns_path, family, socket.SOCK_STREAM)
        try:
            if source:
                sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
        except BaseException:
            sock.close()
            raise
        name = host if tls is not None else None
        reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)
        try:
            verb = "POST" if body else "GET"
            lines = (f"{verb} {path} HTTP/1.1", f"Host: {host or address}", "Connection: close")
            sized = (*lines, f"Content-Length: {len(body)}", *fields, "", "")
            writer.write("\r\n".join(sized).encode() + body)
            head = parse_head(await reader.readuntil(b"\r\n\r\n"))
            return Answered(head=head, body=await reader.read())
        finally:
            writer.close()
            await writer.wait_closed()
