"""The keys of `eni_conf` about pods and the node as a whole, and those that are history."""

from __future__ import annotations

from terway.config.choices import FlowLogging, ProxyReplacement
from terway.config.declare import Effect, Key, Record, Reload, Values
from terway.config.kinds import Anything, Flag, ListOf, Network, OneOf, Text, Whole
from terway.model.address import IPNetwork, IPStack

VERSION: Key[object] = Key(
    name="version",
    kind=Anything(),
    default="",
    meaning='"1", by convention',
    effect=Effect.COMMENT,
)
IP_STACK: Key[IPStack] = Key(
    name="ip_stack",
    kind=OneOf(IPStack),
    default=IPStack.IPV4,
    meaning="Families of addresses that pods have",
    reload=Reload.RESTART,
)
SERVICE_CIDR: Key[str] = Key(
    name="service_cidr",
    kind=Text(),
    default="",
    meaning='Range of the cluster\'s services, "v4", "v6" or "v4,v6": pods with an ENI of their '
    "own reach it by the node",
    reload=Reload.RESTART,
)
ROUTE_DST: Key[IPNetwork | None] = Key(name="dst", kind=Network(), default=None, meaning="Where to")
EXTRA_ROUTES: Key[tuple[Values, ...]] = Key(
    name="extra_routes",
    kind=ListOf(of=Record(keys=(ROUTE_DST,))),
    default=(),
    meaning="Routes in every pod, by the gateway of its vSwitch",
    reload=Reload.NEW_PODS,
)
ENABLE_PATCH_POD_IPS: Key[bool] = Key(
    name="enable_patch_pod_ips",
    kind=Flag(),
    default=True,
    meaning="Write a pod's addresses into its annotation k8s.aliyun.com/pod-ips",
    reload=Reload.RESTART,
)
ENABLE_ENI_TRUNKING: Key[bool] = Key(
    name="enable_eni_trunking",
    kind=Flag(),
    default=False,
    meaning="A trunk ENI, whose members go to pods with a fixed address or vSwitch of their own; "
    "the node's first ENI, made by who sees to its supply",
    reload=Reload.RESTART,
)
ENABLE_ERDMA: Key[bool] = Key(
    name="enable_erdma",
    kind=Flag(),
    default=False,
    meaning="ENIs with RDMA for pods that ask for one",
    reload=Reload.RESTART,
)
FLOW_LOG: Key[FlowLogging] = Key(
    name="flow_log",
    kind=OneOf(FlowLogging),
    default=FlowLogging.OFF,
    meaning="Connections that a node records in /var/lib/cni/terway/flows, 64 MiB of them at most; "
    "terway-cli flows follows them whatever it says",
    reload=Reload.AT_ONCE,
    is_ours=True,
)
FLOW_LOG_SAMPLE: Key[int] = Key(
    name="flow_log_sample",
    kind=Whole(minimum=1, maximum=1_000_000),
    default=100,
    meaning="With `flow_log: all`: one allowed connection in so many is recorded; denied ones all",
    reload=Reload.AT_ONCE,
    is_ours=True,
)
EBPF_MAX_CONNECTIONS: Key[int] = Key(
    name="ebpf_max_connections",
    kind=Whole(minimum=4096, maximum=4_194_304, also=(0,)),
    default=0,
    default_words="2048 for each pod that the node can have, from 65536 to 524288",
    meaning="Connections that an eBPF data path remembers; each takes some 300 bytes at once",
    reload=Reload.RESTART,
    is_ours=True,
)
EBPF_POLICY_ENTRIES: Key[int] = Key(
    name="ebpf_policy_entries",
    kind=Whole(minimum=4096, maximum=4_194_304),
    default=262_144,
    meaning="Addresses that policies of a node's pods may name, in an eBPF data path; nets and "
    "rules have room in proportion. Memory is taken as it is used, some 100 bytes each",
    reload=Reload.RESTART,
    is_ours=True,
)
EBPF_SERVICE_ENTRIES: Key[int] = Key(
    name="ebpf_service_entries",
    kind=Whole(minimum=1024, maximum=4_194_304),
    default=131_072,
    meaning="Addresses and ports of services that an eBPF data path can lead; endpoints have room "
    "for four times as many. Memory is taken as it is used, some 100 bytes each",
    reload=Reload.RESTART,
    is_ours=True,
)
KUBE_PROXY_REPLACEMENT: Key[ProxyReplacement] = Key(
    name="kube_proxy_replacement",
    kind=OneOf(ProxyReplacement),
    default=ProxyReplacement.AUTO,
    meaning="Whose services an eBPF data path leads to endpoints: off (nobody's), on (those of "
    "pods, of the node and of who is outside), auto (of pods; the rest where kube-proxy is not)",
    reload=Reload.RESTART,
    is_ours=True,
)
CUSTOM_STATEFUL_KINDS: Key[tuple[str, ...]] = Key(
    name="custom_stateful_workload_kinds",
    kind=ListOf(of=Text(pattern=".+", words='the kind of an owner: "…"')),
    default=(),
    meaning="Kinds of owners whose pods keep their names, as those of a StatefulSet do",
    effect=Effect.NONE,
    why="no pod keeps its address in this release",
)
DISABLE_DEVICE_PLUGIN: Key[bool] = Key(
    name="disable_device_plugin",
    kind=Flag(),
    default=False,
    meaning="Register no extended resources (aliyun/eni and so on) with the kubelet",
    reload=Reload.RESTART,
)

_EIP = "elastic IPs are given by another component: remove it"


def _gone(name: str, meaning: str, why: str) -> Key[object]:
    return Key(
        name=name, kind=Anything(), default="", meaning=meaning, effect=Effect.LEGACY, why=why
    )


KEYS: tuple[Key[object], ...] = (
    VERSION,
    IP_STACK,
    SERVICE_CIDR,
    EXTRA_ROUTES,
    ENABLE_PATCH_POD_IPS,
    ENABLE_ENI_TRUNKING,
    ENABLE_ERDMA,
    FLOW_LOG,
    FLOW_LOG_SAMPLE,
    EBPF_MAX_CONNECTIONS,
    EBPF_POLICY_ENTRIES,
    EBPF_SERVICE_ENTRIES,
    KUBE_PROXY_REPLACEMENT,
    CUSTOM_STATEFUL_KINDS,
    DISABLE_DEVICE_PLUGIN,
    _gone("prefix", "Prefix of ENIs' names, once", "nothing ever read it: remove it"),
    _gone("enable_eip_pool", "Elastic IPs, once", _EIP),
    _gone("enable_eip_migrate", "Elastic IPs, once", _EIP),
    _gone("allow_eip_rob", "Elastic IPs, once", _EIP),
)
