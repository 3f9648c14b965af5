"""What the emulated CLB refuses of HTTP and HTTPS listeners, and what stays as it was."""

from __future__ import annotations

import pytest

from tests.support.balancer_story import certificate
from tests.support.cloud_world import make_world

SLB = "2014-05-15"
PLAIN = {"HealthCheck": "off", "StickySession": "off"}


@pytest.fixture
def world():
    made = make_world()
    made.cloud.world.state.balancing.put(certificate("cert-1"))
    return made


@pytest.fixture
def common(world):
    named = {"AddressType": "intranet", "VSwitchId": world.pod_vswitch}
    clb = world.call("CreateLoadBalancer", version=SLB, **named)["LoadBalancerId"]
    group = world.call("CreateVServerGroup", version=SLB, LoadBalancerId=clb)["VServerGroupId"]
    return {"LoadBalancerId": clb, "ListenerPort": "443", "VServerGroupId": group}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"HealthCheck": "off"}, "MissingParameter.StickySession"),
        ({"StickySession": "off"}, "MissingParameter.HealthCheck"),
        ({**PLAIN, "StickySession": "on"}, "MissingParameter.StickySessionType"),
        (
            {**PLAIN, "StickySession": "on", "StickySessionType": "insert"},
            "MissingParameter.CookieTimeout",
        ),
        (
            {**PLAIN, "StickySession": "on", "StickySessionType": "server"},
            "MissingParameter.Cookie",
        ),
        ({**PLAIN, "StickySession": "on", "StickySessionType": "best"}, "InvalidParameter"),
        ({**PLAIN, "HealthCheckURI": "/"}, "InvalidParameter"),
        ({**PLAIN, "HealthCheckMethod": "post"}, "InvalidParameter"),
        ({**PLAIN, "HealthCheckHttpCode": "http_1xx"}, "InvalidParameter"),
        ({**PLAIN, "Scheduler": "sch"}, "InvalidParameter"),
        ({**PLAIN, "IdleTimeout": "61"}, "InvalidParameter"),
        ({**PLAIN, "RequestTimeout": "0"}, "InvalidParameter"),
    ],
)
def test_what_http_cannot_be_is_refused(world, common, said, code):
    found = world.call("CreateLoadBalancerHTTPListener", version=SLB, **common, **said)

    assert found["Code"] == code
    assert not world.cloud.world.state.balancing.clb_listeners


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "MissingParameter.ServerCertificateId"),
        ({"ServerCertificateId": "cert-2"}, "ServerCertificateId.NotFound"),
        (
            {"ServerCertificateId": "cert-1", "TLSCipherPolicy": "tls_cipher_policy_0"},
            "InvalidParameter",
        ),
    ],
)
def test_https_needs_a_certificate_that_is_there(world, common, said, code):
    found = world.call("CreateLoadBalancerHTTPSListener", version=SLB, **common, **PLAIN, **said)

    assert found["Code"] == code


def test_what_a_change_does_not_name_stays(world, common):
    sticky = {"StickySession": "on", "StickySessionType": "insert", "CookieTimeout": "60"}
    asked = {**common, **PLAIN, **sticky, "IdleTimeout": "30"}
    world.call("CreateLoadBalancerHTTPListener", version=SLB, **asked)
    change = {**common, "RequestTimeout": "90"}

    world.call("SetLoadBalancerHTTPListenerAttribute", version=SLB, **change)

    (held,) = world.cloud.world.state.balancing.clb_listeners.values()
    http = held.http
    assert (http.sticky_kind, http.cookie_timeout_s, http.idle_s, http.request_s) == (
        "insert", 60, 30, 90,
    )  # fmt: skip
