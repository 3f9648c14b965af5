"""Pods, namespaces and nodes of the API become what policy needs of them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from terway.model.errors import UsageError
from terway.model.ids import NodeName
from terway.policy.cluster import NamedPort, Namespace, Node, Pod, PodKey, Protocol
from terway.policy.reading.parse import parse_namespace, parse_node, parse_pod


def _pod(spec: Any = None, status: Any = None, **metadata: Any) -> Pod:
    return parse_pod(
        {"metadata": {"namespace": "shop", "name": "a", **metadata}, "spec": spec, "status": status}
    )


def test_a_pod_has_what_policy_asks_for():
    pod = _pod(
        {
            "nodeName": "n1",
            "containers": [
                {"name": "c", "ports": [{"name": "http", "containerPort": 80}]},
                {"name": "d", "ports": [{"containerPort": 81}]},
            ],
        },
        {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        },
        labels={"app": "a"},
        creationTimestamp="2026-01-02T03:04:05Z",
    )

    assert pod == Pod(
        key=PodKey(namespace="shop", name="a"),
        labels={"app": "a"},
        addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")),
        node=NodeName("n1"),
        ports=(NamedPort(name="http", protocol=Protocol.TCP, port=80),),
        created_at="2026-01-02T03:04:05Z",
    )


def test_a_pod_that_has_no_status_yet_has_no_address():
    pod = _pod({"containers": []})

    assert (pod.addresses, pod.node, pod.is_finished) == ((), None, False)


def test_an_older_status_has_one_address():
    assert _pod(status={"podIP": "10.0.0.1"}).addresses == (ip_address("10.0.0.1"),)


@pytest.mark.parametrize(
    ("phase", "is_finished"),
    [
        ("Pending", False),
        ("Running", False),
        ("Unknown", False),
        ("Succeeded", True),
        ("Failed", True),
    ],
)
def test_only_pods_that_ended_are_finished(phase, is_finished):
    assert _pod(status={"phase": phase}).is_finished is is_finished


def test_a_terminating_pod_is_not_finished():
    pod = _pod(status={"phase": "Running"}, deletionTimestamp="2026-01-02T03:04:05Z")

    assert not pod.is_finished


def test_names_of_sidecars_count_those_of_other_init_containers_do_not():
    def container(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "ports": [{"name": name, "containerPort": 80}], **more}

    pod = _pod(
        {
            "containers": [container("app")],
            "initContainers": [container("setup"), container("proxy", restartPolicy="Always")],
        }
    )

    assert [port.name for port in pod.ports] == ["app", "proxy"]


def test_two_containers_may_have_one_name():
    ports = [
        {"name": "http", "containerPort": 80},
        {"name": "http", "containerPort": 80, "protocol": "UDP"},
    ]

    pod = _pod({"containers": [{"ports": [port]} for port in ports]})

    assert [(port.name, port.protocol) for port in pod.ports] == [
        ("http", Protocol.TCP),
        ("http", Protocol.UDP),
    ]


def test_a_pod_on_the_host_network_says_so():
    assert _pod({"hostNetwork": True}).is_host_network
    assert not _pod({"hostNetwork": False}).is_host_network


def test_a_namespace_has_its_name_as_a_label():
    """bug class 53: a namespace is selected by its labels as they are, that of its name included"""
    name_label = {"kubernetes.io/metadata.name": "shop"}

    plain = parse_namespace({"metadata": {"name": "shop"}})
    labelled = parse_namespace({"metadata": {"name": "shop", "labels": {"team": "a"}}})

    assert plain == Namespace(name="shop", labels=name_label)
    assert labelled == Namespace(name="shop", labels={"team": "a", **name_label})


def test_a_node_has_the_ip_addresses_of_its_status():
    node = parse_node(
        {
            "metadata": {"name": "n1", "labels": {"zone": "a"}},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "192.168.0.1"},
                    {"type": "InternalIP", "address": "fd00::1"},
                    {"type": "ExternalIP", "address": "203.0.113.1"},
                    {"type": "ExternalIP", "address": "192.168.0.1"},
                    {"type": "Hostname", "address": "n1"},
                ]
            },
        }
    )

    assert node == Node(
        name=NodeName("n1"),
        labels={"zone": "a"},
        addresses=tuple(map(ip_address, ("192.168.0.1", "fd00::1", "203.0.113.1"))),
    )


@pytest.mark.parametrize(
    ("parse", "raw", "field"),
    [
        (parse_pod, {}, "metadata.name"),
        (parse_pod, {"metadata": {"name": "a", "labels": {"x": 1}}}, "metadata.labels.x"),
        (
            parse_pod,
            {"metadata": {"name": "a"}, "status": {"podIPs": [{"ip": "10.0.0"}]}},
            "status.podIPs[0].ip",
        ),
        (parse_namespace, {"metadata": {}}, "metadata.name"),
        (parse_namespace, "shop", ""),
        (
            parse_node,
            {
                "metadata": {"name": "n"},
                "status": {"addresses": [{"type": "InternalIP", "address": "n"}]},
            },
            "status.addresses[0].address",
        ),
    ],
)
def test_what_cannot_be_read_is_named(parse, raw, field):
    with pytest.raises(UsageError) as refused:
        parse(raw)

    assert refused.value.field == field
