"""How is what was asked of an interface written into one column, and read again?

JSON with what differs from the default, so that most rows say `{}` and a newer field needs no
migration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network

from terway.model.address import IPPair
from terway.model.ids import MacAddress, SecurityGroupId, VSwitchId
from terway.model.interface import (
    Bandwidth,
    InterfaceSpec,
    LinkMacs,
    Mode,
    NetworkPriority,
    OwnENI,
    Placement,
)

_DEFAULT = InterfaceSpec()


def spec_text(spec: InterfaceSpec) -> str:
    """Return `spec` as JSON."""
    if spec == _DEFAULT:
        return "{}"
    wire = {
        "mode": spec.mode.value,
        "parent": spec.parent,
        "has_default_route": spec.has_default_route,
        "is_one_of_several": spec.is_one_of_several,
        "routes": [str(one) for one in spec.routes],
        "ingress": spec.bandwidth.ingress,
        "egress": spec.bandwidth.egress,
        "priority": None if spec.priority is None else spec.priority.value,
        "has_metadata": spec.has_metadata,
        "vswitch_ids": list(spec.placement.vswitch_ids),
        "security_group_ids": list(spec.placement.security_group_ids),
        "is_erdma": spec.placement.is_erdma,
        "own_eni": None if spec.own_eni is None else _own_eni_wire(spec.own_eni),
        "macs": None if spec.macs is None else [spec.macs.host, spec.macs.pod],
        "is_left_alone": spec.is_left_alone,
    }
    return json.dumps({key: value for key, value in wire.items() if value != _PLAIN.get(key)})


_PLAIN: dict[str, object] = {
    "mode": "veth",
    "parent": "",
    "has_default_route": True,
    "is_one_of_several": False,
    "routes": [],
    "ingress": None,
    "egress": None,
    "priority": None,
    "has_metadata": True,
    "vswitch_ids": [],
    "security_group_ids": [],
    "is_erdma": False,
    "own_eni": None,
    "macs": None,
    "is_left_alone": False,
}


def _own_eni_wire(own: OwnENI) -> dict[str, str | int | None]:
    v4, v6 = own.gateways.v4, own.gateways.v6
    return {
        "gateway": None if v4 is None else str(v4),
        "gateway6": None if v6 is None else str(v6),
        "trunk_mac": own.trunk_mac,
        "vlan_id": own.vlan_id,
    }


def _parse_own_eni(wire: Mapping[str, str | int | None]) -> OwnENI:
    v4, v6, trunk = wire["gateway"], wire["gateway6"], wire["trunk_mac"]
    return OwnENI(
        gateways=IPPair(
            v4=None if v4 is None else IPv4Address(v4), v6=None if v6 is None else IPv6Address(v6)
        ),
        trunk_mac=None if trunk is None else MacAddress(str(trunk)),
        vlan_id=int(wire["vlan_id"] or 0),
    )


def parse_spec(text: str) -> InterfaceSpec:
    """Return what `spec_text` wrote."""
    if text == "{}":
        return _DEFAULT
    wire = {**_PLAIN, **json.loads(text)}
    priority = wire["priority"]
    return InterfaceSpec(
        mode=Mode(wire["mode"]),
        parent=wire["parent"],
        has_default_route=wire["has_default_route"],
        is_one_of_several=wire["is_one_of_several"],
        routes=tuple(map(ip_network, wire["routes"])),
        bandwidth=Bandwidth(ingress=wire["ingress"], egress=wire["egress"]),
        priority=None if priority is None else NetworkPriority(priority),
        has_metadata=wire["has_metadata"],
        placement=Placement(
            vswitch_ids=tuple(map(VSwitchId, wire["vswitch_ids"])),
            security_group_ids=tuple(map(SecurityGroupId, wire["security_group_ids"])),
            is_erdma=wire["is_erdma"],
        ),
        own_eni=None if wire["own_eni"] is None else _parse_own_eni(wire["own_eni"]),
        macs=None if wire["macs"] is None else LinkMacs(host=wire["macs"][0], pod=wire["macs"][1]),
        is_left_alone=wire["is_left_alone"],
    )
