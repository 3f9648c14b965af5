"""What is known of a cluster, and of its nodes, before anything of it is migrated?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.cli.migrate_carried import Carried
from terway.datapath.takeover import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFate:
    """What would become of a pod of upstream on its node."""

    pod: str
    outcome: Outcome
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeWorld:
    """One node as it is. `records` counts upstream's journal, `held` ours.

    `lock` says whether a terwayd runs, `capabilities` what upstream's file of them has.
    """

    name: str
    fates: tuple[PodFate, ...] = ()
    records: int = 0
    held: int = 0
    is_taken: bool = False
    is_running: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)
    lost: tuple[str, ...] = ()  # pods of upstream that run, and have not their address by us
    links: tuple[str, ...] = ()  # of others' data paths: cilium_net, ipvl_7
    remains: tuple[str, ...] = ()  # of upstream's policy engines, in words
    kept: tuple[str, ...] = ()  # files of upstream that stay, and are not read
    conflist: str = ""  # the name of the list that the runtime has
    has_living_hooks: bool = True  # whether programs get to a link that carries packets unnoticed


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A DaemonSet or Deployment of Terway in the cluster."""

    kind: str
    namespace: str
    name: str
    image: str
    is_ours: bool
    is_apart: bool = False  # whether it keeps off nodes that are taken over


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWorld:
    """The cluster as its API server shows it. `crds` are versions by name, "" where none is said.

    `carried` are custom resources by kind, `webhooks` are names of configurations.
    """

    workloads: tuple[Workload, ...] = ()
    crds: Mapping[str, str] = field(default_factory=dict)
    carried: tuple[Carried, ...] = ()
    webhooks: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)  # eni-config


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a plan is made of. `cluster` is None where the API server was not to be reached."""

    cluster: ClusterWorld | None = None
    nodes: tuple[NodeWorld, ...] = ()
    unread: tuple[str, ...] = ()  # what could not be read, with the reason
