"""What does the user's CNI configuration say of our plugin? Every key, parsed into one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from terway.config import keys_cni as cni
from terway.config.chain import read_chain, runtime_list
from terway.config.chained_bandwidth import take_bandwidth
from terway.config.choices import (
    Backend,
    BandwidthMode,
    Denied,
    PolicyProvider,
    VirtualType,
    VLANStrip,
)
from terway.config.declare import Values, read_object
from terway.config.findings import Caution, Report
from terway.config.keys_map import CONF, CONFLIST
from terway.model.address import IPNetwork
from terway.model.interface import Bandwidth

# SPEC.md, "Plugin configuration objects": keys that a runtime makes for each call.
_RESERVED = ("runtimeConfig", "args", "prevResult")
_RESERVED_PREFIX = "cni.dev/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SymmetricRouting:
    """What came in through `interface` goes back out through it; `symmetric_routing_config`."""

    interface: str = ""  # the one of the default route
    mark: int = 0x10
    mask: int = 0x10
    table_id: int = 100
    rule_priority: int = 600
    comment: str = "terway-symmetric"
    backend: Backend = Backend.NFTABLES


@dataclass(frozen=True, slots=True, kw_only=True)
class CniConf:
    """The CNI configuration. `conflist` is what the runtime gets, as JSON.

    `mtu_bytes` is None for "as the node's own link has it" (`auto_mtu`). `host_stack_cidrs` is None
    where nothing is said.
    """

    name: str
    version: str
    virtual_type: VirtualType  # as it was asked for; a node's kernel may not have it
    mtu_bytes: int | None
    capabilities: frozenset[str]
    policy_provider: PolicyProvider
    denied: Denied  # what becomes of packets that policies do not allow
    bandwidth_mode: BandwidthMode
    bandwidth: Bandwidth  # of pods that ask for no other
    has_network_priority: bool
    host_stack_cidrs: tuple[IPNetwork, ...] | None
    has_host_peer: bool  # exclusive ENI: whether pods have a second leg, to the node
    vlan_strip: VLANStrip
    symmetric_routing: SymmetricRouting | None
    chained: tuple[str, ...]  # the types of the plugins after ours
    maps_ports: bool  # whether one of them does
    conflist: bytes
    path: str = field(compare=False)  # the key of eni-config that it comes from


def parse_cni_conf(files: Mapping[str, str]) -> tuple[CniConf, tuple[Caution, ...]]:
    """Return what the files of eni-config say about CNI. Raises ConfigError."""
    report = Report()
    conf = read_cni_conf_into(report, files)
    report.raise_refusals()
    return conf, tuple(report.cautions)


def read_cni_conf_into(report: Report, files: Mapping[str, str]) -> CniConf:
    """Return what `files` say about CNI, with defaults where `report` has a refusal."""
    chain, bandwidth = take_bandwidth(read_chain(files, report), report)
    ours = {key: value for key, value in chain.ours.items() if not _is_reserved(key)}
    for key in chain.ours.keys() - ours.keys():
        rule = "only a container runtime may set this key, for each call: remove it"
        report.refuse(f"{chain.ours_path}.{key}", chain.ours[key], rule)
    said = read_object(cni.KEYS, ours, chain.ours_path, report)
    _check(said, report)
    return CniConf(
        name=chain.name,
        version=chain.version,
        virtual_type=said[cni.VIRTUAL_TYPE],
        mtu_bytes=_mtu_bytes(said),
        capabilities=frozenset(name for name, on in said[cni.CAPABILITIES].items() if on),
        policy_provider=said[cni.POLICY_PROVIDER],
        denied=said[cni.POLICY_DENIED],
        bandwidth_mode=said[cni.BANDWIDTH_MODE],
        bandwidth=bandwidth,
        has_network_priority=said[cni.NETWORK_PRIORITY],
        host_stack_cidrs=said[cni.HOST_STACK_CIDRS],
        has_host_peer=not said[cni.DISABLE_HOST_PEER],
        vlan_strip=said[cni.VLAN_STRIP_TYPE],
        symmetric_routing=_symmetric_routing(said),
        chained=chain.chained,
        maps_ports=chain.maps_ports,
        conflist=runtime_list(chain),
        path=CONFLIST if chain.ours_path.startswith(CONFLIST) else CONF,
    )


def _is_reserved(key: str) -> bool:
    return key in _RESERVED or key.startswith(_RESERVED_PREFIX)


def _mtu_bytes(said: Values) -> int | None:
    if said[cni.MTU]:
        return said[cni.MTU]
    return None if said[cni.AUTO_MTU] else cni.DEFAULT_MTU


def _symmetric_routing(said: Values) -> SymmetricRouting | None:
    if not said[cni.SYMMETRIC_ROUTING]:
        return None
    details = said[cni.SYMMETRIC_CONFIG] or Values({}, "")
    return SymmetricRouting(
        interface=details[cni.SYMMETRIC_INTERFACE],
        mark=details[cni.SYMMETRIC_MARK],
        mask=details[cni.SYMMETRIC_MASK],
        table_id=details[cni.SYMMETRIC_TABLE],
        rule_priority=details[cni.SYMMETRIC_PRIORITY],
        comment=details[cni.SYMMETRIC_COMMENT],
        backend=details[cni.SYMMETRIC_BACKEND],
    )


def _check(said: Values, report: Report) -> None:
    """Refuse what cannot be right together."""
    details = said[cni.SYMMETRIC_CONFIG]
    if details is not None and details[cni.SYMMETRIC_MARK] & ~details[cni.SYMMETRIC_MASK]:
        rule = f"has bits outside of mask, {details[cni.SYMMETRIC_MASK]:#x}: it would never match"
        path = f"{said.path(cni.SYMMETRIC_CONFIG)}.{cni.SYMMETRIC_MARK.name}"
        report.refuse(path, details[cni.SYMMETRIC_MARK], rule)
