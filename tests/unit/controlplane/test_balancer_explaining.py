"""What the cloud refuses of a load balancer is told in the words of who wrote it."""

from __future__ import annotations

import pytest

from terway.cloud.errors import translate
from terway.controlplane.balancers.explaining import explain
from terway.loadbalancer.said import PREFIXES
from terway.model.balancer import BalancerProduct
from terway.model.errors import CapacityError, TransientError, UsageError, VpcError

CLB, NLB = BalancerProduct.CLB, BalancerProduct.NLB
NO_VSWITCH = "InvalidVSwitchId.NotFound"
NO_GROUP = "ResourceNotFound.securityGroup"


def refusal(code: str, message: str) -> VpcError:
    return translate(
        action="CreateLoadBalancer", status=404, code=code, message=message, request_id="r"
    )


@pytest.mark.parametrize(
    ("product", "name", "value", "code", "told"),
    [
        (CLB, "vswitch-id", "vsw-nope", NO_VSWITCH, "'vsw-nope' is refused"),
        (NLB, "zone-maps", "z-a:vsw-1,z-b:vsw-nope", NO_VSWITCH, "vsw-nope' (vsw-nope) is refused"),
        (NLB, "security-group-ids", "sg-1,sg-nope", NO_GROUP, "sg-nope' (sg-nope) is refused"),
        (CLB, "acl-id", "acl-nope", "InvalidAclId.NotExist", "'acl-nope' is refused"),
    ],
)
def test_a_refusal_names_the_annotation_and_the_value(
    product: BalancerProduct, name: str, value: str, code: str, told: str
) -> None:
    key = PREFIXES[0] + name
    nope = value.replace(":", ",").split(",")[-1]

    found = explain(refusal(code, f"does not exist: {nope}."), {key: value}, product)

    assert isinstance(found, UsageError)
    assert str(found).startswith(f"annotation {key}: {value!r}")
    assert told in str(found)
    assert "correct it, or take it out" in str(found)
    assert "CreateLoadBalancer: the cloud answered 404" in str(found)
    assert "the pod's own network" not in str(found)
    assert found.code == code  # so that it is tried again: the cloud may take it soon


@pytest.mark.parametrize(("product", "name"), [(CLB, "vswitch-id"), (NLB, "zone-maps")])
def test_without_annotation_it_is_eni_config_that_is_to_be_corrected(
    product: BalancerProduct, name: str
) -> None:
    found = explain(refusal(NO_VSWITCH, "no such vSwitch"), {}, product)

    assert str(found).startswith("the vSwitches of eni-config are refused by the cloud: correct")
    assert PREFIXES[0] + name in str(found)


def test_a_full_vswitch_is_waited_for_and_named() -> None:
    error = refusal("InvalidVSwitchId.IpNotEnough", "vsw-1 has no free address")

    found = explain(error, {f"{PREFIXES[1]}vswitch-id": "vsw-1"}, CLB)

    assert isinstance(found, CapacityError)
    assert str(found).startswith(f"annotation {PREFIXES[1]}vswitch-id: 'vsw-1' is refused")


@pytest.mark.parametrize(
    "error",
    [refusal(NO_GROUP, "ours is gone"), refusal("Some.Other", "no"), TransientError("vswitch")],
)
def test_what_is_about_nothing_that_was_written_stays_as_it_is(error: VpcError) -> None:
    assert explain(error, {}, NLB) is error
