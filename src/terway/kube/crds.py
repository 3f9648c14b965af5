"""Which custom resources do control plane and nodes talk by?

    PodNetworking   what a pod's network is to be          written by users
    PodENI          the interfaces of one pod, their life  written by the control plane
    NetworkInterface one ENI of a PodENI, or to be         written by the control plane
    Node            the pool of one node                   spec: its agent; status: control plane
    NodeRuntime     what of that pool is in use            written by the agent

Group network.alibabacloud.com/v1beta1; field names are upstream's, byte for byte. Fields that are
ours say so; other tools skip them. Times are RFC 3339 text, as the API has them. The schemas are
in controlplane/crds/; a test compares the two.
Source: shared contract of upstream's pkg/apis/network.alibabacloud.com/v1beta1.
"""

from __future__ import annotations

from msgspec import field

from terway.kube.resource import Resource
from terway.kube.types import KubeObject, _Value

GROUP = "network.alibabacloud.com"
VERSION = "v1beta1"
POD_ENI_FINALIZER = f"{GROUP}/pod-eni"
ENI_FINALIZER = f"{GROUP}/eni"
NODE_FINALIZER = f"{GROUP}/node-controller"
POD_UID = "k8s.aliyun.com/pod-uid"  # annotation of a PodENI: the pod that it is bound for


class Dst(_Value, frozen=True, kw_only=True):
    """A route by an interface."""

    dst: str = ""


class AllocationType(_Value, frozen=True, kw_only=True):
    """`type` is Elastic or Fixed; a Fixed one goes after `release_after` (TTL), or Never."""

    type: str = ""
    release_strategy: str = ""
    release_after: str = ""


class AttachmentOptions(_Value, frozen=True, kw_only=True):
    """Whether an ENI is to be a member of the node's trunk; None: as the node has it."""

    trunk: bool | None = None


class AllocatedENI(_Value, frozen=True, kw_only=True):
    """The ENI of an allocation."""

    id: str = ""
    vpc_id: str = field(default="", name="vpcID")
    mac: str = ""
    zone: str = ""
    vswitch_id: str = field(default="", name="vSwitchID")
    resource_group_id: str = field(default="", name="resourceGroupID")
    security_group_ids: tuple[str, ...] = field(default=(), name="securityGroupIDs")
    attachment_options: AttachmentOptions | None = None
    traffic_mode: str = field(default="", name="networkInterfaceTrafficMode")  # ours


class Allocation(_Value, frozen=True, kw_only=True):
    """One interface of a pod. `interface` is empty for eth0."""

    eni: AllocatedENI = AllocatedENI()
    ipv4: str = ""
    ipv6: str = ""
    ipv4_cidr: str = field(default="", name="ipv4CIDR")
    ipv6_cidr: str = field(default="", name="ipv6CIDR")
    interface: str = ""
    default_route: bool = False
    extra_routes: tuple[Dst, ...] = ()
    allocation_type: AllocationType = AllocationType()
    extra_config: dict[str, str] = field(default_factory=dict)


class PodENISpec(_Value, frozen=True, kw_only=True):
    """What a pod is to have."""

    allocations: tuple[Allocation, ...] = ()
    zone: str = ""


class ENIInfo(_Value, frozen=True, kw_only=True):
    """One ENI as it is. `vid` is the VLAN id of a member; `status` Bind, Unbind or Deleted."""

    id: str = ""
    type: str = ""
    vid: int = 0
    status: str = ""
    network_card_index: int | None = None
    vf_id: int | None = field(default=None, name="vfID")


class PodENIStatus(_Value, frozen=True, kw_only=True):
    """Where in its life a PodENI is.

    `phase`: empty, Binding, Bind, Detaching, Unbind, Deleting. `eni_infos` is by ENI id.
    """

    phase: str = ""
    instance_id: str = field(default="", name="instanceID")
    trunk_eni_id: str = field(default="", name="trunkENIID")
    msg: str = ""
    pod_last_seen: str | None = None
    eni_infos: dict[str, ENIInfo] = field(default_factory=dict)


class PodENI(KubeObject, frozen=True, kw_only=True):
    """The interfaces of the pod of the same name."""

    spec: PodENISpec = PodENISpec()
    status: PodENIStatus = PodENIStatus()


