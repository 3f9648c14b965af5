"""Follows eni-config while terwayd runs: what watches it, what decides, and what is changed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from terway.agent.config_watch import ConfigWatch, FilesWatch
from terway.agent.kube_side import KubeSide
from terway.agent.node_config import KeptPatch
from terway.agent.options import Options
from terway.agent.reload import Reloader
from terway.config.agent_config import AgentConfig
from terway.kube.client import KubeClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFollower:
    """The one that decides, and the loop that brings it what is wanted."""

    reloader: Reloader
    run: Callable[[], Coroutine[None, None, None]]


def make_follower(
    running: AgentConfig,
    options: Options,
    *,
    client: KubeClient | None,
    kube: KubeSide | None,
    check: Callable[[AgentConfig], object],
    apply: Callable[[AgentConfig], None],
) -> ConfigFollower:
    """Return who follows eni-config from now on; `running` is what terwayd started with."""
    tell = kube.tell_node if kube else _tell_nobody
    reloader = Reloader(running, check=check, apply=apply, tell=tell)
    kept = KeptPatch(options.paths.state_dir / "node_conf.json")
    if client is None:
        files = FilesWatch(reloader, options.paths.config, kept)
        return ConfigFollower(reloader=reloader, run=files.run)
    watch = ConfigWatch(
        client,
        options.node_name,
        reloader,
        namespace=options.namespace,
        config=options.paths.config,
        kept=kept,
    )
    return ConfigFollower(reloader=reloader, run=watch.run)


def _tell_nobody(type_: str, reason: str, message: str) -> None:
    """Without an API server the log has it all."""
