"""Does this terwayd enforce policies, and write down what they do to connections?

What only one of the answers needs is imported by it alone: a node without policies has no room
for a compiler of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from terway.agent.ebpf.bringup import Bringup
from terway.agent.kube_side import KubeSide
from terway.agent.options import Options
from terway.agent.terwayd import Terwayd
from terway.config.agent_config import AgentConfig
from terway.config.choices import Denied, ProxyReplacement
from terway.config.eni_conf import EniConf
from terway.kube.client import KubeClient
from terway.model.address import IPNetwork

if TYPE_CHECKING:
    from terway.agent.policy.service import PolicyService
    from terway.linux.ebpf.policy_maps import PolicyMaps

_log = structlog.get_logger("terwayd")


def enforce_policies(
    terwayd: Terwayd,
    client: KubeClient | None,
    kube: KubeSide | None,
    options: Options,
    config: AgentConfig,
) -> Callable[[EniConf], None]:
    """Have policies enforced, or what an earlier terwayd had of them removed.

    Returns who follows what eni-config says of the flow log.
    """
    if client is None or kube is None:
        if config.wants_policy:
            _log.warning("policy.nobody_to_hear_it_from", remedy="give terwayd an API server")
        return _no_flows
    if not config.wants_policy:
        _remove_policies(terwayd, client, kube, options)
        return _no_flows
    from terway.agent.policy.service import Outside, PolicyService

    outside = Outside(
        client=client, node=options.node_name, tell_node=kube.warnings, tell=kube.warn
    )
    is_rejecting = config.cni.denied is Denied.REJECT
    maps = _policy_maps(terwayd, is_wanted=True, is_rejecting=is_rejecting)
    # What is translated in the node's stack is judged there, behind that.
    has_tables = maps is None or config.eni.kube_proxy_replacement is ProxyReplacement.OFF
    policies = PolicyService(outside, is_rejecting=is_rejecting, maps=maps, has_tables=has_tables)
    terwayd.enforce(policies)
    terwayd.judged = policies.filled
    if terwayd.bringup is not None:
        terwayd.bringup.fills.append(policies.filled)
        if not has_tables:
            _remove_tables(terwayd, terwayd.bringup)
    left_to_stack = () if maps is None or not has_tables else terwayd.left_to_stack
    return _log_flows(terwayd, policies, options, config.eni, left_to_stack)


def _policy_maps(
    terwayd: Terwayd, *, is_wanted: bool, is_rejecting: bool = False
) -> PolicyMaps | None:
    """Return the maps that judge pods' packets here; None where tables of nftables do."""
    if terwayd.bringup is None:
        return None
    from terway.linux.ebpf.contract import SETTING_POLICY, SETTING_REJECT
    from terway.linux.ebpf.policy_maps import PolicyMaps

    datapath = terwayd.bringup.datapath
    datapath.knowledge.switch(SETTING_POLICY, is_on=is_wanted)  # for who looks at it
    datapath.knowledge.switch(SETTING_REJECT, is_on=is_rejecting)
    return PolicyMaps(datapath.object.maps)


def _remove_tables(terwayd: Terwayd, bringup: Bringup) -> None:
    """Have tables go that another mode has left, once the data path judges all pods."""
    from terway.agent.policy.off import remove_tables

    async def tidy() -> None:
        await bringup.up()
        await remove_tables(terwayd.pool.attachments())

    terwayd.chores["policy tables"] = tidy


def _remove_policies(
    terwayd: Terwayd, client: KubeClient, kube: KubeSide, options: Options
) -> None:
    from terway.agent.policy.off import PolicyOff

    off = PolicyOff(
        client,
        options.node_name,
        attachments=terwayd.pool.attachments,
        told=kube.tell_policy_is_off,
        maps=_policy_maps(terwayd, is_wanted=False),
    )
    terwayd.chores["policy off"] = off.run


def _log_flows(
    terwayd: Terwayd,
    policies: PolicyService,
    options: Options,
    eni: EniConf,
    left_to_stack: tuple[IPNetwork, ...],
) -> Callable[[EniConf], None]:
    """Have connections recorded when somebody asks, or eni-config; return who follows that."""
    from terway.agent.flows.build import make_flow_log, page_of, wish_of
    from terway.agent.flows.ring import Programs

    programs = None
    if terwayd.watchers is not None:
        programs = Programs(watchers=terwayd.watchers, left_to_stack=left_to_stack)
    flows = make_flow_log(policies, options.node_name, options.paths.state_dir, programs)

    def configure(eni: EniConf) -> None:
        flows.configure(wish_of(eni.flow_log, eni.flow_log_sample))

    configure(eni)
    terwayd.chores["flows"] = flows.run
    path, stream = page_of(flows)
    terwayd.streams[path] = stream
    return configure


def _no_flows(_eni: EniConf) -> None:
    """Without policies nothing tells of connections."""
