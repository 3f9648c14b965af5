"""How does one container live? Started, probed, restarted when it ends, stopped with its pod."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import aiohttp

from terway.kube.events import NORMAL, WARNING
from terway.lab.kubelet.environment import Facts, build_environment, expand_all
from terway.lab.kubelet.files import PodFolder
from terway.lab.kubelet.health import HealthActions, watch_health
from terway.lab.kubelet.logs import log_folder, open_output
from terway.lab.kubelet.podspec import Container, Handler, Pod, Probe, command_of
from terway.lab.kubelet.probe import Prober
from terway.lab.kubelet.sandbox import Sandbox
from terway.lab.kubelet.state import (
    ContainerView,
    Running,
    Terminated,
    Waiting,
    exit_code_of,
    next_backoff_s,
    should_restart,
)
from terway.lab.node.client import Process, SpawnerClient, capture
from terway.lab.node.jail import Jail, remove_layer
from terway.model.errors import UsageError, VpcError

Record = Callable[[str, str, str], None]  # type, reason, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a container needs of its pod and node."""

    pod: Pod
    sandbox: Sandbox
    facts: Facts
    folder: PodFolder
    hostname: str
    spawner: SpawnerClient
    http: aiohttp.ClientSession
    record: Record
    changed: Callable[[], None]


