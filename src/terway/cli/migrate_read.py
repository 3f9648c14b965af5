"""What is there to be migrated? This node, and the cluster as its API server shows it."""

from __future__ import annotations

import configparser
import fcntl
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from terway.cli.migrate_carried import Carried, carry
from terway.cli.migrate_cluster import NAMESPACE
from terway.cli.migrate_reach import why_unread
from terway.cli.migrate_seen import GROUP, HOOKS, definitions, is_apart, is_ours, listed, raw
from terway.cli.migrate_world import ClusterWorld, NodeWorld, PodFate, Workload, World
from terway.cli.place import Place
from terway.cli.read_kube import open_client
from terway.cloud.metadata import MetadataClient
from terway.cloud.openapi import open_session
from terway.config.agent_config import FILES
from terway.config.schema import CONFIG_MAP
from terway.datapath.takeover import Outcome, Verdict
from terway.kube.client import KubeClient
from terway.kube.resource import CONFIG_MAPS, NODES
from terway.linux.kernel import Kernel, open_kernel
from terway.linux.living_links import is_supported
from terway.linux.remains import Engine, legacy_tables, read_remains
from terway.model.address import IPAddress
from terway.model.errors import VpcError
from terway.pooling.upstream import Sources, judge_all
from terway.pooling.upstream_members import Members
from terway.store.readonly import read_journal
from terway.store.records import Journal, StoreError
from terway.store.upstream import PODS, RELATIONS

_FOREIGN = ("cilium_", "ipvl_")
_VERSION = f"crd.{GROUP}/version"


async def read_world(place: Place) -> World:
    """Return what is known; what cannot be read is named with the reason."""
    unread: list[str] = []
    cluster: ClusterWorld | None = None
    nodes: tuple[NodeWorld, ...] = ()
    try:
        async with open_client(place) as client:
            cluster = await _read_cluster(client)
            if _is_node(place):
                nodes = (await _read_node(place, client),)
    except VpcError as error:
        unread.append(why_unread(error))
    if not nodes and _is_node(place):
        try:
            nodes = (await _read_node(place, None),)
        except VpcError as error:
            unread.append(f"node {place.node_name}: {error}")
    return World(cluster=cluster, nodes=nodes, unread=tuple(unread))


def _is_node(place: Place) -> bool:
    """Return whether this machine has had a Terway; a person's own has not."""
    return place.config.parent.is_dir() or place.state_dir.is_dir()


async def _read_cluster(client: KubeClient) -> ClusterWorld:
    found = [
        _workload(kind, one)
        for kind in ("DaemonSet", "Deployment")
        for one in await listed(client, kind)
    ]
    there = await definitions(client)
    hooks = [one for kind in HOOKS for one in await listed(client, kind)]
    config = await client.get(CONFIG_MAPS, CONFIG_MAP, namespace=NAMESPACE)
    return ClusterWorld(
        workloads=tuple(found),
        crds={one["spec"]["names"]["plural"]: _version(one) for one in there},
        carried=tuple([await _carried(client, one) for one in there]),
        webhooks=tuple(dict.fromkeys(one["metadata"]["name"] for one in hooks)),
        nodes=tuple(one.metadata.name for one in (await client.list(NODES)).items),
        config={} if config is None else config.data,
    )


