"""The documentation's formulas, on instance types that people know."""

from __future__ import annotations

import pytest

from terway.capacity.pods import (
    Mode,
    Tuning,
    exclusive_pods,
    max_enis,
    member_pods,
    prefix_addresses,
    rdma_enis,
    require_capacity,
    shared_pods,
)
from terway.model.address import IPStack
from terway.model.eni import InstanceLimits
from terway.model.errors import UsageError


def limits(enis: int, ipv4: int, ipv6: int = 0, **others) -> InstanceLimits:
    return InstanceLimits(
        instance_type="ecs.test",
        eni_quantity=enis,
        eni_private_ip_address_quantity=ipv4,
        eni_ipv6_address_quantity=ipv6,
        **others,
    )


@pytest.mark.parametrize(
    ("enis", "ipv4", "pods"), [(4, 10, 30), (8, 30, 210), (2, 2, 2), (1, 10, 0)]
)
def test_shared_mode_counts_every_address_of_every_secondary_eni(enis, ipv4, pods):
    assert shared_pods(limits(enis, ipv4), IPStack.IPV4) == pods


def test_dual_stack_is_as_large_as_the_smaller_family():
    assert shared_pods(limits(4, 10, 1), IPStack.DUAL) == 3
    assert shared_pods(limits(4, 10, 10), IPStack.DUAL) == 30


@pytest.mark.parametrize(
    ("tuning", "enis"),
    [
        (Tuning(), 7),
        (Tuning(ratio=0.5), 3),
        (Tuning(shift=-2), 5),
        (Tuning(max_enis=2), 2),
        (Tuning(shift=5), 7),  # no tuning makes the instance larger
        (Tuning(ratio=0.1), 0),
    ],
)
def test_the_user_can_leave_enis_to_others(tuning, enis):
    assert max_enis(limits(8, 10), tuning) == enis


def test_exclusive_mode_gives_each_pod_an_eni():
    assert exclusive_pods(limits(8, 10)) == 7


def test_trunk_pods_are_what_the_total_leaves_and_need_a_trunk():
    trunk = limits(4, 15, eni_total_quantity=20, eni_trunk_supported=True)

    assert member_pods(trunk) == 16
    assert member_pods(limits(4, 15, eni_total_quantity=20)) == 0


def test_a_prefix_takes_the_place_of_one_address():
    assert prefix_addresses(limits(4, 10, eni_total_quantity=4)) == 9 * 16 * 3


@pytest.mark.parametrize(("enis", "eri", "rdma"), [(8, 4, 2), (8, 1, 1), (4, 4, 1), (2, 1, 0)])
def test_small_instances_have_one_rdma_eni_at_most(enis, eri, rdma):
    assert rdma_enis(limits(enis, 10, eri_quantity=eri)) == rdma


def test_a_node_must_hold_more_than_eleven_pods_in_shared_mode():
    assert require_capacity(limits(3, 6), Mode.SHARED, IPStack.IPV4) == 12
    with pytest.raises(UsageError, match=r"holds 10 pods.*more than 11"):
        require_capacity(limits(3, 5), Mode.SHARED, IPStack.IPV4)


def test_a_node_must_hold_more_than_six_pods_in_exclusive_mode():
    assert require_capacity(limits(8, 10), Mode.EXCLUSIVE, IPStack.IPV4) == 7
    with pytest.raises(UsageError, match="more than 6"):
        require_capacity(limits(7, 10), Mode.EXCLUSIVE, IPStack.IPV4)


def test_dual_stack_on_a_type_without_ipv6_names_the_setting_to_change():
    with pytest.raises(UsageError) as caught:
        require_capacity(limits(4, 10), Mode.SHARED, IPStack.DUAL)

    assert caught.value.field == "eni_conf.ip_stack"