class ContainerRun:
    """One container of a pod. `view` is what the API hears; `changed` is called when it changes."""

    def __init__(self, spec: Container, around: Surroundings) -> None:
        self.spec = spec
        self.view = ContainerView(name=spec.name, image=spec.image)
        self._around = around
        self._process: Process | None = None
        self._env: dict[str, str] = {}

    @property
    def pid(self) -> int | None:
        """Return the process id on the node, None while it is not running."""
        process = self._process
        return process.pid if process is not None and process.is_running else None

    async def supervise(self, policy: str) -> int:
        """Run it until it has ended for good and return its exit code.

        Cancelling ends the supervision, not the process: `stop` does that.
        """
        backoff_s = 0.0
        while True:
            began = time.monotonic()
            code = await self._run_once()
            if code is not None and not should_restart(policy, code):
                return code
            if backoff_s:
                await self._back_off(backoff_s)
            backoff_s = next_backoff_s(backoff_s, ran_s=time.monotonic() - began)
            self._show(restarts=self.view.restarts + (code is not None))

    async def stop(self, grace_s: float) -> None:
        """End the process: preStop, SIGTERM, and SIGKILL after `grace_s` altogether."""
        process = self._process
        if process is None or not process.is_running:
            return
        self._around.record(NORMAL, "Killing", f"Stopping container {self.spec.name}")
        try:
            async with asyncio.timeout(grace_s):
                await self._pre_stop()
                await process.kill(signal.SIGTERM)
                await process.wait()
        except TimeoutError:
            await process.kill(signal.SIGKILL)
        self._finish(await process.wait())

    async def _run_once(self) -> int | None:
        """Start it and wait for its end; None when it could not be started."""
        try:
            process = await self._start()
        except VpcError as error:
            reason = "CreateContainerError" if not self._env else "RunContainerError"
            self._around.record(WARNING, "Failed", f"Error: {error}")
            self._show(state=Waiting(reason=reason, message=str(error)), ready=False)
            return None
        async with asyncio.TaskGroup() as tasks:
            health = tasks.create_task(watch_health(self.spec, self._prober(), self._actions()))
            status = await process.wait()
            health.cancel()
        return self._finish(status)

    async def _start(self) -> Process:
        around, spec = self._around, self.spec
        self._env = {}
        words = command_of(spec)
        mounts = around.folder.mounts(spec)
        self._env = build_environment(spec, around.facts, hostname=around.hostname)
        container_id = secrets.token_hex(32)
        meta = around.pod.metadata
        logs = log_folder(meta.namespace, meta.name, meta.uid, spec.name)
        jail = Jail(
            name=layer_of(container_id),
            net=around.sandbox.path("net"),
            uts=around.sandbox.path("uts"),
            ipc=around.sandbox.path("ipc"),
            mounts=mounts,
            own_pids=not around.pod.spec.host_pid,
        )
        with open_output(logs / f"{self.view.restarts}.log") as stdio:
            self._process = await around.spawner.run(
                expand_all(words, self._env),
                env=self._env,
                stdio=stdio,
                cwd=spec.working_dir,
                jail=jail,
            )
        around.record(NORMAL, "Created", f"Created container: {spec.name}")
        around.record(NORMAL, "Started", f"Started container {spec.name}")
        self._show(
            state=Running(started_at=time.time()), container_id=f"terway-lab://{container_id}"
        )
        await self._post_start()
        return self._process

    def _finish(self, status: int) -> int:
        """Show the end of the process, once; return its exit code."""
        code = exit_code_of(status)
        if not isinstance(self.view.state, Running):
            return code
        ended = Terminated(
            exit_code=code,
            reason="Completed" if code == 0 else "Error",
            started_at=self.view.state.started_at,
            finished_at=time.time(),
            container_id=self.view.container_id,
        )
        self._show(state=ended, ready=False, started=False)
        remove_layer(layer_of(self.view.container_id))
        return code

    async def _back_off(self, wait_s: float) -> None:
        pod = self._around.pod
        text = f"restarting failed container {self.spec.name} in pod {pod.full_name}"
        self._around.record(WARNING, "BackOff", f"Back-off {text}")
        last = self.view.state if isinstance(self.view.state, Terminated) else self.view.last
        if isinstance(self.view.state, Terminated):
            message = f"back-off {wait_s:.0f}s {text}"
            self._show(state=Waiting(reason="CrashLoopBackOff", message=message), last=last)
        await asyncio.sleep(wait_s)

    def _show(self, **changes: object) -> None:
        view = replace(self.view, **changes)  # type: ignore[arg-type]  # fields of ContainerView
        was = self.view.state
        if isinstance(view.state, Running) and isinstance(was, Terminated):
            view = replace(view, last=was)
        if view != self.view:
            self.view = view
            self._around.changed()

    def _prober(self) -> Prober:
        pod_ip = next(iter(self._around.sandbox.pod_ips), "")
        return Prober(
            container=self.spec, pod_ip=pod_ip, http=self._around.http, run_inside=self._inside
        )

    async def _inside(self, command: Sequence[str]) -> tuple[int, bytes]:
        process = self._process
        if process is None or not process.is_running:
            raise UsageError(f"container {self.spec.name} is not running")
        return await capture(self._around.spawner, command, env=self._env, target=process.pid)

    def _actions(self) -> HealthActions:
        return HealthActions(
            started=lambda: self._show(started=True),
            ready=lambda ok: self._show(ready=ok),
            unhealthy=lambda text: self._around.record(WARNING, "Unhealthy", text),
            restart=self._kill_unhealthy,
        )

    async def _kill_unhealthy(self, probe_name: str, probe: Probe) -> None:
        message = f"Container {self.spec.name} failed {probe_name} probe, will be restarted"
        self._around.record(NORMAL, "Killing", message)
        grace_s = probe.termination_grace_period_seconds
        process = self._process
        assert process is not None, "only a running container is probed"
        await process.kill(signal.SIGTERM)
        try:
            async with asyncio.timeout(
                self._around.pod.spec.termination_grace_period_seconds
                if grace_s is None
                else grace_s
            ):
                await process.wait()
        except TimeoutError:
            await process.kill(signal.SIGKILL)

    async def _post_start(self) -> None:
        lifecycle = self.spec.lifecycle
        if lifecycle is not None and lifecycle.post_start is not None:
            await self._handle(lifecycle.post_start, "PostStart")

    async def _pre_stop(self) -> None:
        lifecycle = self.spec.lifecycle
        if lifecycle is not None and lifecycle.pre_stop is not None:
            await self._handle(lifecycle.pre_stop, "PreStop")

    async def _handle(self, handler: Handler, name: str) -> None:
        trouble = ""
        if handler.exec is not None:
            with suppress(VpcError):  # it may have ended by itself meanwhile
                status, output = await self._inside(handler.exec.command)
                trouble = output.decode(errors="replace") if status else ""
        elif handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
        elif handler.http_get is not None:
            answer = await self._prober().get(handler.http_get)
            trouble = "" if answer.ok else answer.message
        if trouble:
            self._around.record(WARNING, f"Failed{name}Hook", f"{name}Hook failed: {trouble}")


def layer_of(container_id: str) -> str:
    """Return the name of a container's copy-on-write layer."""
    return container_id.removeprefix("terway-lab://")[:32]
