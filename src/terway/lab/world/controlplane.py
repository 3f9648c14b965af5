"""How does terway-controlplane run in a lab? Beside the provider's services, as a managed one does.

A process of its own in their network namespace, at 100.100.0.40: it reaches the API server and the
OpenAPI as anybody there does. Its RAM user may do what the documented policy allows, no more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terway.lab.node.supervise import Supervisor
from terway.lab.world.lastwords import last_error
from terway.lab.world.plan import CONTROL_PLANE, LabPlan
from terway.lab.world.sockets import connect_in
from terway.lab.world.waiting import PATIENCE_S
from terway.model.errors import TransientError, UsageError
from terway.model.ids import VpcId

WEBHOOK_PORT = 4443
HEALTH_PORT = 8085
IDENTITY = "terway-controlplane"  # the service account, in kube-system

_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """Where the process finds what it needs."""

    netns_path: str
    ecs_endpoint: str
    kubeconfig: str  # text
    access_key_id: str
    access_key_secret: str


class LocalProcess:
    """A child of the lab's own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def wait(self) -> int:
        """Return the exit status once it has ended."""
        return await self._process.wait()

    async def kill(self, signal_number: int) -> None:
        """Send a signal; nothing happens when the process has already ended."""
        if self.is_running:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal_number)


class NetnsSpawner:
    """Starts programs in a network namespace; they end with the lab's process."""

    def __init__(self, netns_path: str) -> None:
        self._netns_path = netns_path

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str], stdio: tuple[int, int, int]
    ) -> LocalProcess:
        """Start `argv`; the caller keeps its copies of `stdio`."""
        enter = ("nsenter", f"--net={self._netns_path}", "setpriv", "--pdeathsig", "KILL")
        stdin, stdout, stderr = stdio
        process = await asyncio.create_subprocess_exec(
            *enter, *argv, env=dict(env), stdin=stdin, stdout=stdout, stderr=stderr
        )
        return LocalProcess(process)


class ControlPlane:
    """The process, kept running; `run` until cancelled."""

    def __init__(self, folder: Path, outside: Outside, config: Mapping[str, Any]) -> None:
        self.log_path = folder / "controlplane.log"
        self._supervisor = Supervisor(
            NetnsSpawner(outside.netns_path),
            _argv(_write_files(folder, outside, config)),
            env=_environment(folder, outside),
            log_path=str(self.log_path),
            changed=lambda pid: None,
        )

    @property
    def pid(self) -> int | None:
        """Return the process id, None while it is not running."""
        return self._supervisor.pid

    async def run(self) -> None:
        """Keep it running until cancelled, then end it."""
        try:
            await self._supervisor.run()
        finally:
            await asyncio.shield(self._supervisor.restart())

    async def kill(self) -> None:
        """Kill it as a crash would; it is started again without a wait."""
        await self._supervisor.kill()

    async def restart(self) -> None:
        """Stop it in order and have it started again; returns when the old one has ended."""
        await self._supervisor.restart()

    def last_words(self) -> str:
        """Return the last line that it wrote of what is wrong."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return last_error(lines) or "it has not said what is wrong"


def controlplane_config(plan: LabPlan, vpc_id: VpcId) -> dict[str, Any]:
    """Return ctrl-config as its users write it, with the plan's own keys over it."""
    return {
        "regionID": plan.region_id,
        "clusterID": f"lab-{plan.name}",
        "vpcID": str(vpc_id),
        "ipStack": plan.stack.value,
        "centralizedIPAM": True,
        "enableTrunk": True,
        "leaderElection": True,
        "webhookPort": WEBHOOK_PORT,
        "webhookURL": f"https://{CONTROL_PLANE}:{WEBHOOK_PORT}",
        "healthzBindAddress": f"{CONTROL_PLANE}:{HEALTH_PORT}",
        "controllers": ["*"],
        **plan.control_plane_conf,
    }


async def wait_control_plane(process: ControlPlane, netns_path: str) -> None:
    """Return once it is ready. TransientError with its last words when it is not in time."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            # The process is outside of what tells us of itself.
            while not await _is_ready(netns_path):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        words = process.last_words()
        raise TransientError(f"terway-controlplane does not serve: {words}") from None


async def _is_ready(netns_path: str) -> bool:
    try:
        reader, writer = await connect_in(netns_path, str(CONTROL_PLANE), HEALTH_PORT)
    except OSError:
        return False
    try:
        writer.write(f"GET /readyz HTTP/1.0\r\nHost: {CONTROL_PLANE}\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()


def check_plan(plan: LabPlan) -> None:
    """Refuse a plan with a control plane that cannot be."""
    if plan.control_plane and plan.kubeconfig:
        raise UsageError(
            "--control-plane needs the lab's own API server, which reaches its webhook: "
            "leave --kubeconfig out",
            field="control-plane",
        )


def _write_files(folder: Path, outside: Outside, config: Mapping[str, Any]) -> Path:
    place = folder / "controlplane"
    place.mkdir(mode=0o700, exist_ok=True)
    keys = {"accessKey": outside.access_key_id, "accessSecret": outside.access_key_secret}
    # JSON is YAML.
    texts = {
        "ctrl-config.yaml": json.dumps(config, indent=2),
        "ctrl-secret.yaml": json.dumps(keys),
        "kubeconfig": outside.kubeconfig,
    }
    for name, text in texts.items():
        path = place / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    return place


def _argv(place: Path) -> tuple[str, ...]:
    config = ("--config", str(place / "ctrl-config.yaml"))
    return (
        sys.executable,
        "-m",
        "terway.controlplane.main",
        *config,
        "--credential",
        str(place / "ctrl-secret.yaml"),
    )


def _environment(folder: Path, outside: Outside) -> dict[str, str]:
    return {
        **os.environ,
        "KUBECONFIG": str(folder / "controlplane" / "kubeconfig"),
        "ECS_ENDPOINT": outside.ecs_endpoint,
        "VPC_ENDPOINT": outside.ecs_endpoint,
        "SLB_ENDPOINT": outside.ecs_endpoint,
        "NLB_ENDPOINT": outside.ecs_endpoint,
        "POD_NAMESPACE": "kube-system",
    }
