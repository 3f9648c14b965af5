"""terwayd's entry point: options, the outside opened in order, the daemon run until a signal.

Serving within a second of the start is a promise, so nothing here waits for what is not needed
to answer for the pods that are there.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from terway.agent.lean import settle  # first: it decides what the others load

# isort: split
from terway.agent.log import configure_log  # then this: it decides what structlog loads

# isort: split
import structlog

from terway.agent.access_key import choose_credentials
from terway.agent.call_metrics import CallMetrics
from terway.agent.ebpf.choice import Chosen, choose_datapath
from terway.agent.ebpf.leaving import leave_datapath
from terway.agent.ebpf.page import show_choice
from terway.agent.ebpf.telling import tell_datapath
from terway.agent.follow import make_follower
from terway.agent.handwritten import unsuitable_lists
from terway.agent.host_ports import HostPorts
from terway.agent.instance import (
    Allowance,
    InstanceFile,
    Known,
    Place,
    instance_facts,
    keep_allowance_current,
    read_allowance,
    read_place,
)
from terway.agent.interfaces import InterfacePolicy
from terway.agent.kube_side import KubeSide
from terway.agent.limit_ways import limit_cautions, with_limits
from terway.agent.lock import open_lock
from terway.agent.node_config import KeptPatch, read_agent_config
from terway.agent.node_facts import configured_facts
from terway.agent.node_mode import KeptMode, read_node_mode
from terway.agent.options import Options, parse_options
from terway.agent.paths import Paths
from terway.agent.podeni_serving import serve_own_enis
from terway.agent.policing import enforce_policies
from terway.agent.pool_settings import pool_config
from terway.agent.possible import check_possible
from terway.agent.refusal import LastError, known_errors, told_at_node
from terway.agent.serving import leads_services, serve_services, watch_unless_ours
from terway.agent.shape import Shape, check_capacity, most_pods, shape_of
from terway.agent.supply_open import SupplySide, open_supply
from terway.agent.terwayd import Setup, Terwayd
from terway.agent.trunk_devices import check_vlan_devices, wants_vlan_devices
from terway.agent.trunk_note import note_trunk
from terway.agent.upstream import find_upstream
from terway.cloud.ecs import EcsClient, open_ecs_client
from terway.cloud.metadata import MetadataClient
from terway.cloud.openapi import open_session
from terway.config.agent_config import AgentConfig
from terway.config.eni_conf import EniConf
from terway.config.findings import Caution
from terway.datapath.facts import NodeFacts
from terway.datapath.map_sizes import map_sizes, policy_map_sizes, service_map_sizes
from terway.kube.client import KubeClient
from terway.kube.connection import read_in_cluster, read_kubeconfig
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.uninstall import uninstall
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.netlink.socket import open_route_socket
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.ids import RegionId
from terway.model.interface import Mode
from terway.store.readonly import read_journal
from terway.store.records import StoreError
from terway.store.sqlite import open_store

_log = structlog.get_logger("terwayd")


def main(argv: Sequence[str] | None = None) -> None:
    """Run terwayd until SIGTERM or SIGINT; SIGUSR1 writes all stacks to stderr."""
    faulthandler.register(signal.SIGUSR1)
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
        configure_log(options.log_level)
        if options.is_preparing:
            _prepare(options)
            return
        asyncio.run(leave(options) if options.is_uninstalling else run(options))
    except VpcError as error:
        sys.exit(f"terwayd: {error}")
    except BaseExceptionGroup as group:
        known, unknown = group.split(VpcError)
        if known is None or unknown is not None:
            raise
        sys.exit(f"terwayd: {'; '.join(map(str, known_errors(known)))}")


def _prepare(options: Options) -> None:
    from terway.agent.prepare import Host, prepare, run_on_host  # no terwayd that serves needs it

    for line in prepare(options, Host(root=options.root, run=run_on_host)):
        _log.info("terwayd.prepared", what=line)


async def leave(options: Options) -> None:
    """Take out of the node's kernel what no pod needs to go on. Raises where a terwayd runs."""
    options.paths.make_folders()
    async with open_lock(options.paths.lock):
        with open_route_socket() as sock:
            for line in uninstall(sock, Pins(options.paths.pins), _namespaces(options.paths)):
                _log.info("terwayd.removed", what=line)


def _namespaces(paths: Paths) -> tuple[str, ...]:
    """Return those of the pods in the journal; where there is none, terwayd has had none."""
    try:
        held = read_journal(paths.journal).attachments
    except StoreError as error:
        _log.info("terwayd.no_journal", why=str(error))
        return ()
    return tuple(one.netns for one in held)


