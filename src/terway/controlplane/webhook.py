"""How are the API server's questions answered? AdmissionReview v1 over HTTPS; others decide.

Every instance answers, whoever leads: what is asked for is decided by what is in memory. Before
that is complete, nothing is answered, which is as if we were away.
Source: Kubernetes docs "Dynamic Admission Control", admission.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web

from terway.controlplane.entries import BALANCED_PATH, MUTATING_PATH, VALIDATING_PATH
from terway.model.errors import UsageError

_log = structlog.get_logger("webhook")

_MOST_BYTES = 8 << 20  # the API server takes objects of 3 MB, and sends two
_SEND_S = 10.0  # for a whole request: no API server waits longer for our answer
_UNPROCESSABLE = 422
_TOO_DEEP = "not an AdmissionReview: nested too deeply; no object of Kubernetes is so deep\n"


class Answer(Protocol):
    """An object gets in, changed by `patch` (RFC 6902). `warnings` are shown to the user."""

    @property
    def patch(self) -> list[dict[str, Any]]:
        """Return the operations."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the remarks."""
        ...


class Admission(Protocol):
    """Who decides. Every method raises UsageError for what cannot be had."""

    def admit_pod(self, raw: Mapping[str, Any], namespace: str) -> Answer:
        """Return what a pod that is created needs."""
        ...

    def admit_networking(self, raw: Mapping[str, Any]) -> Answer:
        """Return what a PodNetworking needs that says less than it must."""
        ...

    def check_networking(self, raw: Mapping[str, Any]) -> None:
        """Refuse a PodNetworking that no pod could have."""
        ...


class _Request(msgspec.Struct, kw_only=True, rename="camel"):
    uid: str
    kind: dict[str, str] = {}
    namespace: str = ""
    object: dict[str, Any] = {}
    old_object: dict[str, Any] | None = None

    @property
    def says_nothing_new(self) -> bool:
        """Whether an update leaves the spec as it was: labels, finalizers and so on."""
        old = self.old_object
        return old is not None and old.get("spec") == self.object.get("spec")


class _Review(msgspec.Struct, kw_only=True, rename="camel"):
    request: _Request


_DECODER = msgspec.json.Decoder(_Review)


class Balanced(Protocol):
    """Who decides what load balancers need of pods. It refuses nothing."""

    def admit_pod(self, raw: Mapping[str, Any], namespace: str) -> Answer:
        """Return what a pod that is created needs."""
        ...


def webhook_app(
    admission: Admission,
    is_ready: Callable[[], bool],
    balanced: Balanced | None = None,
    *,
    send_s: float = _SEND_S,
) -> web.Application:
    """Return the paths. Until `is_ready`, 503 is the answer; 408 for half a request."""

    def answering(decide: Callable[[_Request], dict[str, Any]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            if not is_ready():
                return web.Response(status=503, text="what is decided by is not all here yet\n")
            try:
                async with asyncio.timeout(send_s):
                    body = await request.read()
                review = _DECODER.decode(body)
            except (TimeoutError, ConnectionError):
                return web.Response(status=408, text="this is not all of the request\n")
            except msgspec.MsgspecError as error:
                return web.Response(status=400, text=f"not an AdmissionReview: {error}\n")
            except RecursionError:
                return web.Response(status=400, text=_TOO_DEEP)
            return _answer(review.request, decide)

        return handle

    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_post(MUTATING_PATH, answering(lambda one: _mutate(admission, one)))
    app.router.add_post(VALIDATING_PATH, answering(lambda one: _validate(admission, one)))
    if balanced is not None:
        decides = balanced
        app.router.add_post(
            BALANCED_PATH,
            answering(lambda one: _said(decides.admit_pod(one.object, one.namespace))),
        )
    return app


def _answer(request: _Request, decide: Callable[[_Request], dict[str, Any]]) -> web.Response:
    try:
        said = {"allowed": True, **decide(request)}
    except UsageError as error:
        _log.info(
            "webhook.refused", kind=request.kind.get("kind"), field=error.field, error=str(error)
        )
        status = {"code": _UNPROCESSABLE, "reason": "Invalid", "message": str(error)}
        said = {"allowed": False, "status": status}
    except RecursionError:  # the decoder could just take it, what looks into it cannot
        return web.Response(status=400, text=_TOO_DEEP)
    body = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": request.uid, **said},
    }
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _mutate(admission: Admission, request: _Request) -> dict[str, Any]:
    match request.kind.get("kind"):
        case "Pod":
            found = admission.admit_pod(request.object, request.namespace)
        case "PodNetworking" if not request.says_nothing_new:
            found = admission.admit_networking(request.object)
        case _:
            return {}
    return _said(found)


def _said(found: Answer) -> dict[str, Any]:
    said: dict[str, Any] = {"warnings": list(found.warnings)} if found.warnings else {}
    if found.patch:
        said["patchType"] = "JSONPatch"
        said["patch"] = base64.b64encode(msgspec.json.encode(found.patch)).decode()
    return said


def _validate(admission: Admission, request: _Request) -> dict[str, Any]:
    if request.kind.get("kind") == "PodNetworking" and not request.says_nothing_new:
        admission.check_networking(request.object)
    return {}


@asynccontextmanager
async def open_webhook(
    app: web.Application, context: ssl.SSLContext, port: int
) -> AsyncIterator[int]:
    """Serve `app` at every address for the block, and give the port. Raises UsageError."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port=port, ssl_context=context)
        await site.start()
        yield runner.addresses[0][1]
    except OSError as error:
        text = f"the webhook cannot listen at port {port}: {error.strerror}"
        raise UsageError(text, field="webhookPort") from error
    finally:
        await runner.cleanup()
