"""What is this node configured to do? The projected ConfigMap, with the node's own part merged in.

The node's own part is a ConfigMap that the label `terway-config` of the Node names. It is kept,
so that a start while the API server is away does not turn the node into another one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from terway.config.agent_config import FILES, AgentConfig, parse_agent_config
from terway.config.keys_map import ENI_CONF as PATH
from terway.kube.client import KubeClient
from terway.kube.resource import CONFIG_MAPS, NODES
from terway.model.errors import TransientError, UsageError
from terway.model.ids import NodeName

LABEL = "terway-config"
# The start does not wait longer for the API server: pods that run need terwayd more than it does.
_PATIENCE_S = 0.5

_log = structlog.get_logger("config")


def read_files(config: Path) -> dict[str, str]:
    """Return the keys of eni-config, projected beside the file `config`. Raises UsageError."""
    try:
        found = {PATH: config.read_text()}
    except OSError as error:
        text = f"--config {config}: {error.strerror}: mount the ConfigMap eni-config there"
        raise UsageError(text, field="--config") from error
    beside = (config.parent / name for name in FILES if name != PATH)
    return found | {path.name: path.read_text() for path in beside if path.is_file()}


class KeptPatch:
    """The node's own part, as last seen. The file is there only while the node has one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str | None:
        """Return what is kept, or None."""
        return self._path.read_text() if self._path.exists() else None

    def write(self, patch: str | None) -> None:
        """Keep `patch`."""
        if patch is None:
            self._path.unlink(missing_ok=True)
            return
        draft = self._path.with_suffix(".draft")
        draft.write_text(patch)
        draft.rename(self._path)


async def read_patch(client: KubeClient, node: NodeName, *, namespace: str) -> str | None:
    """Return the `eni_conf` of the node's own ConfigMap, None where it has none.

    Raises UsageError when the label names a ConfigMap that is not there.
    """
    found = await client.get(NODES, node)
    name = found.metadata.labels.get(LABEL, "") if found else ""
    if not name:
        return None
    own = await client.get(CONFIG_MAPS, name, namespace=namespace)
    if own is None or PATH not in own.data:
        raise missing_own_part(node, namespace, name)
    return own.data[PATH]


def missing_own_part(node: NodeName, namespace: str, name: str) -> UsageError:
    """Return the error of a label that leads nowhere: the common part alone would be wrong."""
    text = (
        f"node {node} has the label {LABEL}={name}, but there is no ConfigMap {namespace}/{name} "
        f"with {PATH}: create it, or remove the label"
    )
    return UsageError(text, field=f"metadata.labels.{LABEL}")


async def read_agent_config(
    config: Path, client: KubeClient | None, node: NodeName, *, namespace: str, kept: KeptPatch
) -> AgentConfig:
    """Return the configuration, and log what in it is without effect.

    Raises UsageError for what cannot be right.
    """
    parsed = await _read(config, client, node, namespace=namespace, kept=kept)
    for warning in parsed.warnings:
        _log.warning("config.without_effect", field=warning.field, text=warning.text)
    return parsed


async def _read(
    config: Path, client: KubeClient | None, node: NodeName, *, namespace: str, kept: KeptPatch
) -> AgentConfig:
    patch = kept.read()
    if client is not None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                patch = await read_patch(client, node, namespace=namespace)
            kept.write(patch)
        except (TimeoutError, TransientError) as error:
            _log.warning("config.node_part_from_file", error=str(error) or "no answer in time")
    return parse_agent_config(read_files(config), patch=patch)
