"""Which values does the chart take? Each declared once; `values.schema.json` is made of this.

What they become is in the chart's templates, what they are at first in its `values.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terway.config import keys_cni, keys_controlplane
from terway.config.declare import Key, Record, Values, object_schema
from terway.config.eni_conf import KEYS as ENI_CONF_KEYS
from terway.config.findings import Report
from terway.config.kinds import Anything, Flag, Kind, ListOf, MapOf, Schema, Text, Whole

MAX_SECURITY_GROUPS = 10
# The one that every Helm 3 knows.
_DIALECT = "http://json-schema.org/draft-07/schema#"
_LEVELS = ("debug", "info", "warning", "error")
_PORT = Whole(minimum=1, maximum=65535)
_OBJECTS = ListOf(of=MapOf(of=Anything()))
_RESOURCES = MapOf(of=MapOf(of=Anything(), keys="resource"), keys="requests or limits")
_ENDPOINT = Text(pattern=r"[^\s]*", words='a host or a URL: "ecs-vpc.cn-hangzhou.aliyuncs.com"')


@dataclass(frozen=True, slots=True)
class Word:
    """One of some words, as they are spelt: a template compares them."""

    choices: tuple[str, ...]

    @property
    def words(self) -> str:
        """Return what is right."""
        return f"one of {', '.join(self.choices)}"

    def read(self, value: object, path: str, report: Report) -> str | None:
        """Return what `value` means, or None."""
        if isinstance(value, str) and value in self.choices:
            return value
        report.refuse(path, value, f"must be {self.words}")
        return None

    def schema(self) -> Schema:
        """Return the JSON schema."""
        return {"type": "string", "enum": list(self.choices)}


def _text(name: str, pattern: str, words: str, meaning: str) -> Key[str]:
    return Key(name=name, kind=Text(pattern=pattern, words=words), default="", meaning=meaning)


def _word(name: str, choices: tuple[str, ...], meaning: str) -> Key[str]:
    return Key(name=name, kind=Word(choices), default=choices[0], meaning=meaning)


def _flag(name: str, meaning: str, *, default: bool) -> Key[bool]:
    return Key(name=name, kind=Flag(), default=default, meaning=meaning)


def _whole(name: str, default: int, meaning: str) -> Key[int]:
    return Key(name=name, kind=Whole(), default=default, meaning=meaning)


def _port(name: str, default: int, meaning: str) -> Key[int]:
    return Key(name=name, kind=_PORT, default=default, meaning=meaning)


def _any(name: str, kind: Kind[Any], meaning: str) -> Key[Any]:
    return Key(name=name, kind=kind, default=None, meaning=meaning)


def _part(name: str, *keys: Key[Any], meaning: str) -> Key[Values]:
    kind = Record(keys=keys)
    return Key(name=name, kind=kind, default=Values({}, name), meaning=meaning)


REGION_ID = _text("regionID", "([a-z0-9-]+)?", 'a region: "cn-hangzhou"', "Region of the cluster")
CLUSTER_ID = _text(
    "clusterID",
    r"([A-Za-z0-9._-]{1,64})?",
    "a word: letters, digits, '.', '_' and '-'",
    "Word of yours; ENIs are tagged with it",
)
VPC_ID = _text("vpcID", "(vpc-.+)?", 'the id of a VPC: "vpc-…"', "VPC of the cluster")
VSWITCHES: Key[Mapping[str, tuple[str, ...]]] = Key(
    name="vSwitches",
    kind=MapOf(
        of=ListOf(of=Text(pattern="vsw-.+", words='the id of a vSwitch: "vsw-…"')), keys="zone"
    ),
    default={},
    meaning="vSwitches that pods' addresses are from, by zone",
)
SELECTION = _word(
    "vSwitchSelectionPolicy", ("ordered", "random", "most"), "Which vSwitch a new ENI comes from"
)
GROUPS: Key[tuple[str, ...]] = Key(
    name="securityGroupIDs",
    kind=ListOf(
        of=Text(pattern="sg-.+", words='the id of a security group: "sg-…"'),
        most=MAX_SECURITY_GROUPS,
    ),
    default=(),
    meaning="Security groups of pods' ENIs",
)
_NET = r"[0-9a-fA-F.:]+/\d+"
SERVICE_CIDR = _text(
    "serviceCIDR",
    rf"({_NET}(, ?{_NET})?)?",
    'a range: "172.16.0.0/16", or one of each family',
    "Range of the cluster's services; in dual stack both, with a comma between",
)
IP_STACK = _word("ipStack", ("ipv4", "ipv6", "dual"), "Families of addresses that pods have")
MODE = _word("mode", ("shared", "exclusive"), "shared: pods share ENIs; exclusive: each has one")
DATAPATH = _word(
    "datapath", ("veth", "datapathv2", "ipvlan"), "How pods get at a shared ENI; shared mode only"
)
NETWORK_POLICY = _flag("networkPolicy", "NetworkPolicies are enforced", default=True)
KUBE_PROXY = _word(
    "kubeProxyReplacement", ("auto", "on", "off"), "Whose services an eBPF data path leads"
)
TRUNK = _flag(
    "trunk", "Trunk ENIs, whose members go to pods with a network of their own", default=True
)
CENTRALIZED = _flag(
    "centralizedIPAM", "The control plane gives nodes their addresses", default=True
)
MIN_SIZE = _whole("minSize", 0, "Addresses that wait for pods, at least")
MAX_SIZE = _whole("maxSize", 5, "Addresses that wait for pods, at most")
WARM_UP = _whole("warmUpSize", 0, "Addresses that a new node gets once")
POOL = _part("pool", MIN_SIZE, MAX_SIZE, WARM_UP, meaning="What waits for pods on each node")
ENI_CONF = _part("eniConf", *ENI_CONF_KEYS, meaning="Further keys of eni_conf")
CNI_CONF = _part("cniConf", *keys_cni.KEYS, meaning="Further keys of the plugin's configuration")
CHAINED = _any("chainedPlugins", _OBJECTS, "CNI plugins after ours")
NODE_SELECTOR = _any("nodeSelector", MapOf(of=Text(), keys="label"), "Nodes it runs on")
_PLACED = (
    _any("resources", _RESOURCES, "What it asks for, and what it may have"),
    NODE_SELECTOR,
    _any("tolerations", _OBJECTS, "Taints that do not keep it away"),
    _word("logLevel", _LEVELS, "What is logged"),
)
IMAGE = _part(
    "image",
    _text("repository", r"[^\s:]+(:\d+/[^\s:]+)?", "an image without its tag", "Image"),
    _text("tag", r"[\w.-]*", "a tag", "Tag; empty: the chart's appVersion"),
    _word("pullPolicy", ("IfNotPresent", "Always", "Never"), "When it is pulled"),
    meaning="The one image of all",
)
AGENT = _part(
    "agent",
    Key(
        name="maxUnavailable",
        kind=Text(pattern=r"\d+%?", words='a number of nodes or a share: "10%"'),
        default="10%",
        meaning="Nodes whose agent is replaced at a time",
    ),
    *_PLACED,
    meaning="The DaemonSet terway",
)
ENABLED = _flag("enabled", "There is a control plane", default=True)
BALANCERS = _flag("loadBalancers", "It keeps Services of type LoadBalancer", default=False)
CONTROL_CONFIG = _part(
    "config", *keys_controlplane.KEYS, meaning="Further keys of ctrl-config.yaml"
)
CONTROL_PLANE = _part(
    "controlPlane",
    ENABLED,
    BALANCERS,
    Key(name="replicas", kind=Whole(minimum=1), default=2, meaning="Instances; one works"),
    _port("webhookPort", 4443, "Port of the webhook, on the node"),
    _port("healthPort", 8085, "Port of /healthz and /readyz, on the node"),
    _port("metricsPort", 8086, "Port of /metrics, on the node"),
    *_PLACED,
    CONTROL_CONFIG,
    meaning="The Deployment terway-controlplane",
)
SECRET = _text(
    "credentialsSecret", r"[a-z0-9.-]*", "the name of a Secret", "Secret with ctrl-secret.yaml"
)
ENDPOINTS = _part(
    "endpoints",
    *(
        Key(name=one, kind=_ENDPOINT, default="", meaning=f"Where {one.upper()} answers")
        for one in ("ecs", "vpc", "slb", "nlb", "metadata")
    ),
    meaning="Where the cloud's API is; empty: the region's own",
)

KEYS: tuple[Key[Any], ...] = (
    REGION_ID,
    CLUSTER_ID,
    VPC_ID,
    VSWITCHES,
    SELECTION,
    GROUPS,
    SERVICE_CIDR,
    IP_STACK,
    MODE,
    DATAPATH,
    NETWORK_POLICY,
    KUBE_PROXY,
    TRUNK,
    CENTRALIZED,
    POOL,
    ENI_CONF,
    CNI_CONF,
    CHAINED,
    IMAGE,
    _any("imagePullSecrets", _OBJECTS, "Secrets by which the image is pulled"),
    AGENT,
    CONTROL_PLANE,
    SECRET,
    ENDPOINTS,
    # Helm's own, for charts that have this one below them.
    _any("global", Anything(), "What all charts of a release share"),
)


def values_schema() -> Schema:
    """Return the schema as Helm reads it."""
    return {"$schema": _DIALECT, "title": "Values of the chart terway", **object_schema(KEYS)}