async def run(options: Options) -> None:
    """Open the outside and run the daemon until a signal.

    Raises UsageError for what a person must mend, TransientError when the instance's own network
    or metadata are not there yet: whoever started terwayd starts it again.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    options.paths.make_folders()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_lock(options.paths.lock))
        last = LastError(options.paths.last_error)
        stack.enter_context(last.kept())
        client = await _open_kube_client(stack, options)
        async with told_at_node(client, options.node_name):
            terwayd = await _open(stack, options, client, stop)
        async with asyncio.TaskGroup() as tasks:
            settling = tasks.create_task(_settle(terwayd.ready, last))
            await terwayd.run()
            settling.cancel()


async def _settle(ready: asyncio.Event, last: LastError) -> None:
    await ready.wait()
    last.forget()
    settle()


def _check_instance(
    config: AgentConfig, allowance: Allowance, mode: Mode, held: tuple[Attachment, ...]
) -> tuple[Caution, ...]:
    """Return what the instance makes less of than was asked for. Raises what cannot be at all."""
    return (
        *check_capacity(allowance.limits, mode, config.eni.ip_stack, held),
        *check_possible(config.eni, allowance.limits, mode),
    )


async def _open(
    stack: AsyncExitStack, options: Options, client: KubeClient | None, stop: asyncio.Event
) -> Terwayd:
    """Open everything that terwayd stands on; it is closed with `stack`."""
    paths = options.paths
    kept = InstanceFile(paths.state_dir / "instance.json")
    calls = CallMetrics()
    metadata = await _open_metadata(stack, options, calls)
    place, config = await _read_start(options, client, metadata, kept)
    cloud: EcsClient | SupplySide
    if config.eni.is_centralized:
        cloud = await open_supply(client, options, config, place, kept.read())
        allowance = cloud.allowance
    else:
        cloud = await _open_cloud(stack, options, config, place.region_id, metadata)
        cloud.observe(calls.openapi)
        allowance = await read_allowance(cloud, place, kept.read())
    kept.write(known := Known(place=place, allowance=allowance))
    store = stack.enter_context(open_store(paths.journal))
    upstream = await find_upstream(store, paths, metadata, client)
    held = upstream.held
    kept_mode = KeptMode(paths.state_dir / "node_mode")
    mode = await read_node_mode(client, options.node_name, kept_mode, held)
    cautions = _check_instance(config, allowance, mode, held)
    kernel = await stack.enter_async_context(open_kernel())
    chosen = await _choose_datapath(kernel, mode, options, config, allowance)
    mode = chosen.mode
    support = await kernel.limit_support()
    instance, seed = instance_facts(place, allowance), f"{time.time_ns():x}"
    is_led = leads_services(chosen, client, config)
    facts = _with_datapath(await configured_facts(kernel, config), chosen, held, is_led)
    node = with_limits(facts, config.cni, support)

    def shape_now(now: AgentConfig) -> Shape:
        check_possible(now.eni, allowance.limits, mode)
        pool = pool_config(now.eni, instance, token_seed=seed)
        if isinstance(cloud, SupplySide):
            pool = cloud.shape(pool, now.eni, mode)
        return shape_of(mode, now, pool, node)

    shape = shape_now(config)
    lists = unsuitable_lists(paths.cni_conf_dir)
    said = (*config.warnings, *cautions, *lists, *limit_cautions(mode, config.cni, support))
    kube = _kube_side(client, options, replace(config, warnings=said))
    terwayd = Terwayd(
        _setup(options, config, shape),
        paths=paths,
        kernel=kernel,
        store=store,
        cloud=cloud.supply if isinstance(cloud, SupplySide) else cloud,
        kube=kube,
        facts=shape.facts,
        stop=stop,
    )
    upstream.join(terwayd, kube)
    _keep_supplied(terwayd, cloud, kept, known)
    _note_trunk(terwayd, client, options, shape)
    serve_own_enis(
        terwayd,
        client,
        options=options,
        config=config,
        limits=allowance.limits,
        instance_id=place.instance_id,
        mode=mode,
        kernel=kernel,
    )
    around = _Around(options=options, client=client, kube=kube, kernel=kernel, chosen=chosen)
    configure_flows = _serve_more(terwayd, around, config, is_led=is_led)
    terwayd.metrics.sources.append(calls.metrics)

    def apply(now: AgentConfig) -> None:
        _apply(terwayd, _policy(mode, now), shape_now(now))
        configure_flows(now.eni)

    terwayd.follow(
        make_follower(config, options, client=client, kube=kube, check=shape_now, apply=apply)
    )
    return terwayd


def _keep_supplied(
    terwayd: Terwayd, cloud: EcsClient | SupplySide, kept: InstanceFile, known: Known
) -> None:
    """Have the control plane followed, or the instance's allowance kept current."""
    if isinstance(cloud, SupplySide):
        cloud.join(terwayd)
    else:
        terwayd.chores["instance"] = partial(keep_allowance_current, cloud, kept, known)


