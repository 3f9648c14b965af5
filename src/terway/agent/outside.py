"""What does terwayd find when it starts: instance, configuration, cloud, journal, kernel?

In this order, since each says how the next is opened.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from terway.agent.access_key import choose_credentials
from terway.agent.call_metrics import CallMetrics
from terway.agent.ebpf.choice import Chosen, choose_datapath
from terway.agent.instance import (
    Allowance,
    InstanceFile,
    Known,
    Place,
    read_allowance,
    read_place,
)
from terway.agent.leave_supply import leave_supply
from terway.agent.node_config import KeptPatch, read_agent_config
from terway.agent.node_mode import KeptMode, read_node_mode
from terway.agent.options import Options
from terway.agent.pool_ports import StorePort
from terway.agent.possible import check_possible
from terway.agent.serving import leads_services
from terway.agent.shape import check_capacity, most_pods
from terway.agent.supply_open import SupplySide, kept_round, open_supply
from terway.agent.trunk_devices import check_vlan_devices
from terway.agent.upstream import Upstream, find_upstream
from terway.cloud.ecs import EcsClient, open_ecs_client
from terway.cloud.metadata import MetadataClient
from terway.cloud.openapi import open_session
from terway.config.agent_config import AgentConfig
from terway.config.findings import Caution
from terway.datapath.map_sizes import map_sizes, policy_map_sizes, service_map_sizes
from terway.kube.client import KubeClient
from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel, open_kernel
from terway.model.attachment import Attachment
from terway.model.ids import RegionId
from terway.model.interface import Mode
from terway.store.sqlite import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a terwayd stands on. It is closed with the stack that it was opened on."""

    options: Options
    client: KubeClient | None
    config: AgentConfig
    place: Place
    allowance: Allowance
    kept: InstanceFile  # place and allowance, for a start without the cloud
    cloud: EcsClient | SupplySide  # the other one: addresses come by the control plane
    calls: CallMetrics
    store: StorePort
    upstream: Upstream
    kernel: Kernel
    chosen: Chosen
    cautions: tuple[Caution, ...]

    @property
    def mode(self) -> Mode:
        """Return how new pods are connected."""
        return self.chosen.mode

    @property
    def is_led(self) -> bool:
        """Return whether Services are led to their endpoints here."""
        return leads_services(self.chosen, self.client, self.config)


async def open_outside(
    stack: AsyncExitStack, options: Options, client: KubeClient | None
) -> Outside:
    """Open everything that terwayd stands on; it is closed with `stack`."""
    kept = InstanceFile(options.paths.state_dir / "instance.json")
    calls = CallMetrics()
    metadata = await _open_metadata(stack, options, calls)
    place, config = await _read_start(options, client, metadata, kept)
    cloud: EcsClient | SupplySide
    if config.eni.is_centralized:
        cloud = await open_supply(client, options, config, place, kept.read())
        allowance = cloud.allowance
    else:
        if client is not None:
            await leave_supply(client, options.node_name, kept_round(options))
        cloud = await _open_cloud(stack, options, config, place.region_id, metadata)
        cloud.observe(calls.openapi)
        allowance = await read_allowance(cloud, place, kept.read())
    kept.write(Known(place=place, allowance=allowance))
    store = stack.enter_context(open_store(options.paths.journal))
    upstream = await find_upstream(store, options.paths, metadata, client)
    kept_mode = KeptMode(options.paths.state_dir / "node_mode")
    mode = await read_node_mode(client, options.node_name, kept_mode, upstream.held)
    cautions = _check_instance(config, allowance, mode, upstream.held)
    kernel = await stack.enter_async_context(open_kernel())
    return Outside(
        options=options,
        client=client,
        config=config,
        place=place,
        allowance=allowance,
        kept=kept,
        cloud=cloud,
        calls=calls,
        store=store,
        upstream=upstream,
        kernel=kernel,
        chosen=await _choose_datapath(kernel, mode, options, config, allowance),
        cautions=cautions,
    )


async def _open_metadata(
    stack: AsyncExitStack, options: Options, calls: CallMetrics
) -> MetadataClient:
    session = await stack.enter_async_context(open_session())
    metadata = MetadataClient(session, base_url=options.metadata_url)
    metadata.on_read = calls.metadata
    return metadata


async def _read_start(
    options: Options, client: KubeClient | None, metadata: MetadataClient, kept: InstanceFile
) -> tuple[Place, AgentConfig]:
    """Read what the instance is and what is configured, side by side."""
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_place(metadata, kept.read()))
        config = await read_agent_config(
            options.paths.config,
            client,
            options.node_name,
            namespace=options.namespace,
            kept=KeptPatch(options.paths.state_dir / "node_conf.json"),
        )
    if client is not None and config.eni.kube_client_qps:
        client.limit(qps=config.eni.kube_client_qps, burst=config.eni.kube_client_burst)
    return reading.result(), config


async def _open_cloud(
    stack: AsyncExitStack,
    options: Options,
    config: AgentConfig,
    region_id: RegionId,
    metadata: MetadataClient,
) -> EcsClient:
    keys = choose_credentials(config.eni, metadata, addon_secret=options.paths.addon_secret)
    return await stack.enter_async_context(
        open_ecs_client(
            region_id=config.eni.region_id or region_id,
            credentials=keys,
            ecs_endpoint=options.ecs_endpoint,
            vpc_endpoint=options.vpc_endpoint,
        )
    )


def _check_instance(
    config: AgentConfig, allowance: Allowance, mode: Mode, held: tuple[Attachment, ...]
) -> tuple[Caution, ...]:
    """Return what the instance makes less of than was asked for. Raises what cannot be at all."""
    return (
        *check_capacity(allowance.limits, mode, config.eni.ip_stack, held),
        *check_possible(config.eni, allowance.limits, mode),
    )


async def _choose_datapath(
    kernel: Kernel, mode: Mode, options: Options, config: AgentConfig, allowance: Allowance
) -> Chosen:
    """Load the data path in eBPF, where the node is to have one and can.

    Raises UsageError where the kernel lacks what nothing can be instead of.
    """
    await check_vlan_devices(kernel, mode, config.cni)
    pods = most_pods(allowance.limits)
    sizes = {
        **map_sizes(pods, config.eni.ebpf_max_connections),
        **policy_map_sizes(config.eni.ebpf_policy_entries),
        **service_map_sizes(config.eni.ebpf_service_entries),
    }
    return await choose_datapath(kernel, mode, config.cni, Pins(options.paths.pins), sizes)