class ENIOptions(_Value, frozen=True, kw_only=True):
    """Default, ENI or Trunk; empty is Default: as the node has it."""

    eni_type: str = ""


class LabelRequirement(_Value, frozen=True, kw_only=True):
    """One expression of a label selector."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(_Value, frozen=True, kw_only=True):
    """A label selector, as Kubernetes has it."""

    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[LabelRequirement, ...] = ()


class PodNetworkingSelector(_Value, frozen=True, kw_only=True):
    """Which pods: each selector that is set must match, and one must be set."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class VSwitchSelectOptions(_Value, frozen=True, kw_only=True):
    """ordered (default), random or most."""

    vswitch_selection_policy: str = field(default="", name="vSwitchSelectionPolicy")


class PodNetworkingSpec(_Value, frozen=True, kw_only=True):
    """What the network of the pods that are selected is to be."""

    eni_options: ENIOptions = ENIOptions()
    allocation_type: AllocationType = AllocationType()
    selector: PodNetworkingSelector = PodNetworkingSelector()
    security_group_ids: tuple[str, ...] = field(default=(), name="securityGroupIDs")
    vswitch_options: tuple[str, ...] = field(default=(), name="vSwitchOptions")
    vswitch_select_options: VSwitchSelectOptions = field(
        default=VSwitchSelectOptions(), name="vSwitchSelectOptions"
    )


class VSwitchInZone(_Value, frozen=True, kw_only=True):
    """A vSwitch, and where it is."""

    id: str = ""
    zone: str = ""


class PodNetworkingStatus(_Value, frozen=True, kw_only=True):
    """Ready, with its vSwitches, or Fail, with a message."""

    status: str = ""
    vswitches: tuple[VSwitchInZone, ...] = field(default=(), name="vSwitches")
    update_at: str | None = None
    message: str = ""


class PodNetworking(KubeObject, frozen=True, kw_only=True):
    """A network that pods can have."""

    spec: PodNetworkingSpec = PodNetworkingSpec()
    status: PodNetworkingStatus = PodNetworkingStatus()


class ManagePolicy(_Value, frozen=True, kw_only=True):
    """Whether the ENI is kept when nobody has it, and whether it is somebody else's."""

    cache: bool = False
    unmanaged: bool = field(default=False, name="unManaged")


class ObjectRef(_Value, frozen=True, kw_only=True):
    """An object, by name."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class NetworkInterfaceSpec(_Value, frozen=True, kw_only=True):
    """An ENI, and whose it is."""

    eni: AllocatedENI = AllocatedENI()
    ipv4: str = ""
    ipv6: str = ""
    ipv4_cidr: str = field(default="", name="ipv4CIDR")
    ipv6_cidr: str = field(default="", name="ipv6CIDR")
    extra_config: dict[str, str] = field(default_factory=dict)
    manage_policy: ManagePolicy = ManagePolicy()
    pod_eni_ref: ObjectRef | None = field(default=None, name="podENIRef")


class NetworkInterfaceStatus(_Value, frozen=True, kw_only=True):
    """Where the ENI is. `phase` as a PodENI's."""

    phase: str = ""
    eni_info: ENIInfo = field(default=ENIInfo(), name="eniInfo")
    instance_id: str = field(default="", name="instanceID")
    trunk_eni_id: str = field(default="", name="trunkENIID")
    network_card_index: int | None = None
    node_name: str = ""


class NetworkInterface(KubeObject, frozen=True, kw_only=True):
    """An ENI of a pod; named by the ENI's id."""

    spec: NetworkInterfaceSpec = NetworkInterfaceSpec()
    status: NetworkInterfaceStatus = NetworkInterfaceStatus()


class NodeMetadata(_Value, frozen=True, kw_only=True):
    """Which instance a node is."""

    region_id: str = field(default="", name="regionID")
    instance_type: str = ""
    instance_id: str = field(default="", name="instanceID")
    zone_id: str = field(default="", name="zoneID")


class NetworkCard(_Value, frozen=True, kw_only=True):
    """A physical card that ENIs of the instance are on."""

    index: int | None = None  # of the first it is 0, which must not be left out


