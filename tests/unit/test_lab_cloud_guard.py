"""Whom the security groups of an NLB let in, at one listener of it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from terway.lab.cloud.balancer_guard import admitted_sources
from tests.support.cloud_world import ZONE, CloudWorld, make_world

NLB = "2022-04-30"
NEAR, FAR, FAR_V6 = "10.1.2.3", "203.0.113.7", "2001:db8::7"
OUT = {"IpProtocol": "ALL", "PortRange": "-1/-1", "Policy": "drop", "Priority": "99"}


class Guarded:
    """A world with an NLB that is in security groups."""

    def __init__(self) -> None:
        self.world: CloudWorld = make_world()
        mapping = {
            "ZoneMappings.1.ZoneId": ZONE,
            "ZoneMappings.1.VSwitchId": self.world.pod_vswitch,
        }
        wanted = {"AddressType": "Intranet", "VpcId": self.world.vpc_id, **mapping}
        self.id = self.world.call("CreateLoadBalancer", version=NLB, **wanted)["LoadbalancerId"]

    def group(self, *rules: dict[str, str], kind: str = "normal") -> str:
        named = {"VpcId": self.world.vpc_id, "SecurityGroupType": kind}
        made = self.world.call("CreateSecurityGroup", **named)["SecurityGroupId"]
        for rule in rules:
            said = self.world.call("AuthorizeSecurityGroup", SecurityGroupId=made, **rule)
            assert "Code" not in said, said
        return str(made)

    def change(self, action: str, *groups: str) -> str:
        """Join or leave groups; the code of a refusal, or nothing."""
        named = {f"SecurityGroupIds.{number}": one for number, one in enumerate(groups, 1)}
        said = self.world.call(
            f"LoadBalancer{action}SecurityGroup", version=NLB, LoadBalancerId=self.id, **named
        )
        return str(said.get("Code", ""))

    def lets_in(self, source: str, *, protocol: str = "TCP", port: int = 80) -> bool:
        state, address = self.world.cloud.world.state, ip_address(source)
        nlb = state.balancing.nlb(self.id)
        ranges = admitted_sources(state, nlb, protocol=protocol, port=port, version=address.version)
        return ranges is None or any(address in one for one in ranges)


def let(source: str, *, ports: str = "-1/-1", protocol: str = "ALL") -> dict[str, str]:
    end = "Ipv6SourceCidrIp" if ":" in source else "SourceCidrIp"
    return {"IpProtocol": protocol, "PortRange": ports, "Priority": "1", end: source}


EVERYBODY, EVERYBODY_V6 = {**OUT, "SourceCidrIp": "0.0.0.0/0"}, {**OUT, "Ipv6SourceCidrIp": "::/0"}


def test_everybody_is_let_in_without_groups_and_with_groups_that_keep_nobody_out():
    guarded = Guarded()
    assert guarded.lets_in(FAR)

    assert guarded.change("Join", guarded.group(let("10.0.0.0/8"))) == ""

    assert guarded.lets_in(FAR)
    assert guarded.lets_in(FAR_V6)


def test_ranges_are_let_in_where_all_others_are_kept_out_family_by_family():
    guarded = Guarded()
    own = guarded.group(let("10.0.0.0/8"), let("2001:db8::/32"), EVERYBODY, EVERYBODY_V6)
    guarded.change("Join", own)

    assert guarded.lets_in(NEAR)
    assert guarded.lets_in(FAR_V6)
    assert not guarded.lets_in(FAR)
    assert not guarded.lets_in("2001:db9::7")
    assert guarded.change("Leave", own) == ""
    assert guarded.lets_in(FAR)


def test_rules_of_ports_are_about_their_listeners_alone():
    guarded = Guarded()
    closed = {**EVERYBODY, "IpProtocol": "TCP", "PortRange": "80/80"}
    guarded.change("Join", guarded.group(let("10.0.0.0/8", ports="80/80", protocol="TCP"), closed))

    assert guarded.lets_in(NEAR)
    assert not guarded.lets_in(FAR)
    assert guarded.lets_in(FAR, port=81)
    assert guarded.lets_in(FAR, protocol="UDP")


def test_of_several_groups_the_lowest_priority_decides_and_keeping_out_wins():
    guarded = Guarded()
    shut = {**let("10.1.0.0/16"), "Policy": "drop"}
    guarded.change("Join", guarded.group(let("10.0.0.0/8"), EVERYBODY), guarded.group(shut))

    assert not guarded.lets_in(NEAR)
    assert guarded.lets_in("10.2.0.1")


def test_a_rule_about_a_group_is_about_the_addresses_of_its_members():
    guarded = Guarded()
    member = str(guarded.world.instance.ipv4)
    peer = {"IpProtocol": "ALL", "PortRange": "-1/-1", "SourceGroupId": guarded.world.group}
    guarded.change("Join", guarded.group(peer, EVERYBODY))

    assert guarded.lets_in(member)
    assert not guarded.lets_in(NEAR)


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        (["normal"] * 5, "QuotaExceeded.SecurityGroup"),
        (["normal", "enterprise"], "OperationDenied.SecurityGroupTypeMismatch"),
    ],
)
def test_what_an_instance_cannot_be_in_it_does_not_join(kinds: list[str], code: str):
    guarded = Guarded()

    assert guarded.change("Join", *(guarded.group(kind=kind) for kind in kinds)) == code
    assert guarded.change("Join", "sg-none") == "ResourceNotFound.securityGroup"


def test_a_group_with_a_load_balancer_in_it_cannot_be_deleted():
    guarded = Guarded()
    own = guarded.group()
    guarded.change("Join", own)

    refused = guarded.world.call("DeleteSecurityGroup", SecurityGroupId=own)
    guarded.change("Leave", own)
    deleted = guarded.world.call("DeleteSecurityGroup", SecurityGroupId=own)

    assert refused["Code"] == "DependencyViolation"
    assert "Code" not in deleted
