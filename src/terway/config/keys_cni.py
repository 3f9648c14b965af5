"""The keys of our plugin in `10-terway.conf`, or in the list `10-terway.conflist`.

Source: AliyunContainerService/terway, plugin/driver/types/types.go and cmd/terway-cli/cni.go;
containernetworking/cni, SPEC.md, "Plugin configuration objects".
"""

from __future__ import annotations

from collections.abc import Mapping

from terway.config.choices import (
    Backend,
    BandwidthMode,
    Denied,
    PolicyProvider,
    VirtualType,
    VLANStrip,
)
from terway.config.declare import Effect, Key, Record, Reload, Values
from terway.config.kinds import Anything, Flag, ListOf, MapOf, Network, OneOf, Text, Whole
from terway.model.address import IPNetwork

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
DEFAULT_NAME = "terway"
DEFAULT_VERSION = "0.4.0"  # what the original writes, and every runtime understands
DEFAULT_MTU = 1500
LEAST_MTU, MOST_MTU = 1280, 9000  # RFC 8200, section 5; the largest frame that ECS carries

NAME: Key[str] = Key(
    name="name",
    kind=Text(
        pattern=r"[a-zA-Z0-9][a-zA-Z0-9_.-]*",
        words="a letter or digit, and then those, '_', '.' or '-'",
    ),
    default=DEFAULT_NAME,
    meaning="Name of the network",
    reload=Reload.RESTART,
)
CNI_VERSION: Key[str] = Key(
    name="cniVersion",
    kind=Text(
        pattern="|".join(one.replace(".", r"\.") for one in VERSIONS),
        words=f"one of {', '.join(VERSIONS)}",
    ),
    default=DEFAULT_VERSION,
    meaning="Version of the CNI specification that the runtime speaks with us",
    reload=Reload.RESTART,
)
TYPE: Key[str] = Key(
    name="type",
    kind=Text(pattern="terway", words='"terway"'),
    default="terway",
    meaning="The plugin's program",
    reload=Reload.RESTART,
)
CAPABILITIES: Key[Mapping[str, bool]] = Key(
    name="capabilities",
    kind=MapOf(of=Flag(), keys="capability"),
    default={},
    meaning="What the runtime tells with each call: bandwidth, …; hostPorts need portmap chained",
    reload=Reload.RESTART,
)
VIRTUAL_TYPE: Key[VirtualType] = Key(
    name="eniip_virtual_type",
    kind=OneOf(VirtualType),
    default=VirtualType.VETH,
    meaning="How pods get at a shared ENI: veth (policy routing), or an eBPF data path",
    reload=Reload.RESTART,
)
MTU: Key[int] = Key(
    name="mtu",
    kind=Whole(minimum=LEAST_MTU, maximum=MOST_MTU, also=(0,)),
    default=0,
    default_words=f"the node's own, or {DEFAULT_MTU} without auto_mtu",
    unit="bytes",
    meaning="MTU of pods' interfaces",
    reload=Reload.RESTART,
)
AUTO_MTU: Key[bool] = Key(
    name="auto_mtu",
    kind=Flag(),
    default=True,
    meaning="Pods' interfaces have the MTU of the node's own link, where mtu says nothing",
    reload=Reload.RESTART,
)
POLICY_PROVIDER: Key[PolicyProvider] = Key(
    name="network_policy_provider",
    kind=OneOf(PolicyProvider),
    default=PolicyProvider.IPTABLES,
    meaning="By what NetworkPolicy is enforced",
    effect=Effect.NONE,
    why="nftables enforces it, whichever is named",
)
POLICY_DENIED: Key[Denied] = Key(
    name="network_policy_denied",
    kind=OneOf(Denied),
    default=Denied.DROP,
    meaning="What NetworkPolicy does not allow is dropped, or rejected: the sender is told at once",
    reload=Reload.RESTART,
)
BANDWIDTH_MODE: Key[BandwidthMode] = Key(
    name="bandwidth_mode",
    kind=OneOf(BandwidthMode),
    default=BandwidthMode.TC,
    meaning="By what pods are held to their limits: tc (queues), or edt (earliest departure times)",
    reload=Reload.RESTART,
)
NETWORK_PRIORITY: Key[bool] = Key(
    name="enable_network_priority",
    kind=Flag(),
    default=False,
    meaning="Pods' packets leave an ENI in three classes, by k8s.aliyun.com/network-priority",
    reload=Reload.RESTART,
)
HOST_STACK_CIDRS: Key[tuple[IPNetwork, ...] | None] = Key(
    name="host_stack_cidrs",
    kind=ListOf(of=Network()),
    default=None,
    meaning="Destinations that pods reach through the node's own network stack",
    reload=Reload.RESTART,
)
DISABLE_HOST_PEER: Key[bool] = Key(
    name="disable_host_peer",
    kind=Flag(),
    default=False,
    meaning="Exclusive ENIs: no second leg to the node, and so neither services nor probes",
    reload=Reload.RESTART,
)
VLAN_STRIP_TYPE: Key[VLANStrip] = Key(
    name="vlan_strip_type",
    kind=OneOf(VLANStrip),
    default=VLANStrip.FILTER,
    meaning="Who takes the VLAN tag off a trunk member's frames: programs of eBPF at the trunk "
    "(filter), or a VLAN device of 8021q in the pod (vlan)",
    reload=Reload.RESTART,
)
SYMMETRIC_ROUTING: Key[bool] = Key(
    name="symmetric_routing",
    kind=Flag(),
    default=True,
    meaning="What came in through the node's own interface goes back out through it",
    reload=Reload.RESTART,
)
SYMMETRIC_INTERFACE: Key[str] = Key(
    name="interface",
    kind=Text(pattern=r"[^/\s]{1,15}", words="the name of a link"),
    default="",
    default_words="eth0, or what the node's default route is by",
    meaning="The node's own interface",
)
SYMMETRIC_MARK: Key[int] = Key(
    name="mark", kind=Whole(minimum=1, maximum=0xFFFFFFFF), default=0x10, meaning="Mark of packets"
)
SYMMETRIC_MASK: Key[int] = Key(
    name="mask",
    kind=Whole(minimum=1, maximum=0xFFFFFFFF),
    default=0x10,
    meaning="Bits of the mark that count",
)
SYMMETRIC_TABLE: Key[int] = Key(
    name="table_id",
    kind=Whole(minimum=1, maximum=252),
    default=100,
    meaning="Routing table of the way back",
)
SYMMETRIC_PRIORITY: Key[int] = Key(
    name="rule_priority",
    kind=Whole(minimum=1, maximum=32765),
    default=600,
    meaning="Priority of the rule that leads there",
)
SYMMETRIC_COMMENT: Key[str] = Key(
    name="comment",
    kind=Text(pattern=r"[\w.-]{1,64}", words="a word"),
    default="terway-symmetric",
    meaning="Comment of the firewall's rules",
)
SYMMETRIC_BACKEND: Key[Backend] = Key(
    name="backend",
    kind=OneOf(Backend),
    default=Backend.NFTABLES,
    meaning="What marks connections: nftables does, whichever is named",
)
SYMMETRIC_CONFIG: Key[Values | None] = Key(
    name="symmetric_routing_config",
    kind=Record(
        keys=(
            SYMMETRIC_INTERFACE,
            SYMMETRIC_MARK,
            SYMMETRIC_MASK,
            SYMMETRIC_TABLE,
            SYMMETRIC_PRIORITY,
            SYMMETRIC_COMMENT,
            SYMMETRIC_BACKEND,
        )
    ),
    default=None,
    meaning="Details of symmetric_routing",
    reload=Reload.RESTART,
)


