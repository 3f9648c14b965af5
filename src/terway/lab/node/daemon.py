"""What does the node's own daemon do? Kubelet, terwayd's supervisor, and the lab's wishes.

Line by line over the control socket, JSON each:

    lab → node   {"id": 1, "do": "go"}        eth0 is plugged in: configure it and begin
                 {"id": 2, "do": "restart-agent"}, "kill-agent", "stop-agent", "start-agent"
                 {"id": 3, "do": "pod", "namespace": …, "name": …, "uid": …}
    node → lab   {"id": 1, …} or {"id": 1, "error": …};  {"event": "agent", "pid": … | null}
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.connection import read_kubeconfig
from terway.kube.resource import ObjectKey
from terway.lab.kubelet.kubelet import Kubelet, open_kubelet
from terway.lab.kubelet.projection import project_eni_config
from terway.lab.node.client import SpawnerClient
from terway.lab.node.filesystem import ADMIN_KUBECONFIG, AGENT_KUBECONFIG
from terway.lab.node.network import configure_eth0
from terway.lab.node.spec import NodeSpec
from terway.lab.node.supervise import Supervisor
from terway.model.errors import UsageError, VpcError

LOG_DIR = Path("/var/log/terway")

Message = dict[str, Any]


def log(text: str) -> None:
    """Write a line to the node's log."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


class NodeDaemon:
    """The daemon of one node."""

    def __init__(
        self, spec: NodeSpec, spawner: SpawnerClient, writer: asyncio.StreamWriter
    ) -> None:
        self._spec = spec
        self._spawner = spawner
        self._writer = writer
        self._kubelet: Kubelet | None = None
        self._plugged = asyncio.Event()
        self._configured = asyncio.Event()
        self._agent = Supervisor(
            spawner,
            spec.agent_argv,
            env=_agent_environment(spec),
            log_path=str(LOG_DIR / "terwayd.log"),
            changed=lambda pid: self._send({"event": "agent", "pid": pid}),
        )

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Run until the lab closes the control socket."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._work())
            while line := await reader.readline():
                await self._serve(json.loads(line))
            work.cancel()

    async def _work(self) -> None:
        await self._plugged.wait()
        await configure_eth0(self._spec)
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(KubeClient(read_kubeconfig(ADMIN_KUBECONFIG)))
            self._kubelet = await open_kubelet(stack, self._spec, client, self._spawner, log=log)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._kubelet.run())
                written = self._configured.set
                tasks.create_task(project_eni_config(client, written=written))
                if self._spec.agent:
                    # terwayd refuses to start without its configuration; so would its pod.
                    await self._configured.wait()
                    tasks.create_task(self._agent.run())

    async def _serve(self, message: Message) -> None:
        try:
            answer = await self._perform(message)
        except VpcError as error:
            answer = {"error": str(error)}
        self._send({"id": message["id"], **answer})

    async def _perform(self, message: Message) -> Message:
        actions: dict[str, Callable[[], Awaitable[None]]] = {
            "restart-agent": self._agent.restart,
            "kill-agent": self._agent.kill,
        }
        match message["do"]:
            case "go":
                self._plugged.set()
            case "pod":
                key = ObjectKey(namespace=message["namespace"], name=message["name"])
                return self._pod(key, uid=message["uid"])
            case str(name) if name in actions:
                await actions[name]()
            case unknown:
                raise UsageError(f"unknown request {unknown!r}")
        return {}

    def _pod(self, key: ObjectKey, *, uid: str) -> Message:
        # By uid: while a pod that was deleted by force still ends, another may have its name.
        worker = self._kubelet.workers.get(uid) if self._kubelet is not None else None
        if worker is None or worker.sandbox is None:
            raise UsageError(f"pod {key} is not running on {self._spec.name}")
        return {"netns": worker.sandbox.path("net"), "pids": worker.pids()}

    def _send(self, message: Message) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


def _agent_environment(spec: NodeSpec) -> dict[str, str]:
    return {
        **os.environ,
        "NODE_NAME": spec.name,
        "POD_NAMESPACE": "kube-system",
        "KUBECONFIG": str(AGENT_KUBECONFIG),
        "ECS_ENDPOINT": spec.ecs_endpoint,
        "VPC_ENDPOINT": spec.ecs_endpoint,
    }
