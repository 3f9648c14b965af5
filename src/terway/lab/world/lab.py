"""How does a lab come up? Cloud, VPC, Kubernetes API and nodes, in the caller's event loop.

async with open_lab(nodes=2) as lab:
    a, b = await lab.pod("a", node="node-1"), await lab.pod("b", node="node-2")
    flow = await a.connect(b)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from terway.cli.chart.render import find_chart
from terway.cloud import permissions
from terway.kube.client import KubeClient
from terway.lab.balancer.cloud_run import run_cloud_balancers
from terway.lab.balancer.run import BalancerPlace, run_balancers
from terway.lab.cloud.cloud import Cloud
from terway.lab.cloud.fabric_view import FabricHabits
from terway.lab.cloud.transitions import Delays
from terway.lab.flannel.blocks import NODE_IPAM
from terway.lab.kubeapi.controllers.runner import load_balancers, run_controllers, with_slices_of
from terway.lab.kubeapi.state import ClusterState
from terway.lab.vpc.fabric import Fabric
from terway.lab.world.accounts import CONTROL_PLANE_ACCOUNT
from terway.lab.world.controlplane import (
    IDENTITY,
    ControlPlane,
    Outside,
    check_plan,
    controlplane_config,
    wait_control_plane,
)
from terway.lab.world.ground import lay_ground, types_of
from terway.lab.world.logsource import NodeLogs
from terway.lab.world.paths import LabPaths, sweep
from terway.lab.world.plan import (
    CONTROL_PLANE,
    KUBE_API,
    METADATA,
    OPENAPI,
    PROBER,
    PROBER_V6,
    LabPlan,
    PodNetwork,
)
from terway.lab.world.running import Lab, Progress
from terway.lab.world.services import open_services
from terway.lab.world.tasks import BackgroundTasks
from terway.model.address import Family
from terway.model.errors import VpcError

__all__ = ["LAB_DELAYS", "Lab", "open_lab"]

LAB_DELAYS = Delays(attach_s=0.5, detach_s=0.5, delete_s=0.2, start_s=0.0)
_SLOWEST_RETRY_S = 5.0


@asynccontextmanager
async def open_lab(
    plan: LabPlan | None = None,
    *,
    paths: LabPaths | None = None,
    delays: Delays = LAB_DELAYS,
    progress: Progress = lambda text: None,
    ready: bool = True,
    **changes: Any,
) -> AsyncIterator[Lab]:
    """Run a lab for the time of the block. `changes` are fields of the plan.

    With `ready`, the block begins when every node is Ready. `paths` that are given are made
    already, and are removed at the end all the same.
    """
    plan = replace(plan or LabPlan(), **changes)
    if paths is None:
        paths = LabPaths(name=plan.name)
        sweep(paths.root)
        paths.make()
    async with AsyncExitStack() as stack:
        stack.callback(paths.remove)
        cloud = Cloud(
            clock=time.time,
            delays=delays,
            types=types_of(plan),
            habits=FabricHabits(services=_service_addresses(plan)),
        )
        fabric = await stack.enter_async_context(Fabric(run_dir=paths.folder))
        tasks = await stack.enter_async_context(BackgroundTasks())
        lab = Lab(
            plan=plan, paths=paths, cloud=cloud, fabric=fabric, tasks=tasks, progress=progress
        )
        await _open(stack, lab)
        if ready:
            await lab.wait_ready(timeout_s=plan.ready_timeout_s)
        yield lab


async def _open(stack: AsyncExitStack, lab: Lab) -> None:
    lab.ground = lay_ground(lab.cloud, lab.plan)
    lab.progress(f"VPC {lab.plan.vpc_cidr} with its vSwitches, security group and RAM role")
    await lab.fabric.apply(lab.cloud.vpc_state())
    lab.services = await open_services(
        stack,
        plan=lab.plan,
        paths=lab.paths,
        cloud=lab.cloud,
        services_netns=lab.fabric.services_netns_path,
        logs=NodeLogs(lab.nodes),
    )
    lab.kube = await stack.enter_async_context(KubeClient(lab.services.kube))
    lab.tasks.start(carry(lab.cloud, lab.fabric, lab.progress), name="cloud to fabric")
    lab.tasks.start(lab.fabric.watch(), name="devices that fall back")
    balancing = run_cloud_balancers(
        lab.cloud, lab.fabric, _balancer_place(lab), progress=lab.progress
    )
    lab.tasks.start(balancing, name="the cloud's load balancers")
    if lab.services.cluster is not None:
        _start_cluster(lab, lab.services.cluster)
    stack.push_async_callback(lab.stop)
    if lab.plan.control_plane:
        await _start_control_plane(lab)
    if lab.plan.node_names():
        lab.progress("metadata, OpenAPI and Kubernetes API are listening")
        await lab.configure_agents()
        async with asyncio.TaskGroup() as tasks:
            for name in lab.plan.node_names():
                tasks.create_task(lab.add_node(name))


def _service_addresses(plan: LabPlan) -> tuple[IPv4Address, ...]:
    always = (METADATA, OPENAPI, KUBE_API)
    return (*always, CONTROL_PLANE) if plan.control_plane else always


async def _start_control_plane(lab: Lab) -> None:
    """Start terway-controlplane and return when it serves."""
    check_plan(lab.plan)
    # From here on agents and control plane are their accounts, with the roles of an installation.
    await lab.apply((find_chart() / "templates" / "rbac.yaml").read_text())
    netns_path = lab.fabric.services_netns_path
    key = lab.cloud.world.keyring.create_key(IDENTITY, allow=permissions.CONTROL_PLANE)
    outside = Outside(
        netns_path=netns_path,
        ecs_endpoint=f"http://{OPENAPI}",
        kubeconfig=await lab.program_kubeconfig(CONTROL_PLANE_ACCOUNT),
        access_key_id=key.id,
        access_key_secret=key.secret,
    )
    config = controlplane_config(lab.plan, lab.ground.vpc_id)
    lab.control_plane = ControlPlane(lab.paths.folder, outside, config)
    lab.tasks.start(lab.control_plane.run(), name="terway-controlplane")
    await wait_control_plane(lab.control_plane, netns_path)
    lab.progress("terway-controlplane leads")


def _start_cluster(lab: Lab, cluster: ClusterState) -> None:
    """Start what moves the embedded cluster, its load balancers among it."""
    plan = lab.plan
    controllers = (
        *with_slices_of(plan.endpoints_per_slice),
        *(() if plan.network is PodNetwork.TERWAY else (NODE_IPAM,)),
        *(() if plan.control_plane else (load_balancers(plan.balancer_cidrs),)),
    )
    lab.tasks.start(run_controllers(cluster, controllers), name="controllers")
    if not plan.control_plane:
        balancers = run_balancers(cluster, lab.fabric, _balancer_place(lab), progress=lab.progress)
        lab.tasks.start(balancers, name="load balancers")


def _balancer_place(lab: Lab) -> BalancerPlace:
    return BalancerPlace(
        vpc_id=lab.ground.vpc_id,
        prober=PROBER,
        prober_v6=PROBER_V6 if Family.V6 in lab.plan.stack.families else None,
        netns_path=lab.fabric.services_netns_path,
        interval_s=lab.plan.probe_interval_s,
    )


async def carry(cloud: Cloud, fabric: Fabric, progress: Progress) -> None:
    """Keep the fabric as the cloud says, until cancelled; what failed is tried again."""
    changed = asyncio.Event()
    unsubscribe = cloud.subscribe(changed.set)
    retry_s: float | None = None
    try:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), retry_s)
            changed.clear()
            try:
                await fabric.apply(cloud.vpc_state())
                retry_s = None
            except VpcError as error:  # an instance's namespace ended before the cloud heard
                progress(f"fabric: {error}")
                retry_s = min(2 * (retry_s or 0.25), _SLOWEST_RETRY_S)
    finally:
        unsubscribe()
