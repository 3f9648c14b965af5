"""What would become of each pod in upstream Terway's journal, as kernel and cloud are now?

Shared by terwayd, which takes them over, and terway-cli, which says it beforehand. Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from terway.cloud.metadata import MetadataENI
from terway.datapath.exclusive import desired_device
from terway.datapath.facts import NodeFacts
from terway.datapath.takeover import (
    Outcome,
    OwnerENI,
    Sight,
    Verdict,
    draft,
    host_link_of,
    judge,
    place_of_draft,
    without_doubles,
)
from terway.linux.kernel import Kernel
from terway.linux.old_filters import links_with_programs
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import UsageError
from terway.model.ids import ENIId, MacAddress
from terway.model.interface import Mode
from terway.model.upstream import UpstreamInterface, UpstreamPod
from terway.store.upstream import parse_record, read_relations

_NODE = NodeFacts(addresses=IPPair(), uplink="", families=(Family.V4, Family.V6))
_log = structlog.get_logger("takeover")


class ENISource(Protocol):
    """The metadata service."""

    async def eni(self, mac: MacAddress) -> MetadataENI | None:
        """Return the ENI of this instance with `mac`, None where there is none."""


class MemberSource(Protocol):
    """The API server."""

    async def member(self, ref: PodRef, interface: UpstreamInterface) -> OwnerENI | None:
        """Return the member ENI that an interface of a pod is, by its PodENI; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What upstream's journal is held against."""

    kernel: Kernel
    enis: ENISource
    members: MemberSource | None
    boot_id: str = ""  # of this start of the machine
    root: Path = Path("/")  # where the host's file system begins, and paths of its namespaces


async def judge_all(relations: Path, sources: Sources) -> tuple[Verdict, ...]:
    """Return what would become of each pod in upstream's journal; nothing is changed."""
    records = read_relations(relations)
    pods = [pod for key, value in records.items() if (pod := _parsed(key, value)) is not None]
    seen = [replace(pod, netns=_under(sources.root, pod.netns)) for pod in pods]
    return tuple(without_doubles([await _verdict(pod, sources) for pod in seen]))


def _under(root: Path, path: str) -> str:
    """Return a path of the host as it is found from here; empty stays empty.

    /var/run is a link to /run (FHS 3.0, 5.13), which would lead out of `root`.
    """
    if not path or root == Path("/"):
        return path
    inside = path.removeprefix("/var") if path.startswith("/var/run/") else path
    return str(root / inside.lstrip("/"))


def _parsed(key: str, value: bytes) -> UpstreamPod | None:
    try:
        return parse_record(key, value)
    except UsageError as error:
        _log.warning("takeover.unreadable", pod=key, error=str(error))
        return None


async def _verdict(pod: UpstreamPod, sources: Sources) -> Verdict:
    if not pod.netns or not pod.container_id or not pod.interfaces:
        why = "its record has no network namespace, container or interface"
        return Verdict(pod=pod, outcome=Outcome.GONE, why=why)
    drafts: list[Attachment] = []
    for interface in pod.interfaces:
        eni = await _owner_of(pod, interface, sources)
        if eni is None:
            why = f"no ENI of this instance has the MAC {interface.device_mac} of its record"
            return Verdict(pod=pod, outcome=Outcome.GONE, why=why)
        drafts.append(draft(pod, interface, eni, boot_id=sources.boot_id))
    try:
        sights = [await _look(one, sources.kernel) for one in drafts]
    except UsageError as error:  # its path leads to something that is no namespace
        return Verdict(pod=pod, outcome=Outcome.GONE, why=str(error))
    return judge(pod, drafts, sights)


async def _owner_of(
    pod: UpstreamPod, interface: UpstreamInterface, sources: Sources
) -> OwnerENI | None:
    """Return the ENI of an interface: a member by its PodENI, any other by the instance.

    A member of which nobody knows is one without an id: its pod is left alone.
    """
    if interface.vlan_id:
        known = sources.members and await sources.members.member(pod.pod, interface)
        nameless = OwnerENI(id=ENIId(""), mac=interface.device_mac, gateways=interface.gateways)
        return known or nameless
    eni = await sources.enis.eni(interface.device_mac)
    if eni is None:
        return None
    gateways = IPPair(v4=eni.gateway_v4, v6=eni.gateway_v6)
    return OwnerENI(id=eni.id, mac=eni.mac, gateways=gateways)


async def _look(one: Attachment, kernel: Kernel) -> Sight:
    found = await kernel.read_attachment(place_of_draft(one))
    if one.spec.mode is Mode.EXCLUSIVE:
        device = await kernel.read_device(desired_device(one, gateways=IPPair(), node=_NODE))
        return Sight(found=found, has_device=device.in_pod is not None)
    return Sight(found=found, has_programs=bool(links_with_programs([host_link_of(one)])))
