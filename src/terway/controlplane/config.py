"""What does ctrl-config ask for? Parsed once, strictly, with every mistake explained.

Two files, in YAML or JSON: the configuration, and beside it, in a secret, the credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from terway.config import keys_controlplane as keys
from terway.config.declare import Key, Values, read_object
from terway.config.findings import Caution, Refusal, Report
from terway.config.keys_controlplane import DegradationLevel
from terway.model.address import IPStack
from terway.model.errors import UsageError
from terway.model.ids import RegionId, VpcId

CONFIG, CREDENTIAL = "ctrl-config", "ctrl-secret"

POD_CONTROLLERS = ("pod-eni", "pod", "pod-networking", "eni")
POOL_CONTROLLERS = ("node", "multi-ip-node", "multi-ip-pod")
# A cluster may have a cloud controller manager, which has its Services; so this one must be named.
SERVICE_CONTROLLER = "service"
CONTROLLERS = (*POD_CONTROLLERS, *POOL_CONTROLLERS, SERVICE_CONTROLLER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The credential file. All empty: the instance's RAM role signs."""

    access_key: str = ""
    access_secret: str = field(default="", repr=False)
    credential_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseConf:
    """The lease that the leader holds; times in seconds, each less than the one before it."""

    name: str
    namespace: str
    duration_s: float
    renew_deadline_s: float
    retry_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConf:
    """Where the webhook listens, and by which URL the API server finds it; empty: its Service."""

    port: int
    url: str
    injects_resource: bool
    has_gates: bool
    drain_sleep_s: int  # of pods with a readiness gate of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many keys a controller works on at a time."""

    pod: int
    pod_eni: int
    eni: int
    node: int
    multi_ip_node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`ctrl-config`, every key of it that has an effect. Empty listeners: none."""

    region_id: RegionId  # empty: the instance's own
    cluster_id: str
    vpc_id: VpcId
    ip_stack: IPStack
    namespace: str
    name: str
    cluster_domain: str
    lease: LeaseConf | None  # None: this is the only instance
    webhook: WebhookConf | None  # None: there is none
    healthz_listen: str
    metrics_listen: str
    controllers: tuple[str, ...]
    asked_controllers: tuple[str, ...] = field(repr=False)  # as written
    concurrency: Concurrency
    sync_s: float
    first_wait_s: float
    longest_wait_s: float
    node_labels: Mapping[str, str]
    has_trunk: bool
    has_every_pod: bool  # an ENI of its own for every pod
    centralized: bool
    stateful_kinds: frozenset[str]
    degradation: DegradationLevel
    kube_qps: float  # 0: no limit
    kube_burst: int
    vswitch_ttl_s: float
    rate_limits_per_min: Mapping[str, int]
    call_share: float


def read_file(path: Path) -> str:
    """Return the text of a configuration file. Raises UsageError where there is none."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; mount the file, or name another one") from error


def parse_config(text: str) -> tuple[Config, tuple[Caution, ...]]:
    """Return what `text` asks for, and what in it is without effect.

    Raises ConfigError with all that cannot be right.
    """
    report = Report()
    said = read_object(keys.KEYS, _decode(text, CONFIG, report), CONFIG, report)
    _check(said, report)
    chosen = _chosen(said, report)
    report.raise_refusals()
    return _config(said, chosen), tuple(report.cautions)


def parse_credential(text: str) -> tuple[Credential, tuple[Caution, ...]]:
    """Return the credentials in `text`. Raises ConfigError with all that cannot be right."""
    report = Report()
    said = read_object(keys.CREDENTIAL_KEYS, _decode(text, CREDENTIAL, report), CREDENTIAL, report)
    key, secret = said[keys.ACCESS_KEY], said[keys.ACCESS_SECRET]
    if bool(key) != bool(secret):
        missing = keys.ACCESS_SECRET if key else keys.ACCESS_KEY
        report.refuse(said.path(missing), "", "must be there beside the other half of the key")
    report.raise_refusals()
    found = Credential(
        access_key=key, access_secret=secret, credential_path=said[keys.CREDENTIAL_PATH]
    )
    return found, tuple(report.cautions)


def chosen_controllers(names: Iterable[str], *, centralized: bool) -> tuple[str, ...]:
    """Return which controllers run, in the order in which they are known.

    Without pools of the control plane's own there are none of their controllers, whatever is
    named: upstream drops them, too.
    """
    asked = tuple(names)
    unwanted = {one.removeprefix("-") for one in asked if one.startswith("-")}
    named = {one for one in asked if not one.startswith("-")}
    wanted = set(CONTROLLERS) if "*" in named else named or {*POD_CONTROLLERS, *POOL_CONTROLLERS}
    wanted -= unwanted
    if not centralized:
        wanted -= set(POOL_CONTROLLERS)
    return tuple(one for one in CONTROLLERS if one in wanted)


