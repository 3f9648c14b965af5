"""A refusal of the cloud is told by what a person wrote: which PodNetworking, what to do."""

from __future__ import annotations

import json

import pytest

from terway.cloud.errors import translate
from terway.controlplane.clusterconf import parse_eni_conf
from terway.controlplane.podenis.explaining import Explainer
from terway.controlplane.podenis.world import ClusterWorld
from terway.kube.crds import POD_NETWORKINGS, PodENI
from terway.lab.cloud.faults import Fault
from terway.model.errors import CapacityError, TransientError, UsageError, VpcError
from tests.support.cloud_world import ZONE
from tests.support.pod_eni_cluster import PREFIX, open_pod_eni_cluster

GROUPS, VSWITCHES = "spec.securityGroupIDs", "spec.vSwitchOptions"
# What the cloud says of which call; the field and the remedy that people are told.
CREATION = [
    ("InvalidSecurityGroupId.NotFound", GROUPS, "security groups that exist"),
    ("InvalidSecurityGroupId.Malformed", GROUPS, "security groups that exist"),
    ("InvalidOperation.VpcMismatch", GROUPS, "of the vSwitches' VPC"),
    ("SecurityGroupInstanceLimitExceed", GROUPS, "is full"),
    ("InvalidVSwitchId.NotFound", VSWITCHES, "vSwitches that exist"),
    ("InvalidVSwitch.Ipv6NotTurnOn", VSWITCHES, "an IPv6 range"),
    ("InvalidVSwitchId.IpNotEnough", VSWITCHES, "free addresses"),
    ("QuotaExceeded.PrivateIpAddress", VSWITCHES, "free addresses"),
    ("QuotaExceeded.Eni", "", "higher quota"),
]
ATTACHMENT = [
    ("InvalidOperation.AvailabilityZoneMismatch", VSWITCHES, "of the zone"),
    ("EniPerInstanceLimitExceeded", "", "another node"),
]


@pytest.fixture
async def cluster(tmp_path):
    async with open_pod_eni_cluster(tmp_path) as cluster:
        yield cluster


async def refused(cluster, action, code):
    """Return the ids of what the pod's PodNetworking lists, after the cloud has refused them."""
    listed = {
        "vSwitchOptions": [cluster.cloud.pod_vswitch],
        "securityGroupIDs": [cluster.cloud.group],
    }
    spec = {**listed, "selector": {"podSelector": {"matchLabels": {"app": "web"}}}}
    await cluster.client.create(POD_NETWORKINGS, {"metadata": {"name": "red"}, "spec": spec})
    await cluster.settle()
    cluster.cloud.cloud.faults.add(Fault(action=action, code=code, status=403))
    await cluster.make_pod("web-0", "n1", labels={"app": "web"})
    for _ in range(12):
        await cluster.round()
    return {f"spec.{field}": ids[0] for field, ids in listed.items()}


def told(cluster, reason):
    """Return what the pod was told first."""
    said = [text for kind, why, text in cluster.told.said if (kind, why) == ("Pod", reason)]
    assert said, cluster.told.said
    return said[0]


@pytest.mark.parametrize(
    ("action", "reason", "code", "field", "remedy"),
    [
        *(("CreateNetworkInterface", "CreateENIFailed", *case) for case in CREATION),
        *(("AttachNetworkInterface", "AttachENIFailed", *case) for case in ATTACHMENT),
    ],
)
async def test_a_refusal_names_the_pod_networking_its_field_the_id_and_the_remedy(
    cluster, action, reason, code, field, remedy
):
    ids = await refused(cluster, action, code)

    text = told(cluster, reason)

    assert remedy in text
    assert code in text
    assert "eni_conf" not in text
    if field:
        assert f"{ids[field]} in {field} of PodNetworking red" in text


async def test_a_vswitch_that_is_gone_since_is_named_with_its_pod_networking(cluster):
    vswitch = "vsw-gone"
    spec = {
        "vSwitchOptions": [vswitch],
        "securityGroupIDs": [cluster.cloud.group],
        "selector": {"podSelector": {"matchLabels": {"app": "web"}}},
    }
    await cluster.client.create(POD_NETWORKINGS, {"metadata": {"name": "red"}, "spec": spec})
    status = {"status": {"status": "Ready", "vSwitches": [{"id": vswitch, "zone": ZONE}]}}
    await cluster.client.patch(POD_NETWORKINGS, "red", status, subresource="status")
    await cluster.make_pod("web-0", "n1", labels={"app": "web"})

    await cluster.round()

    text = told(cluster, "CreateENIFailed")
    assert f"{vswitch} in spec.vSwitchOptions of PodNetworking red" in text
    assert "not known to the cloud" in text


