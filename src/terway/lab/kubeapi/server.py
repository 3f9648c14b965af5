"""How does the cluster answer over HTTP?

    request ─► who (access) ─► may he (rbac) ─► what (requests) ─► faults
            ─► verb (verbs, watching, logs) ─► answer

`create_kube_app` may be called several times over one state: a listener each, with its own rules
of access.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp import web

from terway.lab.kubeapi.access import OPEN, Access, Identity, impersonated
from terway.lab.kubeapi.answers import refuse
from terway.lab.kubeapi.cutting import cut
from terway.lab.kubeapi.documents import answer_document
from terway.lab.kubeapi.errors import ApiError, expired
from terway.lab.kubeapi.faults import Effect, Fault, FaultPlan
from terway.lab.kubeapi.logs import LogSource, NoLogs
from terway.lab.kubeapi.rbac.attributes import attributes_of
from terway.lab.kubeapi.requests import ApiRequest, parse_request
from terway.lab.kubeapi.state import APPLY, ClusterState
from terway.lab.kubeapi.streams import answer_log, answer_watch
from terway.lab.kubeapi.verbs import answer_verb
from terway.lab.kubeapi.watching import Closing

_BODY_LIMIT_BYTES = 3 * 1024 * 1024  # as the real server has it
_STREAMED = (Effect.CUT_WATCH, Effect.EXPIRE_EVENT)


class KubeServer:
    """One listener's view of the cluster."""

    def __init__(
        self, state: ClusterState, *, access: Access, faults: FaultPlan, logs: LogSource
    ) -> None:
        self._state = state
        self._access = access
        self._faults = faults
        self._logs = logs
        self.closing = Closing()

    async def handle(self, http: web.Request) -> web.StreamResponse:
        """Answer any request; refusals become Status objects."""
        try:
            user = self._identify(http)
            asked = attributes_of(http.method, http.path, http.query)
            self._state.authorizer.authorize(user, asked)
            if (document := answer_document(self._state.table, http)) is not None:
                return document
            request = parse_request(http.method, http.path, http.query, self._state.table)
            if self._is_new_by_apply(http, request):
                self._state.authorizer.authorize(user, replace(asked, verb="create"))
            return await self._answer(http, replace(request, user=user))
        except ApiError as error:
            return refuse(error)

    def _identify(self, http: web.Request) -> Identity:
        header = http.headers.get("Authorization", "")
        user = self._access.identify(header, self._state.tokens)
        groups = tuple(http.headers.getall("Impersonate-Group", ()))
        return impersonated(user, http.headers, groups, self._state.authorizer)

    def _is_new_by_apply(self, http: web.Request, request: ApiRequest) -> bool:
        """Say whether a server-side apply would create: that needs both verbs."""
        if request.verb != "patch" or request.subresource or http.content_type != APPLY:
            return False
        return self._state.find(request.resource, request.name, request.namespace) is None

    async def _answer(self, http: web.Request, request: ApiRequest) -> web.StreamResponse:
        faults = self._faults.take(request)
        for fault in faults:
            await _strike(fault, request)
        if request.verb == "watch":
            streamed = tuple(fault for fault in faults if fault.effect in _STREAMED)
            return await answer_watch(self._state, http, request, streamed, self.closing)
        if request.subresource == "log":
            return await answer_log(self._state, http, request, self._logs)
        answer = await answer_verb(self._state, http, request)
        if any(fault.effect is Effect.LOSE_REPLY for fault in faults):
            cut(http.protocol)
        return answer


async def _strike(fault: Fault, request: ApiRequest) -> None:
    match fault.effect:
        case Effect.DELAY:
            await asyncio.sleep(fault.delay_s)
        case Effect.REFUSE:
            raise ApiError(fault.code, _REASONS.get(fault.code, "InternalError"), "injected fault")
        case Effect.EXPIRE:
            raise expired("injected fault: too old resource version")
        case Effect.LOSE_REPLY | Effect.CUT_WATCH | Effect.EXPIRE_EVENT:
            return  # later, when there is something to lose


_REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def create_kube_app(
    state: ClusterState,
    *,
    access: Access = OPEN,
    faults: FaultPlan | None = None,
    logs: LogSource | None = None,
) -> web.Application:
    """Return an application that serves `state` to whom `access` lets in."""
    server = KubeServer(state, access=access, faults=faults or FaultPlan(), logs=logs or NoLogs())
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES)
    app.router.add_route("*", "/{path:.*}", server.handle)

    async def close(app: web.Application) -> None:
        server.closing.close()

    app.on_shutdown.append(close)
    return app
