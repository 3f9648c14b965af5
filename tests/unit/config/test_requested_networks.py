"""What a pod asks the control plane for, and how each mistake is refused."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from terway.config.requested_networks import parse_asked
from terway.model.errors import UsageError
from terway.model.pod_network import (
    FOR_EVER,
    Asked,
    ENIOption,
    Lifetime,
    NetworkRequest,
    TrafficMode,
    VSwitchChoice,
)

PREFIX = "k8s.aliyun.com/"


def networks(*listed: dict[str, Any]) -> dict[str, str]:
    return {f"{PREFIX}pod-networks": json.dumps({"podNetworks": listed})}


def requests(*listed: dict[str, Any]) -> dict[str, str]:
    return {f"{PREFIX}pod-networks-request": json.dumps(listed)}


def fixed(**more: str) -> dict[str, Any]:
    return {"interface": "eth0", "allocationType": {"type": "Fixed", **more}}


def test_without_annotations_nothing_is_asked_for():
    assert parse_asked({"a": "b"}) == Asked()
    assert not parse_asked({}).is_anything


def test_every_key_of_a_network_is_read():
    asked = parse_asked(
        networks(
            {
                "interface": "eth0",
                "vSwitchOptions": ["vsw-1"],
                "securityGroupIDs": ["sg-1"],
                "extraRoutes": [{"dst": "10.0.0.0/8"}],
                "networkInterfaceTrafficMode": "HighPerformance",
                "eniOptions": {"eniType": "Trunk"},
                "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "most"},
                "resourceGroupID": "rg-1",
                "defaultRoute": True,
                "allocationType": {
                    "type": "Fixed",
                    "releaseStrategy": "TTL",
                    "releaseAfter": "1h30m",
                },
            }
        )
    )

    (one,) = asked.networks
    assert (one.vswitch_ids, one.security_group_ids) == (("vsw-1",), ("sg-1",))
    assert one.routes == (ip_network("10.0.0.0/8"),)
    assert one.traffic_mode is TrafficMode.HIGH_PERFORMANCE
    assert one.eni is ENIOption.TRUNK
    assert one.vswitch_choice is VSwitchChoice.MOST
    assert (one.resource_group_id, one.has_default_route) == ("rg-1", True)
    assert one.lifetime == Lifetime(is_fixed=True, ttl_s=5400.0)


def test_what_is_never_released_has_no_time():
    (one,) = parse_asked(networks(fixed(releaseStrategy="Never"))).networks

    assert one.lifetime == FOR_EVER


def test_requests_name_pod_networkings():
    asked = parse_asked(
        requests(
            {"interfaceName": "eth0", "network": "red"},
            {
                "interfaceName": "eth1",
                "network": "blue",
                "defaultRoute": True,
                "routes": [{"dst": "10.0.0.0/8"}],
            },
        )
    )

    assert asked.requests == (
        NetworkRequest(interface="eth0", networking="red"),
        NetworkRequest(
            interface="eth1",
            networking="blue",
            has_default_route=True,
            routes=(ip_network("10.0.0.0/8"),),
        ),
    )


def test_an_admitted_pod_has_its_networks_beside_the_name_they_came_from():
    annotations = {**networks({"interface": "eth0"}), f"{PREFIX}pod-networking": "red"}

    assert parse_asked(annotations, is_admitted=True).networks[0].interface == "eth0"
    with pytest.raises(UsageError, match="keep one of the two"):
        parse_asked(annotations)


@pytest.mark.parametrize(
    ("annotations", "field"),
    [
        (networks(fixed(releaseAfter="-5m")), "releaseAfter"),
        (networks(fixed(releaseAfter="soon")), "releaseAfter"),
        (networks(fixed()), "releaseAfter"),
        (networks(fixed(releaseStrategy="Never", releaseAfter="5m")), "releaseAfter"),
        (networks({"interface": "eth0", "securityGroupIDs": ["sg-1"] * 11}), "securityGroupIDs"),
        (networks({"interface": "eth123"}), "interface"),
        (networks({"interface": "eth0"}, {"interface": "eth0"}), "interface"),
        (networks({"interface": "eth1"}), "podNetworks"),
        (networks({"interface": "eth0", "vswitchOptions": []}), "vswitchOptions"),
        ({f"{PREFIX}pod-networks": "{"}, "pod-networks"),
        ({f"{PREFIX}pod-networks-request": "["}, "pod-networks-request"),
        ({f"{PREFIX}pod-networks-request": "[]"}, "pod-networks-request"),
        (requests({"interfaceName": "eth0"}), "network"),
        (requests({"interfaceName": "eth1", "network": "a"}), "pod-networks-request"),
        ({f"{PREFIX}pod-eni": "yes"}, "pod-eni"),
    ],
)
def test_a_mistake_is_refused_by_its_field(annotations, field):
    with pytest.raises(UsageError) as caught:
        parse_asked(annotations)

    assert field in caught.value.field
