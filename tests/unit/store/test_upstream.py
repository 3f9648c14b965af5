"""Upstream's journal is read as it is on disk, and what is written is read again the same."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from terway.model.address import IPPair
from terway.model.attachment import PodRef
from terway.model.errors import UsageError
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.interface import Bandwidth, NetworkPriority
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType
from terway.store.bbolt import read_bucket
from terway.store.upstream import (
    POD_BUCKET,
    parse_record,
    read_pods,
    read_relations,
    record_of,
    write_pods,
    write_relations,
)

MAC = MacAddress("00:16:3e:00:00:01")
POD = UpstreamPod(
    pod=PodRef(namespace="default", name="web-0", uid="uid-0"),
    type=UpstreamType.ENI_MULTI_IP,
    container_id=ContainerId("c0"),
    netns="/var/run/netns/cni-0",
    has_pod_eni=False,
    interfaces=(
        UpstreamInterface(
            ifname="eth0",
            device_mac=MAC,
            addresses=IPPair(v4=IPv4Address("192.168.32.7"), v6=IPv6Address("fd00::7")),
            eni_id=ENIId("eni-1"),
            gateways=IPPair(v4=IPv4Address("192.168.63.253"), v6=IPv6Address("fd00::fffd")),
            ranges=(ip_network("192.168.32.0/19"), ip_network("fd00::/112")),
            bandwidth=Bandwidth(ingress=1000, egress=2000),
            priority=NetworkPriority.GUARANTEED,
            routes=(ip_network("10.1.0.0/16"),),
        ),
    ),
)


def test_a_record_that_was_written_is_read_again_the_same(tmp_path):
    """Bug class 20: an upgrade changes what was saved."""
    path = tmp_path / "ResRelation.db"
    services = (ip_network("172.16.0.0/16"),)
    write_relations(path, {str(POD.pod): record_of(POD, service_ranges=services)})

    ((key, value),) = read_relations(path).items()

    assert parse_record(key, value) == POD


def test_a_member_of_a_trunk_is_known_by_the_reply_alone():
    # as upstream writes it: no resources, the trunk's MAC, and the VLAN id
    conf = [
        {
            "BasicInfo": {
                "PodIP": {"IPv4": "192.168.96.4"},
                "PodCIDR": {"IPv4": "192.168.96.0/19"},
            },
            "ENIInfo": {"MAC": "00:16:3E:00:00:09", "Trunk": True, "Vid": 31},
            "IfName": "eth0",
            "DefaultRoute": True,
        }
    ]
    record = {
        "Resources": None,
        "PodInfo": {"PodNetworkType": "ENIMultiIP", "PodENI": True, "PodUID": "u"},
        "NetNs": "/var/run/netns/x",
        "ContainerID": "c9",
        "NetConf": json.dumps(conf),
    }

    found = parse_record("db/mysql-0", json.dumps(record).encode())

    (interface,) = found.interfaces
    assert found.has_pod_eni
    assert (interface.vlan_id, interface.device_mac) == (31, "00:16:3e:00:00:09")
    assert interface.eni_id == ""


def test_an_old_record_without_a_reply_is_read_by_its_resources():
    item = {"type": "eniIp", "id": f"{MAC}.192.168.32.7", "extra_eip_info": None}
    value = json.dumps({"Resources": [item], "PodInfo": {"PodNetworkType": "ENIMultiIP"}}).encode()

    (interface,) = parse_record("default/old", value).interfaces

    assert (interface.device_mac, interface.addresses.v4) == (MAC, IPv4Address("192.168.32.7"))


@pytest.mark.parametrize(
    "value", [b"", b"[]", b'{"NetConf":"{"}', b'{"PodInfo":{"PodNetworkType":"VPCIP"}}']
)
def test_a_record_that_is_none_is_refused_with_the_pod(value):
    with pytest.raises(UsageError, match="default/web-0"):
        parse_record("default/web-0", value)


def test_where_there_is_no_journal_there_are_no_records(tmp_path):
    assert read_relations(tmp_path / "ResRelation.db") == {}
    assert read_pods(tmp_path / "pod.db") == {}


def test_upstream_remembers_each_pod_as_its_journal_has_it(tmp_path):
    """So it answers the DEL of a pod whose object has gone before it could ask the API for it."""
    path = tmp_path / "pod.db"

    write_pods(path, [POD])

    assert read_pods(path) == {"default/web-0": "uid-0"}
    (said,) = read_bucket(path, POD_BUCKET).values()
    assert json.loads(said) == {"Pod": json.loads(record_of(POD))["PodInfo"]}
