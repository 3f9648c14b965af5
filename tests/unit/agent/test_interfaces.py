"""What a pod's annotations and the node's configuration make of an ADD."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from terway.agent.interfaces import InterfacePolicy, interfaces_of
from terway.cni.call import Add
from terway.cni.conf import parse_conf
from terway.kube.types import ObjectMeta, Pod
from terway.model.attachment import AttachmentKey
from terway.model.errors import UsageError
from terway.model.ids import ContainerId
from terway.model.interface import Mode

CALL = Add(
    conf=parse_conf(b'{"cniVersion": "1.1.0", "name": "terway", "type": "terway"}'),
    key=AttachmentKey(container_id=ContainerId("c1"), ifname="eth0"),
    netns="/run/netns/pod",
    pod=None,
)
ROUTES = (ip_network("10.0.0.0/8"), ip_network("10.97.0.0/16"))


def pod(*networks: dict[str, Any], **annotations: str) -> Pod:
    said = {f"k8s.aliyun.com/{name.replace('_', '-')}": text for name, text in annotations.items()}
    if networks:
        said["k8s.aliyun.com/pod-networks"] = json.dumps({"podNetworks": networks})
    return Pod(metadata=ObjectMeta(name="web", namespace="default", annotations=said))


def test_an_ordinary_pod_has_the_nodes_routes_and_no_table_of_its_own():
    [one] = interfaces_of(CALL, pod(), InterfacePolicy(routes=ROUTES))

    assert (one.key, one.spec.routes, one.spec.is_one_of_several) == (CALL.key, ROUTES, False)


def test_a_route_that_the_pod_leads_elsewhere_is_not_led_by_the_first_interface():
    networks = (
        {"interface": "eth0"},
        {"interface": "eth1", "extraRoutes": [{"dst": "10.97.0.0/16"}]},
    )

    first, second = interfaces_of(CALL, pod(*networks), InterfacePolicy(routes=ROUTES))

    assert (first.spec.routes, second.spec.routes) == (ROUTES[:1], ROUTES[1:])
    assert (first.spec.parent, second.spec.parent) == ("", "eth0")
    assert first.spec.is_one_of_several
    assert second.spec.is_one_of_several


def test_what_is_said_of_metadata_is_so_for_all_interfaces():
    networks = ({"interface": "eth0"}, {"interface": "eth1"})

    found = interfaces_of(CALL, pod(*networks, metadata_access="false"), InterfacePolicy())

    assert [one.spec.has_metadata for one in found] == [False, False]


def test_a_pod_with_a_whole_eni_cannot_have_two():
    networks = ({"interface": "eth0"}, {"interface": "eth1"})

    with pytest.raises(UsageError, match="shared mode"):
        interfaces_of(CALL, pod(*networks), InterfacePolicy(mode=Mode.EXCLUSIVE))