def _note_trunk(
    terwayd: Terwayd, client: KubeClient | None, options: Options, shape: Shape
) -> None:
    if client is not None and shape.pool.has_trunk:
        noting = partial(note_trunk, client, options.node_name, lambda: terwayd.pool.pool)
        terwayd.chores["trunk"] = noting


def _with_datapath(
    facts: NodeFacts, chosen: Chosen, held: tuple[Attachment, ...], has_services: bool
) -> NodeFacts:
    """Return the facts of a node with this data path, and pods of whichever mode they have."""
    return replace(
        facts,
        has_datapath=chosen.has_datapath,
        has_services=has_services,
        has_children=Mode.IPVLAN in (chosen.mode, *(one.spec.mode for one in held)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What stands around a terwayd that is to do more than addresses."""

    options: Options
    client: KubeClient | None
    kube: KubeSide | None
    kernel: Kernel
    chosen: Chosen


def _serve_more(
    terwayd: Terwayd, around: _Around, config: AgentConfig, *, is_led: bool
) -> Callable[[EniConf], None]:
    """Have hostPorts, policies and services served, by the data path that was chosen.

    Return what hears of another configuration of the flow log.
    """
    options, kube, paths = around.options, around.kube, around.options.paths
    _watch_host_ports(terwayd, kube, config, is_led=is_led)
    show_choice(terwayd, kube, around.chosen, config.cni)
    if around.chosen.has_datapath:
        tell_datapath(terwayd, options.node_name, Pins(paths.pins))
    configure_flows = enforce_policies(terwayd, around.client, kube, options, config)
    if not around.chosen.has_datapath:
        _leave_datapath(terwayd, around.kernel, paths)
    serve_services(
        terwayd,
        kernel=around.kernel,
        client=around.client,
        kube=kube,
        options=options,
        config=config,
    )
    return configure_flows


def _leave_datapath(terwayd: Terwayd, kernel: Kernel, paths: Paths) -> None:
    """Have what a terwayd before this one has in eBPF go, once pods are judged without."""
    terwayd.chores["datapath gone"] = partial(
        leave_datapath,
        kernel,
        Pins(paths.pins),
        attachments=terwayd.pool.attachments,
        judged=terwayd.judged,
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


def _watch_host_ports(
    terwayd: Terwayd, kube: KubeSide | None, config: AgentConfig, *, is_led: bool
) -> None:
    """Have pods told of hostPorts, where nobody will map them; `is_led`: services are, here."""
    if kube is None or config.cni.maps_ports:
        return
    watch = HostPorts(changes=kube.changes, teller=kube.warnings).run
    wanted = config.eni.kube_proxy_replacement
    terwayd.chores["host ports"] = partial(watch_unless_ours, watch, wanted) if is_led else watch


def _setup(options: Options, config: AgentConfig, shape: Shape) -> Setup:
    return Setup(
        pool=shape.pool,
        conflist=shape.conflist,
        readonly_listen=options.readonly_listen,
        interfaces=_policy(shape.mode, config),
        follows_mtu=config.cni.mtu_bytes is None,
        has_host_peer=shape.has_host_peer,
    )


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


def _policy(mode: Mode, config: AgentConfig) -> InterfacePolicy:
    eni = config.eni
    return InterfacePolicy(
        mode=mode,
        routes=eni.extra_routes,
        has_vlan_devices=wants_vlan_devices(config.cni, mode),
        has_erdma=eni.uses_erdma,
    )


def _apply(terwayd: Terwayd, policy: InterfacePolicy, shape: Shape) -> None:
    """Have a running terwayd follow what became of a changed configuration."""
    terwayd.pool.configure(shape.pool)
    terwayd.verbs.follow(policy)


async def _open_metadata(
    stack: AsyncExitStack, options: Options, calls: CallMetrics
) -> MetadataClient:
    session = await stack.enter_async_context(open_session())
    metadata = MetadataClient(session, base_url=options.metadata_url)
    metadata.on_read = calls.metadata
    return metadata


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


async def _open_kube_client(stack: AsyncExitStack, options: Options) -> KubeClient | None:
    if not options.kubernetes:
        return None
    connection = (
        read_kubeconfig(options.kubeconfig) if options.kubeconfig else read_in_cluster(os.environ)
    )
    return await stack.enter_async_context(KubeClient(connection, user_agent="terwayd"))


def _kube_side(client: KubeClient | None, options: Options, config: AgentConfig) -> KubeSide | None:
    if client is None:
        return None
    return KubeSide(
        client,
        options.node_name,
        patches_pods=config.eni.patches_pod_ips,
        cautions=config.warnings,
    )


if __name__ == "__main__":
    main()
