"""What may the command line ask of a running lab? HTTP and JSON on <lab>/control.sock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from terway.kube.resource import PODS
from terway.lab.world.agent_watch import wait_serving
from terway.lab.world.lab import Lab
from terway.lab.world.report import describe
from terway.lab.world.targets import find_target
from terway.model.errors import UsageError, VpcError

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Control:
    """The requests, one method each."""

    def __init__(self, lab: Lab, down: asyncio.Event) -> None:
        self._lab = lab
        self._down = down

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[_refusals])
        app.router.add_get("/status", self._status)
        app.router.add_get("/enter", self._enter)
        app.router.add_post("/apply", self._apply)
        app.router.add_post("/nodes", self._add_node)
        app.router.add_delete("/nodes/{name}", self._remove_node)
        app.router.add_post("/nodes/{name}/agent", self._agent)
        app.router.add_post("/instances", self._attach)
        app.router.add_delete("/instances/{name}", self._detach)
        app.router.add_post("/faults", self._inject)
        app.router.add_post("/places", self._places)
        app.router.add_post("/outside", self._outside)
        app.router.add_post("/down", self._end)
        return app

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(await describe(self._lab))

    async def _enter(self, request: web.Request) -> web.Response:
        """Answer with the words that run a command on a node, or in a pod as namespace/name."""
        target = request.query["target"]
        if "/" not in target:
            return web.json_response({"words": self._lab.node(target).words(())})
        pods = (await self._lab.kube.list(PODS)).items
        names = (f"{one.metadata.namespace}/{one.metadata.name}" for one in pods)
        namespace, _, name = find_target(target, names).rpartition("/")
        pod = await self._lab.kube.get(PODS, name, namespace=namespace)
        if pod is None or not pod.spec.node_name:
            raise UsageError(
                f"no pod {target} runs; those that do: "
                f"terway-lab status --name {self._lab.plan.name}"
            )
        handle = await self._lab.handle(pod)
        if not handle.pid:
            raise UsageError(f"no container of pod {target} is running")
        return web.json_response({"words": handle.node.words((), container_pid=handle.pid)})

    async def _apply(self, request: web.Request) -> web.Response:
        await self._lab.apply(await request.text())
        return web.json_response({})

    async def _add_node(self, request: web.Request) -> web.Response:
        name = (await request.json()).get("name") or self._next_name()
        await self._lab.add_node(name)
        try:
            await self._lab.wait_begun(name)
        except VpcError:
            await self._lab.remove_node(name)
            raise
        return web.json_response({"name": name, "ready": self._lab.plan.agent})

    async def _remove_node(self, request: web.Request) -> web.Response:
        await self._lab.remove_node(request.match_info["name"])
        return web.json_response({})

    async def _agent(self, request: web.Request) -> web.Response:
        node = self._lab.node(request.match_info["name"])
        if not node.spec.agent:
            raise UsageError(f"lab {self._lab.plan.name!r} was started with --no-agent")
        await (node.kill_agent() if (await request.json()).get("kill") else node.restart_agent())
        await wait_serving(node)
        return web.json_response({"agent_pid": node.agent_pid})

    async def _attach(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        instance = await self._lab.attach_instance(wanted["name"], wanted["netns"])
        addresses = [str(one) for one in (instance.ipv4, instance.ipv6) if one is not None]
        return web.json_response({"instance_id": instance.id, "addresses": addresses})

    async def _detach(self, request: web.Request) -> web.Response:
        await self._lab.detach_instance(request.match_info["name"])
        return web.json_response({})

    async def _inject(self, request: web.Request) -> web.Response:
        """Let a schedule happen; answer with the events that cannot happen here."""
        from terway.lab.faults.live import inject
        from terway.lab.faults.schedule import parse_schedule

        left = await inject(self._lab, parse_schedule(await request.text()))
        return web.json_response({"left_out": [repr(one) for one in left]})

    async def _places(self, request: web.Request) -> web.Response:
        """Answer with the network namespaces of nodes, and of the pods asked for."""
        from terway.lab.policy.places import describe_places

        return web.json_response(await describe_places(self._lab, (await request.json())["pods"]))

    async def _outside(self, request: web.Request) -> web.Response:
        """Answer with the network namespace of the host that is the rest of the world."""
        from terway.lab.world.outside import open_outside

        return web.json_response({"netns": await open_outside(self._lab)})

    async def _end(self, request: web.Request) -> web.Response:
        self._down.set()
        return web.json_response({})

    def _next_name(self) -> str:
        return next(
            name
            for name in (f"node-{number}" for number in range(1, 10_000))
            if name not in self._lab.instances
        )


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (VpcError, KeyError, json.JSONDecodeError) as error:
        return web.json_response({"error": str(error)}, status=400)
    except Exception as error:
        from terway.lab.kubeapi.errors import ApiError

        if isinstance(error, ApiError):
            return web.json_response({"error": str(error)}, status=400)
        raise
