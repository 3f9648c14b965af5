"""What the API says of services, read as the values that packets are led by."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
import pytest

from terway.agent.service.objects import LeanService, LeanSlice, service_of, slice_of
from terway.service.values import Endpoint, Protocol, SlicePort


def service(labels: dict[str, str] | None = None, status: object = None, **spec: object):
    manifest = {
        "metadata": {"namespace": "shop", "name": "web", "labels": labels or {}},
        "spec": {"clusterIP": "172.16.0.1", "ports": [{"port": 80}], **spec},
        "status": status or {},
    }
    return service_of(msgspec.convert(manifest, LeanService))


def slice_(**fields: object):
    labels = {"kubernetes.io/service-name": "web"}
    manifest = {
        "metadata": {"namespace": "shop", "name": "web-1", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        **fields,
    }
    return slice_of(msgspec.convert(manifest, LeanSlice))


def test_a_service_of_two_families_has_both_addresses():
    found = service(clusterIPs=["172.16.0.1", "fc00::1"], sessionAffinity="ClientIP")

    assert found.key == "shop/web"
    assert found.cluster_ips == (ip_address("172.16.0.1").packed, ip_address("fc00::1").packed)
    assert found.affinity_s == 10800


@pytest.mark.parametrize(
    "given",
    [
        {"clusterIP": "None"},
        {"clusterIP": "", "type": "ExternalName"},
        {"labels": {"service.kubernetes.io/service-proxy-name": "other"}},
        {"labels": {"service.kubernetes.io/headless": ""}},
    ],
)
def test_what_is_not_ours_to_lead_is_left_out(given):
    assert service(**given) is None


def test_an_address_of_a_load_balancer_that_is_a_proxy_is_not_ours():
    ingress = [{"ip": "47.0.0.1"}, {"ip": "47.0.0.2", "ipMode": "Proxy"}, {"hostname": "a.b"}]

    found = service(status={"loadBalancer": {"ingress": ingress}})

    assert found.ingress_ips == (ip_address("47.0.0.1").packed,)


def test_source_ranges_may_have_blanks_and_bits_of_hosts():
    found = service(loadBalancerSourceRanges=[" 10.1.2.3/8 ", "fd00::/16", "what"])

    networks = ip_address("10.0.0.0").packed, ip_address("fd00::").packed
    assert found.source_ranges == ((networks[0], 8), (networks[1], 16))


def test_conditions_that_are_absent_are_as_if_ready():
    ready, gone, going = slice_(
        endpoints=[
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "serving": False}},
            {
                "addresses": ["10.0.0.3"],
                "conditions": {"ready": False, "serving": True, "terminating": True},
                "nodeName": "node-1",
                "zone": "zone-a",
                "hints": {"forZones": [{"name": "zone-b"}], "forNodes": [{"name": "node-2"}]},
            },
        ]
    ).endpoints

    assert (ready.is_ready, ready.is_serving, ready.is_terminating) == (True, True, False)
    assert (gone.is_ready, gone.is_serving) == (False, False)
    assert going == Endpoint(
        address=ip_address("10.0.0.3").packed,
        node="node-1",
        zone="zone-a",
        is_ready=False,
        is_terminating=True,
        for_zones=("zone-b",),
        for_nodes=("node-2",),
    )


def test_ports_without_a_number_and_of_other_protocols_are_left_out():
    found = slice_(
        ports=[{"name": "a"}, {"port": 1, "protocol": "ICMP"}, {"port": 53, "protocol": "UDP"}]
    )

    assert found.ports == (SlicePort(name="", protocol=Protocol.UDP, port=53),)


def test_names_instead_of_addresses_are_no_endpoints():
    assert slice_(addressType="FQDN") is None
    assert slice_(endpoints=[{"addresses": []}, {"addresses": None}]).endpoints == ()
