"""What is known of a node at one moment? One value, live or from a bundle.

Every command that explains is a function of it. A part that could not be read is None, and
`missing` says why: a command goes on with what there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from terway.cli.snapshot_ebpf import DataPathView
from terway.cli.snapshot_policy import PolicyView
from terway.cloud.inspect import Permission, SecurityGroup, VpcRoute
from terway.linux.inspect import Lookup, Seen
from terway.model.address import IPAddress, IPNetwork
from terway.model.attachment import Attachment, AttachmentKey
from terway.model.eni import ENI, InstanceLimits, VSwitch
from terway.model.errors import TransientError
from terway.model.ids import ENIId, InstanceId, MacAddress, VpcId, VSwitchId
from terway.model.network import Operation

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A source that did not answer."""

    source: str  # a field of Snapshot
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """An address of the pool, as the journal has it."""

    address: IPAddress
    eni_id: ENIId
    is_primary: bool
    is_retiring: bool
    rests_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixView:
    """A prefix of the pool, as the journal has it: all its addresses are one ENI's."""

    network: IPNetwork
    eni_id: ENIId
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ENIView:
    """An ENI of the pool, as the journal has it."""

    id: ENIId
    mac: MacAddress
    vswitch_id: VSwitchId
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalView:
    """The journal, and the node's mode, which is kept beside it.

    `intents` counts cloud calls that were begun and not recorded as done.
    """

    attachments: tuple[Attachment, ...] = ()
    slots: tuple[SlotView, ...] = ()
    prefixes: tuple[PrefixView, ...] = ()
    enis: tuple[ENIView, ...] = ()
    vswitches: tuple[VSwitch, ...] = ()
    intents: int = 0
    is_exclusive: bool = False  # pods have an ENI each


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """terwayd by its own word."""

    is_ready: bool
    capacity: int = 0
    can_add: bool = True
    reason: str = ""
    free: int = 0
    bound: int = 0
    version: str = ""
    asked_mode: str = ""  # eniip_virtual_type
    mode: str = ""  # that the node has
    lacks: str = ""  # why it is not what was asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """A queue that holds a pod to its bandwidth, and what it has lost so far."""

    link: str
    is_in_pod: bool  # what the pod sends; else what it receives
    dropped: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLoss:
    """What the guard of a pod's link, or the programs of a trunk, dropped for a reason."""

    reason: str
    meaning: str
    packets: int

    def __str__(self) -> str:
        return f"{self.packets} for {self.meaning}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """The kernel's state of one attachment: its namespace (None: gone), and what is not right.

    `repairs` make it right. `host_link` is the planned name of the host end.
    """

    key: AttachmentKey
    host_link: str
    seen: Seen | None
    differences: tuple[str, ...] = ()
    repairs: tuple[Operation, ...] = ()
    guard_losses: tuple[GuardLoss, ...] | None = None  # None: the host end has no source guard
    queues: tuple[QueueView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelView:
    """The node's namespace and those of its pods; `lookups` are the kernel's own verdicts."""

    node: Seen
    pods: tuple[PodView, ...] = ()
    differences: tuple[str, ...] = ()  # of the node's own part
    repairs: tuple[Operation, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    translates: bool | None = None  # whether something here translates destinations
    missing_tables: tuple[str, ...] = ()  # of nftables, that terwayd keeps
    trunk_losses: tuple[GuardLoss, ...] = ()  # of members of the node's trunk


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """What the metadata service says of the instance."""

    instance_id: InstanceId
    instance_type: str
    region_id: str
    zone_id: str
    vpc_id: VpcId
    vswitch_id: VSwitchId
    vpc_cidr: str
    enis: tuple[MetadataENIView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataENIView:
    """An ENI, as the metadata service says."""

    id: ENIId
    mac: MacAddress
    vswitch_id: VSwitchId
    cidr: str
    addresses: tuple[IPAddress, ...]
    gateways: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyView:
    """What the control plane says of the node's pool. Times are as the API has them, empty: none.

    `reason` is why there will be no more addresses now; `troubles` are what is wrong with ENIs,
    each with since when. Of `warm_up` addresses `warmed_up` were there once.
    """

    reason: str = ""
    compared_at: str = ""  # with the cloud
    compares_at: str = ""
    shrinks_at: str = ""
    warm_up: int = 0
    warmed_up: int = 0
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudView:
    """What the OpenAPI says. `peers` are ENIs of other instances that somebody asked about.

    `asked` are the addresses that were looked up, so that one without an ENI is known to have none.
    `supply` is there where the control plane answered instead.
    """

    enis: tuple[ENI, ...] = ()
    vswitches: tuple[VSwitch, ...] = ()
    limits: InstanceLimits | None = None
    groups: tuple[SecurityGroup, ...] = ()
    routes: tuple[VpcRoute, ...] = ()
    peers: tuple[ENI, ...] = ()
    asked: tuple[IPAddress, ...] = ()
    refusals: tuple[Missing, ...] = ()  # "groups" or "routes", and why they were not read
    supply: SupplyView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KubePod:
    """A pod of the API, as far as the network is concerned."""

    namespace: str
    name: str
    uid: str
    node: str
    phase: str
    addresses: tuple[IPAddress, ...]
    is_host_network: bool = False
    more_addresses: tuple[IPAddress, ...] = ()  # of further interfaces, by its PodENI

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeNode:
    """A node of the API."""

    name: str
    addresses: tuple[IPAddress, ...]
    is_ready: bool
    provider_id: str = ""
    conditions: tuple[str, ...] = ()  # those that say something is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeService:
    """A service, and the addresses behind it."""

    namespace: str
    name: str
    cluster_ips: tuple[IPAddress, ...]
    ports: tuple[int, ...]
    endpoints: tuple[IPAddress, ...] = ()
    node_ports: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeView:
    """What the Kubernetes API says. Pods of other nodes are there when a command asked for them."""

    pods: tuple[KubePod, ...] = ()
    nodes: tuple[KubeNode, ...] = ()
    services: tuple[KubeService, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """The configuration: its files without secrets, and what the parser says of them."""

    files: dict[str, str]
    refusal: str = ""
    cautions: tuple[str, ...] = ()
    chained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """The machine: kernel, files, programs, clocks, permissions."""

    kernel_release: str
    features: dict[str, str]  # what was probed: "yes", or why not
    files: tuple[str, ...] = ()  # those of a list of interest that are there
    programs: tuple[str, ...] = ()  # names of running programs of interest
    texts: dict[str, str] | None = None  # small files of interest, by path
    clock_skew_s: dict[str, float] | None = None  # by endpoint; positive: we are ahead
    permissions: tuple[Permission, ...] = ()
    path_mtu_bytes: dict[str, int] | None = None  # what got through to the gateway, by link
    agents: tuple[int, ...] = ()  # processes that are terwayd


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A node at one moment. `taken_at` is ISO 8601, UTC.

    `guests` are nodes that run within the host, each in a network of its own, as a lab's do.
    """

    taken_at: str
    node_name: str
    version: str
    journal: JournalView | None = None
    agent: AgentView | None = None
    kernel: KernelView | None = None
    instance: InstanceView | None = None
    cloud: CloudView | None = None
    kubernetes: KubeView | None = None
    config: ConfigView | None = None
    host: HostView | None = None
    policy: PolicyView | None = None
    ebpf: DataPathView | None = None  # None: there is none, or it was not read
    missing: tuple[Missing, ...] = ()
    guests: tuple[str, ...] = ()

    @property
    def is_blind(self) -> bool:
        """Return whether nothing is known but what any machine has: a kernel, and files."""
        told = (self.journal, self.agent, self.instance, self.cloud, self.kubernetes)
        return all(one is None for one in told)

    def why_missing(self, source: str) -> str:
        """Return why a part is None."""
        reasons = (one.reason for one in self.missing if one.source == source)
        return next(reasons, "it was not read")


def require(part: T | None, snapshot: Snapshot, source: str) -> T:
    """Return a part that a command cannot do without. Raises TransientError when it is None."""
    if part is None:
        raise TransientError(f"{source}: {snapshot.why_missing(source)}")
    return part
