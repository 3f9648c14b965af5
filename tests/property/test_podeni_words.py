"""What admission writes down of a pod's networks is what the control plane reads, whole."""

from __future__ import annotations

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from terway.config.network_keys import POD_NETWORKS
from terway.config.requested_networks import parse_asked
from terway.controlplane.podenis.words import allocation_of, lifetime_of, write_networks
from terway.model.ids import SecurityGroupId, VSwitchId
from terway.model.pod_network import (
    ELASTIC,
    FOR_EVER,
    ENIOption,
    Lifetime,
    PodNetwork,
    TrafficMode,
    VSwitchChoice,
)

lifetimes = st.one_of(
    st.just(ELASTIC),
    st.just(FOR_EVER),
    st.integers(300, 10**9).map(lambda s: Lifetime(is_fixed=True, ttl_s=float(s))),
)


@st.composite
def networks(draw: st.DrawFn) -> tuple[PodNetwork, ...]:
    count = draw(st.integers(1, 3))
    default = draw(st.integers(0, count - 1))
    return tuple(
        PodNetwork(
            interface=f"eth{index}",
            vswitch_ids=tuple(VSwitchId(f"vsw-{n}") for n in range(draw(st.integers(0, 3)))),
            security_group_ids=tuple(
                SecurityGroupId(f"sg-{n}") for n in range(draw(st.integers(0, 10)))
            ),
            routes=(ip_network(f"10.{index}.0.0/16"),) if draw(st.booleans()) else (),
            has_default_route=index == default,
            traffic_mode=draw(st.sampled_from(TrafficMode)),
            eni=draw(st.sampled_from(ENIOption)),
            vswitch_choice=draw(st.sampled_from(VSwitchChoice)),
            resource_group_id=draw(st.sampled_from(["", "rg-1"])),
            lifetime=draw(lifetimes),
        )
        for index in range(count)
    )


@given(networks())
def test_what_is_written_is_read(listed):
    assert parse_asked({POD_NETWORKS: write_networks(listed)}).networks == listed


@given(networks())
def test_a_pod_eni_keeps_how_long_each_interface_lives(listed):
    allocations = [allocation_of(one) for one in listed]

    assert [lifetime_of(one.allocation_type) for one in allocations] == [
        one.lifetime for one in listed
    ]
