"""Which networks a pod asks for, and how each mistake is refused."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from terway.config.pod_networks import (
    METADATA_ACCESS,
    POD_NETWORKS,
    parse_metadata_access,
    parse_pod_networks,
)
from terway.model.errors import UsageError


def asked(*networks: dict[str, Any], **others: str) -> dict[str, str]:
    text = json.dumps({"podNetworks": networks})
    return {POD_NETWORKS: text, **{f"k8s.aliyun.com/{name}": one for name, one in others.items()}}


def test_without_the_annotation_a_pod_asks_for_nothing():
    assert parse_pod_networks({"other": "x"}) == ()


def test_every_key_of_a_network_is_read():
    eth0, eth1 = parse_pod_networks(
        asked(
            {
                "interface": "eth1",
                "vSwitchOptions": ["vsw-1", "vsw-2"],
                "securityGroupIDs": ["sg-1"],
                "extraRoutes": [{"dst": "10.0.0.0/8"}, {"dst": "fd00::/8"}],
                "networkInterfaceTrafficMode": "HighPerformance",
                "eniOptions": {"eniType": "Default"},
                "vSwitchSelectOptions": {"vSwitchSelectionPolicy": ""},
                "resourceGroupID": "",
                "allocationType": {"type": "Elastic", "releaseStrategy": ""},
            },
            {"interface": "eth0"},
        )
    )

    assert (eth0.interface, eth0.has_default_route, eth0.is_erdma) == ("eth0", True, False)
    assert eth1.vswitch_ids == ("vsw-1", "vsw-2")
    assert eth1.security_group_ids == ("sg-1",)
    assert eth1.routes == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert (eth1.has_default_route, eth1.is_erdma) == (False, True)


def test_the_default_route_goes_where_it_is_asked_for():
    networks = parse_pod_networks(
        asked({"interface": "eth0"}, {"interface": "eth1", "defaultRoute": True})
    )

    assert [one.has_default_route for one in networks] == [False, True]


NETWORK = f"{POD_NETWORKS}.podNetworks"


@pytest.mark.parametrize(
    ("annotations", "field", "words"),
    [
        ({POD_NETWORKS: "["}, POD_NETWORKS, "not JSON"),
        ({POD_NETWORKS: "{}"}, NETWORK, "at least one"),
        ({POD_NETWORKS: '{"networks": []}'}, f"{POD_NETWORKS}.networks", "podNetworks"),
        (asked({"interfaces": "eth0"}), f"{NETWORK}[0].interfaces", "did you mean interface"),
        (asked({"interface": "eth100"}), f"{NETWORK}[0].interface", "1 to 5"),
        (asked({"interface": ""}), f"{NETWORK}[0].interface", "1 to 5"),
        (asked({}), f"{NETWORK}[0].interface", "must name"),
        (asked({"interface": "lo"}), f"{NETWORK}[0].interface", "not lo"),
        (asked({"interface": "eth1"}), NETWORK, "interface eth0"),
        (asked(*[{"interface": "eth0"}] * 2), f"{NETWORK}[1].interface", "taken"),
        (
            asked(*({"interface": one, "defaultRoute": True} for one in ("eth0", "eth1"))),
            NETWORK,
            "only one",
        ),
        (
            asked({"interface": "eth0", "securityGroupIDs": [f"sg-{n}" for n in range(11)]}),
            f"{NETWORK}[0].securityGroupIDs",
            "at most 10",
        ),
        (
            asked({"interface": "eth0", "vSwitchOptions": ["sg-1"]}),
            f"{NETWORK}[0].vSwitchOptions[0]",
            "vsw-",
        ),
        (
            asked({"interface": "eth0", "extraRoutes": [{"dst": "10.0.0.1/8"}]}),
            f"{NETWORK}[0].extraRoutes[0].dst",
            "host bits",
        ),
        (
            asked({"interface": "eth0", "extraRoutes": [{"dst": "0.0.0.0/0"}]}),
            f"{NETWORK}[0].extraRoutes[0].dst",
            "defaultRoute",
        ),
        (
            asked(
                *({"interface": i, "extraRoutes": [{"dst": "10.0.0.0/8"}]} for i in ("eth0", "e"))
            ),
            f"{NETWORK}[1].extraRoutes",
            "leads by eth0 already",
        ),
        (
            asked({"interface": "eth0", "eniOptions": {"eniType": "Trunk"}}),
            f"{NETWORK}[0].eniOptions.eniType",
            "terway-controlplane",
        ),
        (
            asked({"interface": "eth0", "allocationType": {"type": "Fixed"}}),
            f"{NETWORK}[0].allocationType.type",
            "terway-controlplane",
        ),
        (
            asked({"interface": "eth0", "resourceGroupID": "rg-1"}),
            f"{NETWORK}[0].resourceGroupID",
            "eni_conf.resource_group_id",
        ),
        (
            asked(
                {"interface": "eth0", "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "most"}}
            ),
            f"{NETWORK}[0].vSwitchSelectOptions.vSwitchSelectionPolicy",
            "vswitch_selection_policy",
        ),
    ],
)
def test_a_mistake_is_refused_with_path_value_and_remedy(annotations, field, words):
    with pytest.raises(UsageError, match=words) as refused:
        parse_pod_networks(annotations)

    assert refused.value.field == field


@pytest.mark.parametrize("name", ["pod-networks-request", "pod-networking"])
def test_what_needs_the_control_plane_is_refused_by_name(name):
    with pytest.raises(UsageError, match="needs terway-controlplane") as refused:
        parse_pod_networks({f"k8s.aliyun.com/{name}": "x"})
    assert refused.value.field == f"k8s.aliyun.com/{name}"

    with pytest.raises(UsageError, match="excludes"):
        parse_pod_networks(asked({"interface": "eth0"}, **{name: "x"}))


def test_metadata_is_open_unless_it_is_closed():
    assert parse_metadata_access({})
    assert not parse_metadata_access({METADATA_ACCESS: "false"})
    with pytest.raises(UsageError, match="must be"):
        parse_metadata_access({METADATA_ACCESS: "no"})
