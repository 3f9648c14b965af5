"""A webhook: a real HTTPS server with a certificate of its own CA."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from terway.lab.kubeapi.serve import Listener, open_listener
from terway.lab.kubeapi.tls import make_identity

Answer = dict[str, Any]


def allow() -> Answer:
    return {"allowed": True}


def patch(*operations: Any) -> Answer:
    text = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text}


def label(name: str, value: str = "yes") -> Answer:
    """Add a label, to an object that has some."""
    return patch({"op": "add", "path": f"/metadata/labels/{name}", "value": value})


def deny(message: str = "", **status: Any) -> Answer:
    held = {**status, "message": message} if message else status
    return {"allowed": False, **({"status": held} if held else {})}


@dataclass(slots=True)
class WebhookServer:
    """`paths` say who answers where; `asked` are the requests of all AdmissionReviews so far."""

    port: int
    ca_pem: str
    paths: dict[str, Callable[[Answer], Any]]
    asked: list[Answer] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ca_bundle(self) -> str:
        return base64.b64encode(self.ca_pem.encode()).decode()

    def at(self, path: str, answer: Callable[[Answer], Any]) -> None:
        self.paths[path] = answer

    def hook(self, path: str, **fields: Any) -> Answer:
        """Return a webhook of a configuration that is answered at `path`: for new pods."""
        rule = {
            "operations": ["CREATE"],
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
        }
        url = f"https://127.0.0.1:{self.port}{path}"
        return {
            "name": f"{path.strip('/')}.hooks.example.com",
            "clientConfig": {"url": url, "caBundle": self.ca_bundle},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            **fields,
        }

    async def _serve(self, http: web.Request) -> web.Response:
        review = await http.json()
        request = review["request"]
        self.asked.append(request)
        self.was_asked.set()
        found = self.paths[http.path](request)
        answer = await found if asyncio.iscoroutine(found) else found
        response = {"uid": request["uid"], **answer}
        body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        return web.json_response({**body, "response": response})


@asynccontextmanager
async def open_webhook_server(
    *names: str, sock: socket.socket | None = None
) -> AsyncIterator[WebhookServer]:
    """Serve webhooks under 127.0.0.1 and `names` for the time of the block, or at `sock`."""
    identity = make_identity(["127.0.0.1", *names], now=time.time())
    server = WebhookServer(port=0, ca_pem=identity.ca_pem, paths={})
    app = web.Application()
    app.router.add_post("/{path:.*}", server._serve)
    tls = identity.ssl_context()
    async with open_listener(Listener(app=app, host="127.0.0.1", sock=sock, tls=tls)) as port:
        server.port = port
        yield server
