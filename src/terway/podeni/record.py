"""What is known of one PodENI, its pod, the pod's node and its ENIs, as values?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from terway.model.ids import ENIId, InstanceId, NodeName, ZoneId
from terway.model.pod_network import ELASTIC, ENIOption, Lifetime


class Phase(Enum):
    """Where in its life a PodENI, or a NetworkInterface, is; the words are upstream's."""

    NEW = ""
    BINDING = "Binding"
    BIND = "Bind"
    DETACHING = "Detaching"
    UNBIND = "Unbind"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One interface of a PodENI. `eni_id` is None until its ENI is recorded.

    `addresses` are those of its ENI, in their canonical text.
    """

    name: str
    eni_id: ENIId | None = None
    eni: ENIOption = ENIOption.DEFAULT
    lifetime: Lifetime = ELASTIC
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where ENIs are, or are to be, attached: an instance, or a trunk of it."""

    instance_id: InstanceId
    trunk_eni_id: ENIId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A PodENI. `pod_uid` is the pod that it is for, empty when it waits for one.

    `last_seen` is seconds since the epoch. `is_deleted`: somebody wants it gone.
    """

    phase: Phase
    interfaces: tuple[Interface, ...]
    pod_uid: str = ""
    node_name: NodeName | None = None
    zone_id: ZoneId | None = None
    target: Target | None = None
    last_seen: float | None = None
    is_deleted: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the interfaces that have no ENI."""
        return tuple(one.name for one in self.interfaces if one.eni_id is None)

    @property
    def eni_ids(self) -> tuple[ENIId, ...]:
        """Return the ENIs that are recorded."""
        return tuple(one.eni_id for one in self.interfaces if one.eni_id is not None)

    @property
    def is_fixed(self) -> bool:
        """Return whether one of its ENIs waits for the next pod of the name."""
        return any(one.lifetime.is_fixed for one in self.interfaces if one.eni_id is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """The pod of the name, as far as its interfaces are concerned.

    `is_over`: its containers have ended, or it wants no ENI. `is_terminating`: they still run, and
    need their network. `addresses` are what the kubelet says that it runs with, in canonical text.
    """

    uid: str
    node_name: NodeName | None = None
    is_over: bool = False
    is_terminating: bool = False
    is_gated: bool = False
    addresses: frozenset[str] = frozenset()

    def runs_with(self, record: Record) -> bool:
        """Return whether it has an address of these ENIs; only who was given them can."""
        return any(self.addresses & one.addresses for one in record.interfaces if one.eni_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node that the cluster knows. `trunk_eni_id` is None until its agent has told of one.

    `gives_whole`: its pods share ENIs, and it says that some may have one whole. `has_programs`:
    its data path is in eBPF, which sees one device of a pod at most.
    """

    name: NodeName
    instance_id: InstanceId
    zone_id: ZoneId
    trunk_eni_id: ENIId | None = None
    is_exclusive: bool = False
    gives_whole: bool = False
    has_programs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIState:
    """An ENI as its NetworkInterface says. `is_lost`: the cloud does not know it any more."""

    phase: Phase
    target: Target | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What one step looks at. `node` is the pod's; None: it has none, or none that is known."""

    record: Record
    pod: PodState | None = None
    node: NodeState | None = None
    enis: Mapping[ENIId, ENIState] = field(default_factory=dict)