async def _carried(client: KubeClient, there: Mapping[str, Any]) -> Carried:
    """Return what becomes of the objects of one definition, which ours would replace."""
    names, is_namespaced = there["spec"]["names"], there["spec"]["scope"] == "Namespaced"
    kind = names["kind"]
    resource = raw(GROUP, "v1beta1", names["plural"], kind, namespaced=is_namespaced)
    ours = _our_definitions().get(kind)
    if ours is None or _version(ours) == _version(there):
        return carry(kind, (await client.list(resource)).items, None)
    schema = ours["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return carry(kind, (await client.list(resource)).items, schema)


@cache
def _our_definitions() -> dict[str, Any]:
    """Return what the control plane brings along, by kind."""
    folder = resources.files("terway") / "controlplane" / "crds"
    texts = (one.read_text() for one in folder.iterdir() if one.name.endswith(".yaml"))
    found = [yaml.safe_load(text) for text in texts]
    return {one["spec"]["names"]["kind"]: one for one in found}


def _version(crd: Mapping[str, Any]) -> str:
    notes = crd["metadata"].get("annotations") or {}
    return str(notes.get(_VERSION, ""))


def _workload(kind: str, one: Mapping[str, Any]) -> Workload:
    meta, pod = one["metadata"], one["spec"]["template"]["spec"]
    containers = pod.get("containers") or [{}]
    return Workload(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        image=str(containers[0].get("image", "")),
        is_ours=is_ours(one),
        is_apart=is_apart(one),
    )


async def _read_node(place: Place, client: KubeClient | None) -> NodeWorld:
    async with open_kernel() as kernel, open_session() as session:
        metadata = MetadataClient(session, base_url=place.metadata_url)
        members = None if client is None else Members(client)
        sources = Sources(kernel=kernel, enis=metadata, members=members, root=place.root)
        verdicts = await judge_all(place.state_dir / RELATIONS, sources)
        links = await _foreign_links(kernel)
    journal = _journal(place)
    held = {address for one in journal.attachments for address in one.lease.addresses}
    lost = [one for one in verdicts if one.outcome is not Outcome.GONE and not _has(one, held)]
    return NodeWorld(
        name=place.node_name,
        fates=tuple(
            PodFate(pod=str(one.pod), outcome=one.outcome, why=one.why) for one in verdicts
        ),
        records=len(verdicts),
        held=len(journal.attachments),
        is_taken=any(one.spec.macs or one.spec.is_left_alone for one in journal.attachments),
        is_running=_is_locked(place.run_dir / "terwayd.lock"),
        lost=tuple(str(one.pod) for one in lost) if journal.attachments else (),
        config=_config(place.config.parent),
        capabilities=_capabilities(place.run_dir / "node_capabilities"),
        links=links,
        remains=tuple(_remains()),
        kept=(PODS,) if (place.state_dir / PODS).is_file() else (),
        conflist=_list_name(place.conf_dir / "10-terway.conflist"),
        has_living_hooks=is_supported(),
    )


def _has(one: Verdict, held: set[IPAddress]) -> bool:
    mine = {address for part in one.pod.interfaces for address in part.addresses}
    return mine <= held


def _remains() -> Iterator[str]:
    """Yield what upstream's policy engines have in the kernel."""
    for engine in Engine:
        for line in read_remains(engine).lines():
            yield f"{engine.name.lower()}: {line}"
    if tables := legacy_tables():
        yield f"tables of iptables-legacy, which are not looked into: {', '.join(tables)}"


async def _foreign_links(kernel: Kernel) -> tuple[str, ...]:
    return tuple(one.name for one in await kernel.links() if one.name.startswith(_FOREIGN))


def _journal(place: Place) -> Journal:
    try:
        return read_journal(place.journal)
    except StoreError:
        return Journal()


def _is_locked(path: Path) -> bool:
    """Return whether a terwayd holds its lock: upstream's has the same."""
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _config(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in FILES if (folder / name).is_file()}


def _capabilities(path: Path) -> dict[str, str]:
    """Return upstream's file of capabilities: lines of key = value, in whatever sections."""
    parser = configparser.ConfigParser(strict=False)
    if path.is_file():
        parser.read_string(f"[top]\n{path.read_text()}")
    return dict(_pairs(parser))


def _pairs(parser: configparser.ConfigParser) -> Iterator[tuple[str, str]]:
    for section in parser.sections():
        yield from parser.items(section)


def _list_name(path: Path) -> str:
    try:
        return str(msgspec.json.decode(path.read_bytes(), type=dict[str, Any]).get("name", ""))
    except (OSError, msgspec.DecodeError):
        return ""
