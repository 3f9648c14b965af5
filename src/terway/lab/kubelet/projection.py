"""How does the ConfigMap eni-config reach /etc/eni? As the kubelet projects a volume.

terwayd runs as a process of the node here, not as a pod, and finds the files where its DaemonSet
would mount them.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

from terway.kube.backoff import Backoff
from terway.kube.client import KubeClient, Selector
from terway.kube.informer import Informer
from terway.kube.resource import CONFIG_MAPS

NAMESPACE = "kube-system"
NAME = "eni-config"
FOLDER = Path("/etc/eni")


async def project_eni_config(client: KubeClient, *, written: Callable[[], None]) -> None:
    """Keep /etc/eni as the ConfigMap says until cancelled; `written` is called after each change.

    Files of a ConfigMap that is deleted stay, as they do for a running pod.
    """
    informer = Informer(
        client,
        CONFIG_MAPS,
        backoff=Backoff(random.Random(os.getpid()), initial_s=0.1, maximum_s=5.0),
        namespace=NAMESPACE,
        selector=Selector(fields=f"metadata.name={NAME}"),
    )
    with informer.subscribe() as changes:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(informer.run())
            async for change in changes:
                if change.new is not None:
                    write_files(FOLDER, change.new.data)
                    written()


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Make `folder` hold exactly `files`, each replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in {path.name for path in folder.iterdir()} - files.keys():
        (folder / stale).unlink()
    for name, text in files.items():
        draft = folder / f".{name}.new"
        draft.write_text(text)
        draft.rename(folder / name)
