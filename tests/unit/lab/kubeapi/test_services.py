"""Which Services the API takes, what it fills in, and what it keeps of them when they change."""

from __future__ import annotations

from typing import Any

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.manifests import apply_manifests
from terway.lab.kubeapi.resources import SERVICE
from tests.support.cluster import make_cluster
from tests.support.services import create_service, service_manifest


def created(**spec: Any) -> Any:
    return create_service(make_cluster(), **spec)["spec"]


def changed(state, **fields: Any) -> Any:
    return state.patch(SERVICE, "web", "default", {"spec": fields}).object["spec"]


def test_a_service_is_filled_in_as_the_api_does():
    spec = created(ports=[{"port": 80}])

    assert spec["type"] == "ClusterIP"
    assert spec["sessionAffinity"] == "None"
    assert spec["internalTrafficPolicy"] == "Cluster"
    assert "externalTrafficPolicy" not in spec
    assert spec["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [
        ({"type": "NodePort"}, "externalTrafficPolicy", "Cluster"),
        ({"externalIPs": ["203.0.113.9"]}, "externalTrafficPolicy", "Cluster"),
        ({"type": "LoadBalancer"}, "allocateLoadBalancerNodePorts", True),
        (
            {"sessionAffinity": "ClientIP"},
            "sessionAffinityConfig",
            {"clientIP": {"timeoutSeconds": 10800}},
        ),
        ({"trafficDistribution": "PreferSameNode"}, "trafficDistribution", "PreferSameNode"),
        ({"ports": [{"port": 1, "appProtocol": "h2c"}]}, "type", "ClusterIP"),
    ],
)
def test_what_follows_from_a_field_is_filled_in_too(spec, name, value):
    assert created(**spec)[name] == value


REFUSED = [
    ({"ports": []}, "spec.ports: Required value"),
    ({"type": "Nodeport"}, 'spec.type: Unsupported value: "Nodeport"'),
    ({"ports": [{"port": 0}]}, "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535"),
    ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name: Required value"),
    (
        {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]},
        'spec.ports[1].name: Duplicate value: "a"',
    ),
    (
        {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]},
        "spec.ports[1]: Duplicate value: core.ServicePort{",
    ),
    (
        {"ports": [{"port": 1, "protocol": "ICMP"}]},
        'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        {"ports": [{"port": 1, "targetPort": "not--so"}]},
        'spec.ports[0].targetPort: Invalid value: "not--so": must not contain consecutive',
    ),
    (
        {"ports": [{"port": 1, "nodePort": 30100}]},
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        {"sessionAffinity": "ClientIP",
         "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
        "must be greater than 0 and less than 86400",
    ),
    ({"externalIPs": ["x"]}, "spec.externalIPs[0]: Invalid value: \"x\": must be a valid IP"),
    ({"externalIPs": ["127.0.0.1"]}, "may not be in the loopback range"),
    (
        {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
        "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    (
        {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0"]},
        "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value",
    ),
    (
        {"externalTrafficPolicy": "Local"},
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-',
    ),
    (
        {"type": "NodePort", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30200},
        "spec.healthCheckNodePort: Invalid value: 30200: may only be set when `type` is 'Load",
    ),
    ({"internalTrafficPolicy": "x"}, 'spec.internalTrafficPolicy: Unsupported value: "x"'),
    ({"trafficDistribution": "x"}, 'spec.trafficDistribution: Unsupported value: "x"'),
    (
        {"type": "NodePort", "allocateLoadBalancerNodePorts": False},
        "spec.allocateLoadBalancerNodePorts: Forbidden",
    ),
    (
        {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
        "is not in the valid range. The range of valid ports is 30000-32767",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "words"), REFUSED)
def test_what_cannot_be_is_refused_in_the_apis_words(spec, words):
    with pytest.raises(ApiError) as caught:
        created(**spec)

    assert caught.value.code == 422
    assert words in caught.value.message


def test_a_services_name_is_a_dns_1035_label():
    with pytest.raises(ApiError, match="a DNS-1035 label must consist of"):
        create_service(make_cluster(), "1web")


# Node ports


def test_ports_get_node_ports_and_nobody_gets_the_same_twice():
    state = make_cluster()
    one = create_service(state, "one", type="NodePort")["spec"]["ports"][0]["nodePort"]
    other = create_service(state, "other", type="LoadBalancer")["spec"]["ports"][0]["nodePort"]

    assert 30000 <= one <= 32767
    assert 30000 <= other <= 32767
    assert one != other


def test_protocols_of_one_port_share_its_node_port():
    ports = [
        {"name": "u", "port": 53, "protocol": "UDP"},
        {"name": "t", "port": 53, "nodePort": 30053},
        {"name": "m", "port": 9153},
    ]

    given = [one["nodePort"] for one in created(type="NodePort", ports=ports)["ports"]]

    assert given[:2] == [30053, 30053]
    assert given[2] != 30053


def test_a_node_port_of_somebody_else_is_refused():
    state = make_cluster()
    create_service(state, "one", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])

    with pytest.raises(ApiError) as caught:
        create_service(state, "two", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])

    assert caught.value.message == (
        'Service "two" is invalid: spec.ports[0].nodePort: Invalid value: 30080: '
        "provided port is already allocated"
    )


def test_a_local_load_balancer_gets_a_health_check_port_that_does_not_change():
    state = make_cluster()
    spec = create_service(state, type="LoadBalancer", externalTrafficPolicy="Local")["spec"]

    assert spec["healthCheckNodePort"] not in {one["nodePort"] for one in spec["ports"]}
    with pytest.raises(ApiError, match=r"spec\.healthCheckNodePort: Forbidden: field is immutable"):
        changed(state, healthCheckNodePort=30999)
    assert "healthCheckNodePort" not in changed(state, externalTrafficPolicy="Cluster")


def test_a_balancer_without_node_ports_gets_none_but_those_it_names():
    ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2, "nodePort": 30002}]

    spec = created(type="LoadBalancer", allocateLoadBalancerNodePorts=False, ports=ports)

    assert [one.get("nodePort") for one in spec["ports"]] == [None, 30002]


