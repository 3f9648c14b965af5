"""A leader that stood still beyond its lease, as a machine's pause does it: SIGSTOP and SIGCONT."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from terway.controlplane.install import install_definitions, read_definitions
from terway.kube.client import KubeClient
from terway.kube.crds import POD_ENIS
from terway.kube.resource import LEASES, NODES, PODS
from terway.kube.types import Node, NodeSpec, ObjectMeta
from terway.lab.cloud.openapi_http import create_openapi_app
from terway.lab.world.accounts import issue_kubeconfig
from tests.contract.test_controlplane_rbac import apply_roles
from tests.support.cloud_world import REGION, ZONE, CloudWorld, make_world, serving
from tests.support.cluster import make_cluster
from tests.support.kube_server import KubeServer, open_kube_server

PREFIX = "k8s.aliyun.com/"
LEADER = "system:serviceaccount:kube-system:terway-controlplane"
LOCK = "terway-controller-lock"


class Stage:
    """A cloud, an API server, and processes of the control plane that can be stopped."""

    def __init__(
        self, folder: Path, server: KubeServer, admin: KubeClient, world: CloudWorld, url: str
    ) -> None:
        self.folder = folder
        self.server = server
        self.admin = admin
        self.world = world
        self.url = url
        self.callers: dict[str, str] = {}
        self.logs: dict[str, Path] = {}

    @asynccontextmanager
    async def instance(
        self, name: str, kubeconfig: Path
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run one, with a key of its own, for the time of the block."""
        key = self.world.cloud.world.keyring.create_key(name)
        self.callers[name] = key.principal.arn
        config, credential = (self.folder / f"{name}-{one}" for one in ("config", "credential"))
        credential.write_text(json.dumps({"accessKey": key.id, "accessSecret": key.secret}))
        said = {
            "regionID": REGION,
            "clusterID": "c1",
            "vpcID": self.world.vpc_id,
            "leaderElection": True,
            "leaseDuration": "6s",
            "renewDeadline": "5s",
            "retryPeriod": "200ms",
            "healthzBindAddress": "0",
            "disableWebhook": True,
        }
        config.write_text(json.dumps(said))
        endpoints = {f"{one}_ENDPOINT": self.url for one in ("ECS", "VPC", "SLB", "NLB")}
        self.logs[name] = self.folder / f"{name}.log"
        with self.logs[name].open("w") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "terway.controlplane.main"),
                *("--config", str(config), "--credential", str(credential)),
                env={**os.environ, **endpoints, "KUBECONFIG": str(kubeconfig), "POD_NAME": name},
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def leads(self, name: str) -> None:
        """Return once an instance has the lease."""
        holder = None
        while holder != name:
            await asyncio.sleep(0.05)
            lease = await self.admin.get(LEASES, LOCK, namespace="kube-system")
            holder = lease.spec.holder_identity if lease is not None else None

    async def make_pod(self, name: str) -> None:
        """Make a pod with an ENI of its own, on the node."""
        network = {
            "interface": "eth0",
            "vSwitchOptions": [self.world.pod_vswitch],
            "securityGroupIDs": [self.world.group],
        }
        networks = json.dumps({"podNetworks": [network]})
        annotations = {f"{PREFIX}pod-eni": "true", f"{PREFIX}pod-networks": networks}
        metadata = {"name": name, "namespace": "default", "annotations": annotations}
        spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "busybox"}]}
        await self.admin.create(PODS.typed(dict[str, Any]), {"metadata": metadata, "spec": spec})

    async def bound(self, name: str) -> None:
        """Return once a pod's ENI is attached."""
        phase = ""
        while phase != "Bind":
            await asyncio.sleep(0.05)
            self.world.clock.now = time.time()
            self.world.cloud.advance()
            found = await self.admin.get(POD_ENIS, name, namespace="default")
            phase = found.status.phase if found is not None else ""

    def calls_of(self, name: str) -> list[str]:
        """Return the actions that an instance called at the cloud."""
        calls = self.world.cloud.calls.all
        return [one.action for one in calls if one.caller == self.callers[name]]

    def writes(self) -> int:
        """Return how often the first instance wrote to the API server, but for the lease."""
        asked = self.server.state.authorizer.audit.allowed(LEADER)
        reading = {"get", "list", "watch"}
        return sum(
            count
            for (verb, _, what), count in asked.items()
            if verb not in reading and what != "leases"
        )


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[tuple[Stage, Path]]:
    """Give a stage, and the kubeconfig of the control plane's own account."""
    state, world = make_cluster(), make_world(instance_type="ecs.g7.2xlarge")
    world.clock.now = time.time()
    apply_roles(state)
    async with (
        open_kube_server(state, folder) as server,
        KubeClient(server.unix) as admin,
        serving(create_openapi_app(world.cloud)) as url,
    ):
        await install_definitions(admin, read_definitions())
        labels = {
            "topology.kubernetes.io/zone": ZONE,
            f"{PREFIX}exclusive-mode-eni-type": "eniOnly",
        }
        metadata = ObjectMeta(name="n1", labels=labels)
        spec = NodeSpec(provider_id=f"{REGION}.{world.instance_id}")
        await admin.create(NODES, Node(metadata=metadata, spec=spec))
        base = server.kubeconfig.read_text()
        path = folder / "controlplane.kubeconfig"
        path.write_text(await issue_kubeconfig(admin, base, service_account="terway-controlplane"))
        yield Stage(folder, server, admin, world, url), path


async def test_a_leader_that_stood_still_beyond_its_lease_changes_nothing_any_more(tmp_path):
    async with (
        open_stage(tmp_path) as (stage, kubeconfig),
        stage.instance("first", kubeconfig) as first,
        asyncio.timeout(240),  # two processes start, and a lease runs out: 40 s on a busy machine
    ):
        await stage.leads("first")
        await stage.make_pod("a")
        await stage.bound("a")
        async with stage.instance("second", stage.server.kubeconfig) as second:
            first.send_signal(signal.SIGSTOP)
            await stage.leads("second")
            second.send_signal(signal.SIGSTOP)  # so that there is much that nobody has done
            for number in range(2):
                await stage.make_pod(f"b{number}")
            called, written = stage.calls_of("first"), stage.writes()

            first.send_signal(signal.SIGCONT)
            assert await first.wait() == 1
            assert f"lease kube-system/{LOCK}" in stage.logs["first"].read_text()
            assert "CreateNetworkInterface" in called
            assert stage.calls_of("first") == called
            assert stage.writes() == written
            second.send_signal(signal.SIGCONT)
            # Where the first took long to end, the second has stood still beyond its lease, too.
            async with stage.instance("third", stage.server.kubeconfig):
                await stage.bound("b1")
