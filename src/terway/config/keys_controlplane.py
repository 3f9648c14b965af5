"""The keys of ctrl-config and of its credential file, each declared once.

Source: upstream's types/controlplane/config_default.go; those that are ours say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from terway.config.declare import Effect, Key, Values
from terway.config.keys_cloud import BACKOFF_OVERRIDE as ENI_CONF_WAITS
from terway.config.kinds import Duration, Flag, ListOf, MapOf, Number, OneOf, Text, Whole
from terway.model.address import IPStack

_OFF = "0"
_LISTEN = Text(
    pattern=r"0|.*:\d{1,5}", words='an address and a port, "0.0.0.0:8080", or "0" for none'
)
_NAME = Text(
    pattern=r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", words="a name of Kubernetes: a-z, 0-9, - and ."
)


class DegradationLevel(Enum):
    """`degradation`: what pools do without while the cloud is in trouble."""

    NONE = ""
    L0 = "l0"  # no call for pools: nothing is added, given back or read
    L1 = "l1"  # nothing is given back, and no whole reading


class ControlPlaneIPAM(Enum):
    """`ipamType`: crd gives a PodENI to every pod."""

    DEFAULT = "default"
    CRD = "crd"
    NONE = ""


def _name(name: str, default: str, meaning: str) -> Key[str]:
    return Key(name=name, kind=_NAME, default=default, meaning=meaning)


def _flag(name: str, meaning: str, *, default: bool = False) -> Key[bool]:
    return Key(name=name, kind=Flag(), default=default, meaning=meaning)


def _seconds(name: str, default: float, meaning: str) -> Key[float]:
    return Key(name=name, kind=Duration(takes_ns=True), default=default, unit="s", meaning=meaning)


def _keys_at_a_time(name: str, default: int, most: int, whose: str, why: str = "") -> Key[int]:
    """Return a key of a controller; `why` says why it has no effect, where it has none."""
    return Key(
        name=name,
        kind=Whole(minimum=1, maximum=most),
        default=default,
        meaning=f"{whose} worked on at a time",
        effect=Effect.NONE if why else Effect.YES,
        why=why,
    )


def _required(name: str, pattern: str, words: str, meaning: str) -> Key[str]:
    kind = Text(pattern=f"({pattern})?", words=words)
    return Key(name=name, kind=kind, default="", default_words="required", meaning=meaning)


# Who works. Defaults of the three times are client-go's.
LEADER_ELECTION = _flag("leaderElection", "Several instances run, and one of them works")
LEASE_LOCK_NAME = _name("leaseLockName", "terway-controller-lock", "Lease that the leader holds")
LEASE_LOCK_NAMESPACE = _name("leaseLockNamespace", "kube-system", "Namespace of the Lease")
LEASE_DURATION = _seconds("leaseDuration", 15.0, "After so long without renewal another may lead")
RENEW_DEADLINE = _seconds("renewDeadline", 10.0, "Who could not renew for so long stops working")
RETRY_PERIOD = _seconds("retryPeriod", 2.0, "Time between two tries to take or renew the Lease")
CONTROLLER_NAMESPACE = _name(
    "controllerNamespace", "kube-system", "Where it runs, and eni-config is"
)
CONTROLLER_NAME = _name(
    "controllerName", "terway-controlplane", "Its name: of the Service, and of what it creates"
)

# Where it listens.
HEALTHZ: Key[str] = Key(
    name="healthzBindAddress",
    kind=_LISTEN,
    default="0.0.0.0:80",
    meaning="Where /healthz and /readyz are answered",
)
METRICS: Key[str] = Key(
    name="metricsBindAddress",
    kind=_LISTEN,
    default=_OFF,
    default_words="none",
    meaning="Where /metrics is answered",
)
CLUSTER_DOMAIN: Key[str] = Key(
    name="clusterDomain",
    kind=Text(pattern="[a-z0-9.-]+", words='a domain: "cluster.local"'),
    default="cluster.local",
    meaning="The cluster's domain, for the name in the webhook's certificate",
)
DISABLE_WEBHOOK = _flag("disableWebhook", "No webhook: pods have the networks they name themselves")
WEBHOOK_PORT: Key[int] = Key(
    name="webhookPort",
    kind=Whole(minimum=1, maximum=65535),
    default=4443,
    meaning="Port of the webhook",
)
WEBHOOK_URL: Key[str] = Key(
    name="webhookURL",
    kind=Text(pattern="(https://.+)?", words='a URL: "https://…:4443"'),
    default="",
    default_words="the Service of its name",
    meaning="Where the API server finds the webhook, if it runs outside of the cluster",
    is_ours=True,
)
CERT_DIR: Key[str] = Key(
    name="certDir",
    kind=Text(),
    default="/var/run/webhook-cert",
    meaning="Folder of the webhook's certificate",
    effect=Effect.NONE,
    why="the certificate is in its secret and in memory only",
)

# How much at a time.
POD_CONCURRENT = _keys_at_a_time("podMaxConcurrent", 10, 10_000, "Pods with a PodENI")
POD_ENI_CONCURRENT = _keys_at_a_time("podENIMaxConcurrent", 10, 10_000, "PodENIs")
NODE_CONCURRENT = _keys_at_a_time("nodeMaxConcurrent", 10, 10_000, "Nodes that come or change")
ENI_CONCURRENT = _keys_at_a_time("eniMaxConcurrent", 300, 20_000, "NetworkInterfaces")
MULTI_IP_POD_CONCURRENT = _keys_at_a_time(
    "multiIPPodMaxConcurrent",
    500,
    20_000,
    "Pods of pooled addresses",
    why="pods are counted with their node: multiIPNodeMaxConcurrent",
)
MULTI_IP_NODE_CONCURRENT = _keys_at_a_time(
    "multiIPNodeMaxConcurrent", 500, 20_000, "Pools of nodes"
)
SYNC_PERIOD = _seconds(
    "multiIPNodeSyncPeriod", 12 * 3600.0, "Time between whole readings of a node"
)
GC_PERIOD: Key[float] = Key(
    name="multiIPGCPeriod",
    kind=Duration(takes_ns=True),
    default=120.0,
    unit="s",
    meaning="Time between searches for ENIs without an owner",
    effect=Effect.NONE,
    why="they are looked for at each whole reading, every ten minutes",
)
SYNC_ON_FAILURE_LEAST = _seconds("multiIPMinSyncPeriodOnFailure", 1.0, "First wait after a failure")
SYNC_ON_FAILURE_MOST = _seconds(
    "multiIPMaxSyncPeriodOnFailure", 300.0, "Longest wait after failures in a row"
)
CONTROLLERS: Key[tuple[str, ...]] = Key(
    name="controllers",
    kind=ListOf(of=Text(pattern=r"-?[a-z-]+|\*", words='a name, "-name" or "*"')),
    default=(),
    default_words="pod-eni, pod, pod-networking, eni; with centralized IPAM also node, "
    "multi-ip-node, multi-ip-pod",
    meaning='Which controllers run: names, "-name" for one not to, "*" for all',
)
NODE_LABELS: Key[Mapping[str, str]] = Key(
    name="nodeLabelWhiteList",
    kind=MapOf(of=Text(), keys="label"),
    default={},
    default_words="all nodes",
    meaning="Only nodes with all of these labels are handled",
)

# Of which cluster, and what it has.
REGION_ID = _required("regionID", "[a-z0-9-]+", 'a region: "cn-hangzhou"', "Region of the cluster")
CLUSTER_ID = _required("clusterID", ".+", "the id of the cluster", "Id that ENIs are tagged with")
VPC_ID = _required("vpcID", "vpc-.+", 'the id of a VPC: "vpc-…"', "VPC of the cluster")
ENABLE_TRUNK = _flag("enableTrunk", "Nodes have trunk ENIs where their agents say so", default=True)
IP_STACK: Key[IPStack] = Key(
    name="ipStack",
    kind=OneOf(IPStack),
    default=IPStack.IPV4,
    meaning="Families of addresses that pods have",
)
INJECT_RESOURCE = _flag(
    "enableWebhookInjectResource", "Pods ask for aliyun/member-eni or aliyun/eni", default=True
)
SCHEDULING_GATE: Key[bool] = Key(
    name="enableSchedulingGate",
    kind=Flag(),
    default=False,
    meaning="Pods with a PodENI are not scheduled before their ENIs exist",
    is_ours=True,
)
DRAIN_SLEEP: Key[int] = Key(
    name="readinessGatePreStopSeconds",
    kind=Whole(minimum=0, maximum=600),
    # Longer than an instance that was killed is awaited: 15 s for its lease, 2.4 s for the next
    # try, and what the next one needs to read the cluster.
    default=25,
    unit="s",
    meaning="Pods with a readiness gate of a load balancer wait so long before they end, in "
    "containers without a preStop hook; 0: not at all",
    is_ours=True,
)
STATEFUL_KINDS: Key[tuple[str, ...]] = Key(
    name="customStatefulWorkloadKinds",
    kind=ListOf(of=Text()),
    default=(),
    meaning="Kinds of owners whose pods keep their names, beside StatefulSet",
)
IPAM_TYPE: Key[ControlPlaneIPAM] = Key(
    name="ipamType",
    kind=OneOf(ControlPlaneIPAM),
    default=ControlPlaneIPAM.NONE,
    meaning="crd: every pod has a PodENI",
)
CENTRALIZED_IPAM = _flag("centralizedIPAM", "Pools of nodes are managed here, not by their agents")
DEGRADATION: Key[DegradationLevel] = Key(
    name="degradation",
    kind=OneOf(DegradationLevel),
    default=DegradationLevel.NONE,
    meaning="l0: no call for pools. l1: nothing is given back, no whole reading. Followed while "
    "it runs",
)

# What it may ask of others.
# Upstream's defaults, 20 and 30, decide from a few hundred nodes on: see docs/design/scale.md.
KUBE_QPS: Key[float] = Key(
    name="kubeClientQPS",
    kind=Number(allows_zero=True),
    default=200.0,
    unit="requests per second",
    meaning="Most requests to the Kubernetes API; watches and the Lease are not counted; 0: any",
)
KUBE_BURST: Key[int] = Key(
    name="kubeClientBurst", kind=Whole(), default=300, meaning="Most of them at once"
)
VSWITCH_POOL_SIZE: Key[int] = Key(
    name="vSwitchPoolSize",
    kind=Whole(minimum=1),
    default=1000,
    meaning="vSwitches that are remembered",
    effect=Effect.NONE,
    why="all that pods may use are remembered: there are few",
)
VSWITCH_TTL = _seconds("vSwitchCacheTTL", 1200.0, "How long what is known of a vSwitch is used")
RATE_LIMIT: Key[Mapping[str, int]] = Key(
    name="rateLimit",
    kind=MapOf(of=Whole(minimum=1), keys="action"),
    default={},
    unit="calls per minute",
    meaning="What the account may call, by action; * for every other",
)
CALL_SHARE: Key[float] = Key(
    name="rateLimitShare",
    kind=Number(maximum=1.0),
    default=0.9,
    meaning="Share of these limits that this cluster uses",
    is_ours=True,
)
WAITS: Key[Mapping[str, Values]] = Key(
    name="backoffOverride",
    kind=ENI_CONF_WAITS.kind,
    default={},
    meaning="Waits between tries, by the name of what is tried",
    effect=Effect.NONE,
    why="waits double, and adapt to the cloud's throttling",
)
ENABLE_TRACE: Key[bool] = Key(
    name="enableTrace",
    kind=Flag(),
    default=False,
    meaning="OpenTelemetry traces",
    effect=Effect.NONE,
    why="the log has each round's facts, and metrics its times",
)
DEVICE_PLUGIN: Key[bool] = Key(
    name="enableDevicePlugin",
    kind=Flag(),
    default=False,
    meaning="Agents advertise aliyun/eni and aliyun/member-eni to the kubelet",
    effect=Effect.NONE,
    why="each agent does, unless eni_conf says disable_device_plugin",
)

KEYS: tuple[Key[object], ...] = (
    LEADER_ELECTION,
    LEASE_LOCK_NAME,
    LEASE_LOCK_NAMESPACE,
    LEASE_DURATION,
    RENEW_DEADLINE,
    RETRY_PERIOD,
    CONTROLLER_NAMESPACE,
    CONTROLLER_NAME,
    HEALTHZ,
    METRICS,
    CLUSTER_DOMAIN,
    DISABLE_WEBHOOK,
    WEBHOOK_PORT,
    WEBHOOK_URL,
    CERT_DIR,
    POD_CONCURRENT,
    POD_ENI_CONCURRENT,
    NODE_CONCURRENT,
    ENI_CONCURRENT,
    MULTI_IP_POD_CONCURRENT,
    MULTI_IP_NODE_CONCURRENT,
    SYNC_PERIOD,
    GC_PERIOD,
    SYNC_ON_FAILURE_LEAST,
    SYNC_ON_FAILURE_MOST,
    CONTROLLERS,
    NODE_LABELS,
    REGION_ID,
    CLUSTER_ID,
    VPC_ID,
    ENABLE_TRUNK,
    IP_STACK,
    INJECT_RESOURCE,
    SCHEDULING_GATE,
    DRAIN_SLEEP,
    STATEFUL_KINDS,
    IPAM_TYPE,
    CENTRALIZED_IPAM,
    DEGRADATION,
    KUBE_QPS,
    KUBE_BURST,
    VSWITCH_POOL_SIZE,
    VSWITCH_TTL,
    RATE_LIMIT,
    CALL_SHARE,
    WAITS,
    ENABLE_TRACE,
    DEVICE_PLUGIN,
)


def _secret(name: str, meaning: str) -> Key[str]:
    return Key(name=name, kind=Text(), default="", meaning=meaning)


ACCESS_KEY = _secret("accessKey", "Id of the access key that signs calls")
ACCESS_SECRET = _secret("accessSecret", "Secret of the access key")
CREDENTIAL_PATH = _secret("credentialPath", "File with an encrypted token that others keep fresh")
OTEL_ENDPOINT: Key[str] = Key(
    name="otelEndpoint",
    kind=Text(),
    default="",
    meaning="Where traces go",
    effect=Effect.NONE,
    why=ENABLE_TRACE.why,
)
OTEL_TOKEN: Key[str] = Key(
    name="otelToken",
    kind=Text(),
    default="",
    meaning="Token for traces",
    effect=Effect.NONE,
    why=ENABLE_TRACE.why,
)
CREDENTIAL_KEYS: tuple[Key[object], ...] = (
    ACCESS_KEY,
    ACCESS_SECRET,
    CREDENTIAL_PATH,
    OTEL_ENDPOINT,
    OTEL_TOKEN,
)
