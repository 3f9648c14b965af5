"""How do the parts of a terwayd come together on what it found at its start?

What is configured can change while it runs; everything else is found anew by the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from terway.agent.ebpf.leaving import leave_datapath
from terway.agent.ebpf.page import show_choice
from terway.agent.ebpf.telling import tell_datapath
from terway.agent.follow import make_follower
from terway.agent.handwritten import unsuitable_lists
from terway.agent.host_ports import HostPorts
from terway.agent.instance import Known, instance_facts, keep_allowance_current
from terway.agent.interfaces import InterfacePolicy
from terway.agent.kube_side import KubeSide
from terway.agent.limit_ways import limit_cautions, with_limits
from terway.agent.node_facts import configured_facts
from terway.agent.options import Options
from terway.agent.outside import Outside
from terway.agent.paths import Paths
from terway.agent.podeni_serving import serve_own_enis
from terway.agent.policing import enforce_policies
from terway.agent.pool_settings import pool_config
from terway.agent.possible import check_possible
from terway.agent.serving import serve_services, watch_unless_ours
from terway.agent.shape import Shape, shape_of
from terway.agent.supply_open import SupplySide
from terway.agent.terwayd import Setup, Terwayd
from terway.agent.trunk_devices import wants_vlan_devices
from terway.agent.trunk_note import note_trunk
from terway.config.agent_config import AgentConfig
from terway.config.eni_conf import EniConf
from terway.datapath.facts import NodeFacts
from terway.kube.client import KubeClient
from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel
from terway.linux.limit_support import LimitSupport
from terway.model.interface import Mode


async def assemble(outside: Outside, stop: asyncio.Event) -> Terwayd:
    """Return a terwayd that is ready to run until `stop`. Raises UsageError, naming the field."""
    options, config, client = outside.options, outside.config, outside.client
    shapes = await _shapes(outside)
    shape = shapes.shape(config)
    kube = _kube_side(outside, shapes.support)
    terwayd = Terwayd(
        _setup(options, config, shape),
        paths=options.paths,
        kernel=outside.kernel,
        store=outside.store,
        cloud=outside.cloud.supply if isinstance(outside.cloud, SupplySide) else outside.cloud,
        kube=kube,
        facts=shape.facts,
        stop=stop,
    )
    outside.upstream.join(terwayd, kube)
    _keep_supplied(terwayd, outside)
    _note_trunk(terwayd, client, options, shape)
    _serve_own_enis(terwayd, outside)
    configure_flows = _serve_more(terwayd, outside, kube)
    terwayd.metrics.sources.append(outside.calls.metrics)

    def apply(now: AgentConfig) -> None:
        _apply(terwayd, _policy(outside.mode, now, shape.facts), shapes.shape(now))
        configure_flows(now.eni)

    check = shapes.shape
    terwayd.follow(
        make_follower(config, options, client=client, kube=kube, check=check, apply=apply)
    )
    return terwayd


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shapes:
    """What terwayd has the shape of, now and after a change of the configuration."""

    outside: Outside
    support: LimitSupport
    node: NodeFacts
    seed: str  # of the tokens of this start's calls

    def shape(self, now: AgentConfig) -> Shape:
        """Return the shape that a configuration asks for. Raises UsageError."""
        mode, cloud, allowance = self.outside.mode, self.outside.cloud, self.outside.allowance
        check_possible(now.eni, allowance.limits, mode)
        instance = instance_facts(self.outside.place, allowance)
        pool = pool_config(now.eni, instance, token_seed=self.seed)
        if isinstance(cloud, SupplySide):
            pool = cloud.shape(pool, now.eni, mode)
        return shape_of(mode, now, pool, self.node)


async def _shapes(outside: Outside) -> _Shapes:
    kernel, config = outside.kernel, outside.config
    support = await kernel.limit_support()
    facts = _with_datapath(await configured_facts(kernel, config), outside)
    node = with_limits(facts, config.cni, support)
    return _Shapes(outside=outside, support=support, node=node, seed=f"{time.time_ns():x}")


def _keep_supplied(terwayd: Terwayd, outside: Outside) -> None:
    """Have the control plane followed, or the instance's allowance kept current."""
    cloud = outside.cloud
    if isinstance(cloud, SupplySide):
        cloud.join(terwayd)
    else:
        known = Known(place=outside.place, allowance=outside.allowance)
        terwayd.chores["instance"] = partial(keep_allowance_current, cloud, outside.kept, known)


def _note_trunk(
    terwayd: Terwayd, client: KubeClient | None, options: Options, shape: Shape
) -> None:
    if client is not None and shape.pool.has_trunk:
        noting = partial(note_trunk, client, options.node_name, lambda: terwayd.pool.pool)
        terwayd.chores["trunk"] = noting


def _with_datapath(facts: NodeFacts, outside: Outside) -> NodeFacts:
    """Return the facts of a node with this data path, and pods of whichever mode they have."""
    held = outside.upstream.held
    return replace(
        facts,
        has_datapath=outside.chosen.has_datapath,
        has_services=outside.is_led,
        has_children=Mode.IPVLAN in (outside.mode, *(one.spec.mode for one in held)),
    )


def _serve_own_enis(terwayd: Terwayd, outside: Outside) -> None:
    serve_own_enis(
        terwayd,
        outside.client,
        options=outside.options,
        config=outside.config,
        limits=outside.allowance.limits,
        instance_id=outside.place.instance_id,
        mode=outside.mode,
        kernel=outside.kernel,
    )


def _serve_more(
    terwayd: Terwayd, outside: Outside, kube: KubeSide | None
) -> Callable[[EniConf], None]:
    """Have hostPorts, policies and services served, by the data path that was chosen.

    Return what hears of another configuration of the flow log.
    """
    options, config, paths = outside.options, outside.config, outside.options.paths
    _watch_host_ports(terwayd, kube, config, is_led=outside.is_led)
    show_choice(terwayd, kube, outside.chosen, config.cni)
    if outside.chosen.has_datapath:
        tell_datapath(terwayd, options.node_name, Pins(paths.pins))
    configure_flows = enforce_policies(terwayd, outside.client, kube, options, config)
    if not outside.chosen.has_datapath:
        _leave_datapath(terwayd, outside.kernel, paths)
    serve_services(
        terwayd,
        kernel=outside.kernel,
        client=outside.client,
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
        interfaces=_policy(shape.mode, config, shape.facts),
        follows_mtu=config.cni.mtu_bytes is None,
        has_host_peer=shape.has_host_peer,
    )


def _policy(mode: Mode, config: AgentConfig, facts: NodeFacts) -> InterfacePolicy:
    eni = config.eni
    return InterfacePolicy(
        mode=mode,
        routes=eni.extra_routes,
        has_vlan_devices=wants_vlan_devices(config.cni, mode),
        has_programs=facts.has_datapath,
        has_erdma=eni.uses_erdma,
    )


def _apply(terwayd: Terwayd, policy: InterfacePolicy, shape: Shape) -> None:
    """Have a running terwayd follow what became of a changed configuration."""
    terwayd.pool.configure(shape.pool)
    terwayd.verbs.follow(policy)


def _kube_side(outside: Outside, support: LimitSupport) -> KubeSide | None:
    options, config = outside.options, outside.config
    if outside.client is None:
        return None
    return KubeSide(
        outside.client,
        options.node_name,
        patches_pods=config.eni.patches_pod_ips,
        cautions=(
            *config.warnings,
            *outside.cautions,
            *unsuitable_lists(options.paths.cni_conf_dir),
            *limit_cautions(outside.mode, config.cni, support),
        ),
    )
