"""What an instance type cannot be is refused; where it gives less than asked, that is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terway.agent.possible import check_possible
from terway.config.eni_conf import read_eni_conf
from terway.config.findings import ConfigError
from terway.model.eni import InstanceLimits
from terway.model.interface import Mode

LIMITS = InstanceLimits(
    instance_type="ecs.test",
    eni_quantity=4,
    eni_private_ip_address_quantity=10,
    eni_ipv6_address_quantity=10,
)


def check(mode=Mode.VETH, **keys):
    return [str(one) for one in check_possible(read_eni_conf(keys)[0], LIMITS, mode)]


def test_what_the_type_has_needs_no_word():
    assert check(enable_ip_prefix=True, ipv4_prefix_count=27, max_eni=3) == []


def test_more_prefixes_than_there_are_slots_for_are_refused():
    with pytest.raises(ConfigError, match=r"ipv4_prefix_count is 28: .* room for 27"):
        check(enable_ip_prefix=True, ipv4_prefix_count=28)
    with pytest.raises(ConfigError, match=r"room for 9"):
        check(enable_ip_prefix=True, ipv4_prefix_count=10, max_eni=1)


def test_fewer_pods_than_the_kubelet_may_count_on_are_said():
    [said] = check(enable_ip_prefix=True, ipv4_prefix_count=1)

    assert said.startswith("eni_conf.ipv4_prefix_count: the node holds 16 pods, 1 x 16")
    assert "would hold 30: see that the kubelet's maxPods" in said
    assert check(enable_ip_prefix=True, ipv4_prefix_count=2) == []


def test_prefixes_and_an_eni_for_each_pod_exclude_each_other():
    with pytest.raises(ConfigError, match=r"enable_ip_prefix is true: .* an ENI each"):
        check(Mode.EXCLUSIVE, enable_ip_prefix=True)


def test_more_enis_than_there_are_are_as_many_as_there_are():
    assert check(max_eni=9) == ["eni_conf.max_eni: 9 is more than ecs.test has for pods: it is 3"]


def test_rdma_on_a_type_without_it_is_said():
    assert "no ERDMA interfaces" in check(enable_erdma=True)[0]


@pytest.mark.parametrize(
    ("mode", "is_supported", "ipam_type", "says"),
    [
        (Mode.EXCLUSIVE, True, "crd", "an ENI each"),
        (Mode.VETH, False, "crd", "no trunk ENIs"),
    ],
)
def test_a_trunk_that_nobody_makes_or_needs_is_said(mode, is_supported, ipam_type, says):
    conf = read_eni_conf({"enable_eni_trunking": True, "ipam_type": ipam_type})[0]

    [caution] = check_possible(conf, replace(LIMITS, eni_trunk_supported=is_supported), mode)

    assert says in str(caution)