def with_pools(config: Config) -> Config:
    """Return the configuration of a cluster whose eni-config says `ipam_type: crd`."""
    chosen = chosen_controllers(config.asked_controllers, centralized=True)
    return replace(config, centralized=True, controllers=chosen)


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that is there twice is a mistake, not the last one's victory."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    names = [loader.construct_object(name, deep=True) for name, _ in node.value]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise yaml.MarkedYAMLError(problem=f"{twice} is there twice", problem_mark=node.start_mark)
    found: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return found


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _decode(text: str, path: str, report: Report) -> dict[str, object]:
    try:
        found = yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        report.refusals.append(Refusal(field=path, found="not YAML", rule=f"{said}: mend it there"))
        return {}
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        report.refuse(path, str(found)[:40], "must be an object: keys with values")
        return {}
    return found


def _check(said: Values, report: Report) -> None:
    """Say what is missing, and what cannot be right together."""
    for key in (keys.CLUSTER_ID, keys.VPC_ID):
        if not said[key] and not report.has_refused([said.path(key)]):
            report.refuse(
                said.path(key), "", f"must be there: {key.meaning[0].lower()}{key.meaning[1:]}"
            )
    _check_order(said, report, keys.RETRY_PERIOD, keys.RENEW_DEADLINE, keys.LEASE_DURATION)
    _check_order(said, report, keys.SYNC_ON_FAILURE_LEAST, keys.SYNC_ON_FAILURE_MOST)


def _check_order(said: Values, report: Report, *ascending: Key[float]) -> None:
    if report.has_refused(said.path(key) for key in ascending):
        return
    for less, more in pairwise(ascending):
        if said[less] >= said[more]:
            rule = f"must be less than {more.name}, {said[more]:g} s"
            report.refuse(said.path(less), f"{said[less]:g}s", rule)


def _chosen(said: Values, report: Report) -> tuple[str, ...]:
    path = said.path(keys.CONTROLLERS)
    for index, one in enumerate(said[keys.CONTROLLERS]):
        if one != "*" and one.removeprefix("-") not in CONTROLLERS:
            report.refuse(f"{path}[{index}]", one, f"must be one of {', '.join(CONTROLLERS)}, or *")
    return chosen_controllers(said[keys.CONTROLLERS], centralized=said[keys.CENTRALIZED_IPAM])


def _config(said: Values, controllers: tuple[str, ...]) -> Config:
    return Config(
        region_id=RegionId(said[keys.REGION_ID]),
        cluster_id=said[keys.CLUSTER_ID],
        vpc_id=VpcId(said[keys.VPC_ID]),
        ip_stack=said[keys.IP_STACK],
        namespace=said[keys.CONTROLLER_NAMESPACE],
        name=said[keys.CONTROLLER_NAME],
        cluster_domain=said[keys.CLUSTER_DOMAIN],
        lease=_lease(said),
        webhook=_webhook(said),
        healthz_listen=_listen(said[keys.HEALTHZ]),
        metrics_listen=_listen(said[keys.METRICS]),
        controllers=controllers,
        asked_controllers=said[keys.CONTROLLERS],
        concurrency=_concurrency(said),
        sync_s=said[keys.SYNC_PERIOD],
        first_wait_s=said[keys.SYNC_ON_FAILURE_LEAST],
        longest_wait_s=said[keys.SYNC_ON_FAILURE_MOST],
        node_labels=said[keys.NODE_LABELS],
        has_trunk=said[keys.ENABLE_TRUNK],
        has_every_pod=said[keys.IPAM_TYPE] is keys.ControlPlaneIPAM.CRD,
        centralized=said[keys.CENTRALIZED_IPAM],
        stateful_kinds=frozenset(said[keys.STATEFUL_KINDS]),
        degradation=said[keys.DEGRADATION],
        kube_qps=said[keys.KUBE_QPS],
        kube_burst=said[keys.KUBE_BURST],
        vswitch_ttl_s=said[keys.VSWITCH_TTL],
        rate_limits_per_min=said[keys.RATE_LIMIT],
        call_share=said[keys.CALL_SHARE],
    )


def _lease(said: Values) -> LeaseConf | None:
    if not said[keys.LEADER_ELECTION]:
        return None
    return LeaseConf(
        name=said[keys.LEASE_LOCK_NAME],
        namespace=said[keys.LEASE_LOCK_NAMESPACE],
        duration_s=said[keys.LEASE_DURATION],
        renew_deadline_s=said[keys.RENEW_DEADLINE],
        retry_s=said[keys.RETRY_PERIOD],
    )


def _webhook(said: Values) -> WebhookConf | None:
    if said[keys.DISABLE_WEBHOOK]:
        return None
    return WebhookConf(
        port=said[keys.WEBHOOK_PORT],
        url=said[keys.WEBHOOK_URL].rstrip("/"),
        injects_resource=said[keys.INJECT_RESOURCE],
        has_gates=said[keys.SCHEDULING_GATE],
        drain_sleep_s=said[keys.DRAIN_SLEEP],
    )


def _concurrency(said: Values) -> Concurrency:
    return Concurrency(
        pod=said[keys.POD_CONCURRENT],
        pod_eni=said[keys.POD_ENI_CONCURRENT],
        eni=said[keys.ENI_CONCURRENT],
        node=said[keys.NODE_CONCURRENT],
        multi_ip_node=said[keys.MULTI_IP_NODE_CONCURRENT],
    )


def _listen(text: str) -> str:
    return "" if text == "0" else text
