"""Which EndpointSlices the API takes: those that users write are checked as any."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.resources import ENDPOINT_SLICE
from tests.support.cluster import make_cluster


def manifest(**more: object) -> Object:
    held = {
        "metadata": {"name": "mine", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.168.32.1"]}],
        "ports": [{"port": 80}],
    }
    return {**held, **more}


def test_a_port_gets_a_name_and_a_protocol():
    held = make_cluster().create(ENDPOINT_SLICE, manifest()).object

    assert held["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]


WRONG = [
    ({"addressType": None}, "addressType: Required value"),
    ({"addressType": "IP"}, 'addressType: Unsupported value: "IP"'),
    ({"endpoints": [{"addresses": []}]}, "must contain at least 1 address"),
    (
        {"endpoints": [{"addresses": ["2001:db8::1"]}]},
        'endpoints[0].addresses[0]: Invalid value: "2001:db8::1": must be an IPv4 address',
    ),
    ({"endpoints": [{"addresses": ["127.0.0.1"]}]}, "may not be in the loopback range"),
    ({"endpoints": [{"addresses": ["x"]}]}, "must be a valid IPv4 address"),
    (
        {"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001},
        "endpoints: Too many: 1001: must have at most 1000 items",
    ),
    ({"ports": [{"name": "a"}, {"name": "a"}]}, 'ports[1].name: Duplicate value: "a"'),
    ({"ports": [{"protocol": "ICMP"}]}, 'ports[0].protocol: Unsupported value: "ICMP"'),
    ({"ports": [{"port": 70000}]}, "ports[0].port: Invalid value: 70000: must be between"),
]


@pytest.mark.parametrize(("more", "words"), WRONG)
def test_what_cannot_be_is_refused_in_the_apis_words(more, words):
    with pytest.raises(ApiError) as caught:
        make_cluster().create(ENDPOINT_SLICE, manifest(**more))

    assert words in caught.value.message


def test_the_type_of_its_addresses_cannot_change():
    state = make_cluster()
    state.create(ENDPOINT_SLICE, manifest())
    patch = {"addressType": "IPv6", "endpoints": []}

    with pytest.raises(ApiError, match=r"addressType: .*field is immutable"):
        state.patch(ENDPOINT_SLICE, "mine", "default", patch)