class NodeCap(_Value, frozen=True, kw_only=True):
    """What the instance's type allows. Bandwidth is in kbit/s, as the cloud has it."""

    adapters: int = 0
    eri_quantity: int = 0
    total_adapters: int = 0
    ipv4_per_adapter: int = 0
    ipv6_per_adapter: int = 0
    member_adapter_limit: int = 0
    max_member_adapter_limit: int = 0
    instance_bandwidth_rx: int = 0
    instance_bandwidth_tx: int = 0
    network_cards: tuple[NetworkCard, ...] = ()
    network_cards_count: int | None = None


class NodeENISpec(_Value, frozen=True, kw_only=True):
    """What new ENIs are made of, and which belong to the pool."""

    tag: dict[str, str] = field(default_factory=dict)
    tag_filter: dict[str, str] = field(default_factory=dict)
    tag_block_list: dict[str, str] = field(default_factory=dict)
    vswitch_options: tuple[str, ...] = field(default=(), name="vSwitchOptions")
    security_group_ids: tuple[str, ...] = field(default=(), name="securityGroupIDs")
    resource_group_id: str = field(default="", name="resourceGroupID")
    enable_ipv4: bool = field(default=False, name="enableIPv4")
    enable_ipv6: bool = field(default=False, name="enableIPv6")
    enable_erdma: bool = field(default=False, name="enableERDMA")
    enable_trunk: bool = False
    vswitch_select_policy: str = field(default="", name="vSwitchSelectPolicy")
    enable_ip_prefix: bool = field(default=False, name="enableIPPrefix")
    ipv4_prefix_count: int = 0
    ipv6_prefix_count: int = 0


class Reclaim(_Value, frozen=True, kw_only=True):
    """How an untouched pool shrinks. Durations as Go has them."""

    after: str = ""
    interval: str = ""
    batch_size: int = 0
    jitter_factor: str = ""


class NodePoolSpec(_Value, frozen=True, kw_only=True):
    """How many addresses wait for pods."""

    max_pool_size: int = 0
    min_pool_size: int = 0
    pool_sync_period: str = ""
    reclaim: Reclaim | None = None
    warm_up_size: int = 0


class Flavor(_Value, frozen=True, kw_only=True):
    """So many ENIs of a kind: Secondary or Trunk, Standard or HighPerformance."""

    network_interface_type: str = ""
    network_interface_traffic_mode: str = ""
    count: int = 0


class DatapathSpec(_Value, frozen=True, kw_only=True):
    """veth, ipvlan or datapathv2."""

    type: str = ""


class NodeSpec(_Value, frozen=True, kw_only=True):
    """What a node is (by the control plane), and what its pool is to be (by its agent)."""

    node_metadata: NodeMetadata = NodeMetadata()
    node_cap: NodeCap = NodeCap()
    datapath: DatapathSpec | None = None
    eni: NodeENISpec | None = None  # None: its agent has not spoken yet
    pool: NodePoolSpec | None = None
    flavor: tuple[Flavor, ...] = ()


class NodeIP(_Value, frozen=True, kw_only=True):
    """One address of an ENI. `status` is Valid, Invalid or Deleting.

    `recall` is ours: the number of the wish to have a Deleting address back. An agent's answer to
    another number is an answer to another question.
    """

    ip: str = ""
    primary: bool = False
    status: str = ""
    pod_id: str = field(default="", name="podID")
    pod_uid: str = field(default="", name="podUID")
    ip_name: str = field(default="", name="ipName")  # of Lingjun nodes
    recall: int = 0


class NodePrefix(_Value, frozen=True, kw_only=True):
    """One prefix of an ENI. `status` is Valid, Frozen, Invalid or Deleting."""

    prefix: str = ""
    status: str = ""
    frozen_expire_at: str | None = None
    recall: int = 0  # ours, as in NodeIP


class ENICondition(_Value, frozen=True, kw_only=True):
    """What is wrong with an ENI."""

    observed_time: str | None = None
    message: str = ""


