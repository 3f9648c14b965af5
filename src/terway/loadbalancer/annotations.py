"""What do the annotations of a Service say? As users of the cloud write them.

``service.beta.kubernetes.io/alibaba-cloud-loadbalancer-<name>``, or with ``alicloud``, as before
2019. What is known and not done here is refused by name: nobody shall believe that it holds.
Source: product documentation, "Add annotations to the YAML file of a Service to configure CLB
instances", and the same of NLB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.loadbalancer.said import Said
from terway.loadbalancer.web_annotations import OF_HTTP, OF_HTTPS, WebSettings, parse_web
from terway.model.balancer import BalancerProduct, CheckKind, Forwarding, HealthCheck, Tags
from terway.model.ids import SecurityGroupId, VSwitchId, ZoneId

BACKEND_TYPE = "service.beta.kubernetes.io/backend-type"

SCHEDULERS = {
    BalancerProduct.CLB: ("wrr", "rr", "sch", "tch"),
    BalancerProduct.NLB: ("wrr", "rr", "wlc", "sch", "tch"),
}
# They are of certificates of clients, of bandwidth packages, of nodes: not of this data path.
NOT_DONE = (
    "bandwidth-package-id",
    "cacert",
    "cacert-id",
    "cps",
    "domain-extensions",
    "external-ip-type",
    "master-zoneid",
    "proxy-protocol",
    "slave-zoneid",
    "vgroup-port",
    "weight",
)
# An NLB has them for TCPSSL, which is not done here.
NOT_DONE_OF_NLB = ("cert-id", "idle-timeout", "protocol-port", "tls-cipher-policy")
ONLY_OF = {
    BalancerProduct.CLB: (
        "acl-id",
        "acl-status",
        "acl-type",
        "bandwidth",
        "charge-type",
        "instance-charge-type",
        "ip",
        "persistence-timeout",
        "spec",
        "vswitch-id",
        *(one for one in (*OF_HTTP, *OF_HTTPS) if one not in NOT_DONE_OF_NLB),
    ),
    BalancerProduct.NLB: ("security-group-ids", "server-group-type", "zone-maps"),
}
_CLASS_RULES = {
    BalancerProduct.CLB: "is for CLBs, and this Service has an NLB: take it out",
    BalancerProduct.NLB: "is for NLBs (loadBalancerClass: alibabacloud.com/nlb), and this Service "
    "has a CLB: take it out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked for. Empty words: as it is by default, or, of an instance in use, as it is."""

    balancer_id: str = ""  # an instance that is there already, and stays
    overrides_listeners: bool = False  # of such an instance, also those that others made
    name: str = ""
    is_internet: bool = True
    address: str = ""
    spec: str = ""
    charge_type: str = ""
    internet_charge_type: str = ""
    bandwidth: int | None = None
    vswitch_id: VSwitchId | None = None
    zones: tuple[tuple[ZoneId, VSwitchId], ...] = ()
    hostname: str = ""  # in the status, instead of addresses
    is_protected_from_deletion: bool = True
    is_protected_from_console: bool = True
    resource_group_id: str = ""
    tags: Tags = ()
    forwarding: Forwarding = field(default_factory=Forwarding)
    acl_id: str = ""
    acl_is_allowed: bool = True
    has_acl: bool = False
    groups_are_of_addresses: bool = False  # NLB
    security_group_ids: tuple[SecurityGroupId, ...] = ()  # NLB
    web: WebSettings = field(default_factory=WebSettings)  # CLB