async def test_the_pod_eni_says_it_too(cluster):
    await refused(cluster, "CreateNetworkInterface", "InvalidSecurityGroupId.NotFound")

    text = told(cluster, "CreateENIFailed")

    assert "PodNetworking red" in text
    assert any("PodNetworking red" in str(one) for one in cluster.errors)


@pytest.mark.parametrize(
    ("has_defaults", "owner"),
    [(True, "security_groups of eni-config"), (False, "the pod's annotation pod-networks")],
)
async def test_ids_of_no_pod_networking_are_eni_configs_or_the_pods_own(
    cluster, has_defaults, owner
):
    vswitches, group = [cluster.cloud.pod_vswitch], cluster.cloud.group
    asked = {f"{PREFIX}pod-eni": "true"}
    if has_defaults:
        conf = {"vswitches": {"cn-hangzhou-i": vswitches}, "security_group": group}
        cluster.conf = parse_eni_conf(json.dumps(conf))
    else:
        one = {"interface": "eth0", "vSwitchOptions": vswitches, "securityGroupIDs": [group]}
        asked = {f"{PREFIX}pod-networks": json.dumps({"podNetworks": [one]})}
    cluster.cloud.cloud.faults.add(
        Fault(action="CreateNetworkInterface", code="InvalidSecurityGroupId.NotFound", status=404)
    )

    await cluster.make_pod("web-0", "n1", annotations=asked)
    await cluster.round()

    text = told(cluster, "CreateENIFailed")
    assert group in text
    assert owner in text


async def bystander(cluster, vswitch, group):
    """Make a PodNetworking of these that selects nobody."""
    spec = {"vSwitchOptions": [vswitch], "securityGroupIDs": [group]}
    await cluster.client.create(POD_NETWORKINGS, {"metadata": {"name": "other"}, "spec": spec})
    await cluster.settle()


async def test_a_pod_networking_that_merely_names_the_same_ids_is_not_blamed(cluster):
    await bystander(cluster, "vsw-nope", cluster.cloud.group)
    one = {
        "interface": "eth0",
        "vSwitchOptions": ["vsw-nope"],
        "securityGroupIDs": [cluster.cloud.group],
    }
    asked = {f"{PREFIX}pod-networks": json.dumps({"podNetworks": [one]})}

    await cluster.make_pod("web-0", "n1", annotations=asked)
    await cluster.round()

    text = told(cluster, "CreateENIFailed")
    assert "vsw-nope in vSwitchOptions of the pod's annotation pod-networks" in text
    assert "PodNetworking" not in text


@pytest.mark.parametrize("is_admitted", [True, False])
async def test_a_pod_networking_that_an_interface_asks_for_by_name_is_named(cluster, is_admitted):
    await bystander(cluster, cluster.cloud.pod_vswitch, cluster.cloud.group)
    cluster.cloud.cloud.faults.add(
        Fault(action="CreateNetworkInterface", code="InvalidSecurityGroupId.NotFound", status=404)
    )
    asked = {
        f"{PREFIX}pod-networks-request": json.dumps([{"interfaceName": "eth0", "network": "other"}])
    }

    await cluster.make_pod("web-0", "n1", annotations=asked, is_admitted=is_admitted)
    await cluster.round()

    assert "in spec.securityGroupIDs of PodNetworking other" in told(cluster, "CreateENIFailed")


def refusal(code: str) -> VpcError:
    return translate(
        action="CreateNetworkInterface", status=403, code=code, message="No.", request_id="R-1"
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("InvalidSecurityGroupId.NotFound", UsageError),
        ("SecurityGroupInstanceLimitExceed", CapacityError),
        ("InternalError", TransientError),
    ],
)
async def test_what_to_do_about_it_is_the_same_class(cluster, code, kind):
    error = refusal(code)
    world = ClusterWorld(cluster.copies, lambda: None)
    explained = Explainer(world, cluster.copies).explain(error, PodENI())

    assert type(explained) is kind
    assert explained.code == code
    assert getattr(explained, "retry_after_s", 0) == getattr(error, "retry_after_s", 0)