class NodeNetworkInterface(_Value, frozen=True, kw_only=True):
    """An ENI of the node's pool. `ipv4`, `ipv6` are by address; `status` is the cloud's word."""

    id: str = ""
    status: str = ""
    mac_address: str = ""
    vswitch_id: str = field(default="", name="vSwitchID")
    security_group_ids: tuple[str, ...] = field(default=(), name="securityGroupIDs")
    primary_ip_address: str = field(default="", name="primaryIPAddress")
    traffic_mode: str = field(default="", name="networkInterfaceTrafficMode")
    type: str = field(default="", name="networkInterfaceType")
    unschedulable: bool = False
    ipv4_cidr: str = field(default="", name="ipv4CIDR")
    ipv6_cidr: str = field(default="", name="ipv6CIDR")
    ipv4: dict[str, NodeIP] = field(default_factory=dict)
    ipv6: dict[str, NodeIP] = field(default_factory=dict)
    ipv4_prefix: tuple[NodePrefix, ...] = ()
    ipv6_prefix: tuple[NodePrefix, ...] = ()
    conditions: dict[str, ENICondition] = field(default_factory=dict)


class NodeStatus(_Value, frozen=True, kw_only=True):
    """The pool of the node, as the control plane has it."""

    next_sync_open_api_time: str | None = field(default=None, name="nextSyncOpenAPITime")
    last_sync_open_api_time: str | None = field(default=None, name="lastSyncOpenAPITime")
    last_modified_time: str | None = None
    next_idle_ip_reclaim_time: str | None = field(default=None, name="nextIdleIPReclaimTime")
    warm_up_target: int = 0
    warm_up_allocated_count: int = 0
    warm_up_completed: bool = False
    network_interfaces: dict[str, NodeNetworkInterface] = field(default_factory=dict)
    journal: str = ""  # ours: the control plane's intents with their tokens, for its successor
    reason: str = ""  # ours: why the node gets no more addresses now; empty when it does
    # Ours: how often addresses were recalled, or a recall was taken back. It never goes back, so
    # an agent that has answered a recall knows an older status when it sees one.
    round: int = 0


class PoolNode(KubeObject, frozen=True, kw_only=True):
    """The pool of the node of the same name. Its kind is Node, in our group."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class RuntimeMoment(_Value, frozen=True, kw_only=True):
    """When a pod came, or went."""

    last_update_time: str | None = None


class RuntimePod(_Value, frozen=True, kw_only=True):
    """A pod on the node. `status` has the keys initial and deleted."""

    pod_id: str = field(default="", name="podID")
    status: dict[str, RuntimeMoment] = field(default_factory=dict)


class HeldIP(_Value, frozen=True, kw_only=True):
    """Ours: an address that may not be taken: a pod has it, or the kernel still knows it."""

    pod_uid: str = field(default="", name="podUID")
    pod_id: str = field(default="", name="podID")


class NodeRuntimeStatus(_Value, frozen=True, kw_only=True):
    """What the agent has made of the pool. All but `pods` are ours.

    `held` is by address. `released` answers recalls: address or prefix → number of the recall.
    `waiting` counts the interfaces that wait for an address. `seen` is the resourceVersion of the
    Node that all of this has taken in.
    """

    pods: dict[str, RuntimePod] = field(default_factory=dict)
    held: dict[str, HeldIP] = field(default_factory=dict)
    released: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    seen: str = ""


class NodeRuntime(KubeObject, frozen=True, kw_only=True):
    """What is in use on the node of the same name."""

    status: NodeRuntimeStatus = NodeRuntimeStatus()


POD_ENIS = Resource(
    group=GROUP, version=VERSION, plural="podenis", kind="PodENI", namespaced=True, read_as=PodENI
)
POD_NETWORKINGS = Resource(
    group=GROUP,
    version=VERSION,
    plural="podnetworkings",
    kind="PodNetworking",
    namespaced=False,
    read_as=PodNetworking,
)
NETWORK_INTERFACES = Resource(
    group=GROUP,
    version=VERSION,
    plural="networkinterfaces",
    kind="NetworkInterface",
    namespaced=False,
    read_as=NetworkInterface,
)
POOL_NODES = Resource(
    group=GROUP, version=VERSION, plural="nodes", kind="Node", namespaced=False, read_as=PoolNode
)
NODE_RUNTIMES = Resource(
    group=GROUP,
    version=VERSION,
    plural="noderuntimes",
    kind="NodeRuntime",
    namespaced=False,
    read_as=NodeRuntime,
)