def parse_annotations(annotations: Mapping[str, str], product: BalancerProduct) -> Settings:
    """Return what a Service asks for.

    Raises UsageError that says of each annotation that is refused its name, value and remedy.
    """
    said = Said(annotations)
    said.refuse(NOT_DONE, "is not done here: take it out")
    if product is BalancerProduct.NLB:
        said.refuse(NOT_DONE_OF_NLB, "is not done here for NLBs, nor is tcpssl: take it out")
    for owner, names in ONLY_OF.items():
        if owner is not product:
            said.refuse(names, _CLASS_RULES[owner])
    if annotations.get(BACKEND_TYPE, "eni") != "eni":
        said.refuse_key(
            BACKEND_TYPE, "is not done here: backends are pods by their own addresses: eni, or none"
        )
    settings = _settings(said, product)
    said.end()
    return settings


def balancer_id_of(annotations: Mapping[str, str]) -> str:
    """Return the instance that a Service names, whatever else it says; empty for none."""
    return Said(annotations).text("id")


def _settings(said: Said, product: BalancerProduct) -> Settings:
    return Settings(
        balancer_id=said.text("id"),
        overrides_listeners=said.flag("force-override-listeners", default=False),
        name=said.text("name"),
        is_internet=said.choice("address-type", ("internet", "intranet"), "internet") == "internet",
        address=said.text("ip"),
        spec=said.text("spec"),
        charge_type=said.choice("instance-charge-type", ("PayBySpec", "PayByCLCU"), ""),
        internet_charge_type=said.choice("charge-type", ("paybytraffic", "paybybandwidth"), ""),
        bandwidth=said.number("bandwidth", 1, 5120),
        vswitch_id=VSwitchId(word) if (word := said.text("vswitch-id")) else None,
        zones=said.zones("zone-maps"),
        hostname=said.text("hostname"),
        is_protected_from_deletion=said.flag("delete-protection", default=True),
        is_protected_from_console=said.choice(
            "modification-protection", ("ConsoleProtection", "NonProtection"), "ConsoleProtection"
        )
        == "ConsoleProtection",
        resource_group_id=said.text("resource-group-id"),
        tags=said.tags("additional-resource-tags"),
        forwarding=_forwarding(said, product),
        acl_id=said.text("acl-id"),
        acl_is_allowed=said.choice("acl-type", ("white", "black"), "white") == "white",
        has_acl=said.flag("acl-status", default=False),
        groups_are_of_addresses=said.choice("server-group-type", ("Instance", "Ip"), "Instance")
        == "Ip",
        security_group_ids=tuple(map(SecurityGroupId, said.words("security-group-ids"))),
        web=parse_web(said) if product is BalancerProduct.CLB else WebSettings(),
    )


def _forwarding(said: Said, product: BalancerProduct) -> Forwarding:
    drains = said.flag("connection-drain", default=False)
    drain_s = said.number("connection-drain-timeout", 0, 900)
    return Forwarding(
        scheduler=said.choice("scheduler", SCHEDULERS[product], "wrr"),
        check=_check(said, product),
        drain_s=(300 if drain_s is None else drain_s) if drains else None,
        persistence_s=said.number("persistence-timeout", 0, 3600) or 0,
    )


def _check(said: Said, product: BalancerProduct) -> HealthCheck:
    default = HealthCheck()
    flag = said.flag("health-check-flag", default=True)
    kind = said.choice("health-check-type", ("tcp", "http", "udp"), "tcp")
    codes = said.text("health-check-httpcode")
    return HealthCheck(
        is_on=said.flag("health-check-switch", default=flag),
        kind=CheckKind(kind),
        port=said.number("health-check-connect-port", 1, 65535) or 0,
        timeout_s=said.number("health-check-connect-timeout", 1, 300) or default.timeout_s,
        interval_s=said.number("health-check-interval", 1, 50) or default.interval_s,
        healthy_after=said.number("healthy-threshold", 2, 10) or default.healthy_after,
        unhealthy_after=said.number("unhealthy-threshold", 2, 10) or default.unhealthy_after,
        domain=said.text("health-check-domain"),
        uri=said.text("health-check-uri") or default.uri,
        method=said.choice("health-check-method", ("head", "get"), default.method),
        http_codes=tuple(codes.split(",")) if codes else default.http_codes,
    )