def _without_effect(name: str, meaning: str, why: str, effect: Effect = Effect.NONE) -> Key[object]:
    return Key(name=name, kind=Anything(), default=False, meaning=meaning, effect=effect, why=why)


_CILIUM = "no program of Cilium runs here"
KEYS: tuple[Key[object], ...] = (
    CNI_VERSION,
    NAME,
    TYPE,
    CAPABILITIES,
    VIRTUAL_TYPE,
    POLICY_PROVIDER,
    POLICY_DENIED,
    BANDWIDTH_MODE,
    NETWORK_PRIORITY,
    HOST_STACK_CIDRS,
    DISABLE_HOST_PEER,
    VLAN_STRIP_TYPE,
    MTU,
    AUTO_MTU,
    SYMMETRIC_ROUTING,
    SYMMETRIC_CONFIG,
    _without_effect("dns", "DNS of pods", "pods have the DNS that Kubernetes gives them"),
    _without_effect("debug", "Log more", "what is logged is terwayd's --log-level"),
    _without_effect("cniVersions", "Versions", "it belongs to the list, beside cniVersion"),
    _without_effect("cilium_args", "Flags of cilium-agent", _CILIUM),
    _without_effect("cilium_enable_hubble", "Hubble", _CILIUM),
    _without_effect("cilium_hubble_metrics", "Hubble", _CILIUM),
    _without_effect("cilium_hubble_listen_address", "Hubble", _CILIUM),
    _without_effect("cilium_hubble_metrics_server", "Hubble", _CILIUM),
    _without_effect(
        "veth_prefix",
        "Prefix of host links, never read by anybody",
        "has no effect: host links are named cali…, as in the original",
        Effect.LEGACY,
    ),
    _without_effect(
        "ip_stack", "Old place of the key", "has no effect: write it into eni_conf", Effect.LEGACY
    ),
)
