"""The metadata service on HTTP, as an instance finds it at 100.100.100.200.

Who asks is known by the address that the request comes from, as in the cloud. A token is obtained
by PUT /latest/api/token; a hardened instance (HttpTokens=required) must show one, others may.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from aiohttp import web

from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.metadata_view import metadata_leaves, read
from terway.lab.cloud.records import InstanceRecord

TTL_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 - a header's name
TTL_S = (1, 21600)

PeerOf = Callable[[web.Request], str]


def peer_address(request: web.Request) -> str:
    """Return the address that a request comes from."""
    return request.remote or ""


def create_metadata_app(cloud: Cloud, *, peer_of: PeerOf = peer_address) -> web.Application:
    """Return an application that answers instances about themselves."""
    service = _Service(cloud, peer_of)
    app = web.Application()
    app.router.add_put("/latest/api/token", service.put_token)
    app.router.add_get("/latest/meta-data", service.get)
    app.router.add_get("/latest/meta-data/{path:.*}", service.get)
    return app


class _Service:
    def __init__(self, cloud: Cloud, peer_of: PeerOf) -> None:
        self._cloud = cloud
        self._peer_of = peer_of
        self._tokens: dict[str, tuple[str, float]] = {}  # token: (instance id, good until)

    async def put_token(self, request: web.Request) -> web.Response:
        instance = self._caller(request)
        text = request.headers.get(TTL_HEADER, "")
        if not text.isdigit() or not TTL_S[0] <= int(text) <= TTL_S[1]:
            raise web.HTTPBadRequest(text=f"{TTL_HEADER} must be in {TTL_S[0]} to {TTL_S[1]}")
        token = self._cloud.world.ids.secret(56)
        self._forget_expired()
        self._tokens[token] = (instance.id, self._cloud.now() + int(text))
        return web.Response(text=token)

    async def get(self, request: web.Request) -> web.Response:
        instance = self._caller(request)
        self._check_token(request, instance)
        self._cloud.advance()
        lag_s = self._cloud.world.delays.metadata_s
        enis = self._cloud.history.at(self._cloud.now() - lag_s)
        leaves = metadata_leaves(self._cloud.world, instance, enis)
        text = read(leaves, request.match_info.get("path", ""))
        if text is None:
            raise web.HTTPNotFound(text="404 - Not Found")
        return web.Response(text=text)

    def _caller(self, request: web.Request) -> InstanceRecord:
        state = self._cloud.world.state
        eni = state.plugged_owner(ip_address(self._peer_of(request)))
        if eni is None or eni.instance_id is None:
            raise web.HTTPForbidden(text="the address of the caller belongs to no instance")
        return state.instances[eni.instance_id]

    def _check_token(self, request: web.Request, instance: InstanceRecord) -> None:
        token = request.headers.get(TOKEN_HEADER)
        if token is None and not instance.hardened:
            return
        owner, until = self._tokens.get(token or "", ("", 0.0))
        if owner != instance.id or self._cloud.now() >= until:
            raise web.HTTPUnauthorized(text="the metadata token is missing, foreign or expired")

    def _forget_expired(self) -> None:
        now = self._cloud.now()
        self._tokens = {token: held for token, held in self._tokens.items() if held[1] > now}
