"""Does this terwayd lead services to their endpoints, and whose?

    kube_proxy_replacement   pods'    the node's and outside
    off                      no       no                        kube-proxy does all of it
    auto                     yes      where kube-proxy is not   looked at every half minute
    on                       yes      yes

What a pod sends is translated at its own hook, before kube-proxy's rules could see it, so the two
do not meet; what else comes to the node only one of them may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from terway.agent.ebpf.bringup import Bringup
from terway.agent.ebpf.choice import Chosen
from terway.agent.kube_side import KubeSide
from terway.agent.options import Options
from terway.agent.terwayd import Terwayd
from terway.config.agent_config import AgentConfig
from terway.config.choices import ProxyReplacement
from terway.kube.client import KubeClient
from terway.linux.kernel import Kernel

if TYPE_CHECKING:
    from terway.agent.service.service import ServiceProxy

LOOK_EVERY_S = 30.0

_log = structlog.get_logger("services")


def leads_services(chosen: Chosen, client: KubeClient | None, config: AgentConfig) -> bool:
    """Return whether pods' packets to services are led here, not by somebody else."""
    is_wanted = config.eni.kube_proxy_replacement is not ProxyReplacement.OFF
    return chosen.has_datapath and client is not None and is_wanted


async def watch_unless_ours(watch: Callable[[], Awaitable[None]], wanted: ProxyReplacement) -> None:
    """Watch hostPorts that nobody maps, unless they are led here as node ports are."""
    from terway.linux.kube_proxy import has_kube_proxy

    if wanted is ProxyReplacement.AUTO and await asyncio.to_thread(has_kube_proxy):
        await watch()


def serve_services(
    terwayd: Terwayd,
    *,
    kernel: Kernel,
    client: KubeClient | None,
    kube: KubeSide | None,
    options: Options,
    config: AgentConfig,
) -> None:
    """Have services led, where that is wanted and there is a data path. Before terwayd runs."""
    from terway.linux.ebpf.contract import SETTING_NODE_IN, SETTING_SERVICES

    bringup, wanted = terwayd.bringup, config.eni.kube_proxy_replacement
    if bringup is None:
        return
    if wanted is ProxyReplacement.OFF or client is None or kube is None:
        bringup.datapath.knowledge.switch(SETTING_SERVICES | SETTING_NODE_IN, is_on=False)
        return
    from terway.agent.ebpf.entry_start import start_entry
    from terway.agent.service.maps import KernelServiceMaps
    from terway.agent.service.service import ServiceProxy

    maps = KernelServiceMaps(bringup.datapath.object.maps)
    proxy = ServiceProxy(client, options.node_name, maps)
    entry = start_entry(
        terwayd,
        kernel,
        bringup,
        cgroup=options.cgroup,
        changes=kube.changes,
        pods=kube.pods_here,
        sink=proxy.view.put,
        is_healthy=lambda: proxy.is_healthy,
    )
    proxy.on_turn = entry.hear
    proxy.others.append(entry.fill)
    bringup.fills.append(proxy.fill)
    terwayd.chores["services"] = proxy.run
    terwayd.chores["services in force"] = partial(_put_in_force, bringup, proxy, wanted)
    terwayd.metrics.sources.append(proxy.metrics)
    terwayd.pages |= proxy.pages()


async def _put_in_force(bringup: Bringup, proxy: ServiceProxy, wanted: ProxyReplacement) -> None:
    """Have the programs look at services once they are there; follow whether kube-proxy is."""
    from terway.linux.ebpf.contract import SETTING_NODE_IN, SETTING_SERVICES
    from terway.linux.kube_proxy import has_kube_proxy

    await proxy.fill()
    knowledge = bringup.datapath.knowledge
    knowledge.switch(SETTING_SERVICES, is_on=True)
    is_alone: bool | None = None
    while True:
        is_now = wanted is ProxyReplacement.ON or not await asyncio.to_thread(has_kube_proxy)
        if is_now is not is_alone:
            is_alone = is_now
            knowledge.switch(SETTING_NODE_IN, is_on=is_alone)
            _log.info("services.in_force", of_pods=True, of_node_and_outside=is_alone)
        await asyncio.sleep(LOOK_EVERY_S)