def test_a_change_of_the_type_frees_and_gives_what_it_should():
    state = make_cluster()
    held = create_service(state, type="LoadBalancer", externalTrafficPolicy="Local",
                          loadBalancerClass=None)["spec"]  # fmt: skip

    as_cluster_ip = changed(state, type="ClusterIP")
    freed = held["ports"][0]["nodePort"]
    ports = [{"port": 1, "nodePort": freed}]
    reused = create_service(state, "next", type="NodePort", ports=ports)
    again = changed(state, type="NodePort")

    assert not {"externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"} & (
        as_cluster_ip.keys()
    )
    assert as_cluster_ip["clusterIP"] == held["clusterIP"] == again["clusterIP"]
    assert "nodePort" not in as_cluster_ip["ports"][0]
    assert again["ports"][0]["nodePort"] != reused["spec"]["ports"][0]["nodePort"]


def test_a_manifest_that_is_sent_again_keeps_ports_and_addresses():
    state = make_cluster()
    held = create_service(state, type="LoadBalancer", externalTrafficPolicy="Local")

    again = state.update(
        SERVICE,
        "web",
        "default",
        service_manifest(type="LoadBalancer", externalTrafficPolicy="Local"),
    ).object

    assert again["spec"] == held["spec"]
    assert again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]


def test_applying_a_port_without_its_protocol_again_changes_nothing():
    state = make_cluster()
    text = """
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: NodePort, ports: [{port: 80}], selector: {app: web}}
    """

    (first,) = apply_manifests(state, text)
    (again,) = apply_manifests(state, text)

    assert again["spec"] == first["spec"]


def test_the_class_of_a_load_balancer_cannot_change():
    state = make_cluster()
    create_service(state, type="LoadBalancer", loadBalancerClass="example.com/a")

    with pytest.raises(ApiError, match=r"spec\.loadBalancerClass: .*may not change once set"):
        changed(state, loadBalancerClass="example.com/b")
