"""What becomes of a pod of upstream, by its journal and by the kernel; and the way back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_interface

import pytest

from terway.datapath.giveback import give_back
from terway.datapath.names import alias_of
from terway.datapath.shared import desired_of
from terway.datapath.takeover import (
    Outcome,
    OwnerENI,
    Sight,
    draft,
    judge,
    place_of_draft,
    without_doubles,
)
from terway.model.address import IPPair
from terway.model.attachment import PodRef
from terway.model.eni import VSwitch
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.interface import LinkMacs, Mode, OwnENI
from terway.model.network import LinkAddress, LinkSettings, Neighbour
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType
from tests.support.attachments import ENI, NODE_FACTS
from tests.support.kernel_node import VSWITCH

HOST, PEER = MacAddress("6a:00:00:00:00:01"), MacAddress("6a:00:00:00:00:02")
ADDRESS = IPv4Address("192.168.32.7")
INTERFACE = UpstreamInterface(
    ifname="eth0",
    device_mac=ENI.mac,
    addresses=IPPair(v4=ADDRESS),
    eni_id=ENIId("eni-1"),
    gateways=IPPair(v4=VSWITCH.cidr[-3]),
    ranges=(VSWITCH.cidr,),
)
POD = UpstreamPod(
    pod=PodRef(namespace="default", name="web-0", uid="u"),
    type=UpstreamType.ENI_MULTI_IP,
    container_id=ContainerId("c0"),
    netns="/run/netns/c0",
    has_pod_eni=False,
    interfaces=(INTERFACE,),
)
OWNER = OwnerENI(id=ENIId("eni-1"), mac=ENI.mac, gateways=INTERFACE.gateways)
DRAFT = draft(POD, INTERFACE, OWNER, boot_id="boot")


def sight(**changes):
    """Return what the kernel has of a pod of PolicyRoute, with changes."""
    place = place_of_draft(DRAFT)
    host = place.birth.host.name
    found = replace(
        place,
        alias="",
        node=(LinkSettings(name=host, mac=HOST),),
        pod=(
            LinkSettings(name="eth0", mac=PEER),
            LinkAddress(link="eth0", address=ip_interface(ADDRESS)),
        ),
    )
    return Sight(found=replace(found, **changes))


def test_a_pod_that_is_as_upstream_made_it_is_taken_with_the_macs_it_has():
    verdict = judge(POD, [DRAFT], [sight()])

    (made,) = verdict.attachments
    assert verdict.outcome is Outcome.TAKEN
    assert made.spec.macs == LinkMacs(host=HOST, pod=PEER)


def test_what_is_desired_of_a_pod_that_was_taken_over_changes_no_mac():
    (made,) = judge(POD, [DRAFT], [sight()]).attachments

    desired = desired_of(made, eni=ENI, node=NODE_FACTS)

    macs = {one.mac for one in desired.node if isinstance(one, LinkSettings)}
    gateways = {one.mac for one in desired.pod or () if isinstance(one, Neighbour)}
    assert macs == gateways == {HOST}
    assert desired.alias == alias_of(made.key)


@pytest.mark.parametrize(
    ("seen", "outcome", "why"),
    [
        (sight(pod=None), Outcome.GONE, "has ended"),
        (sight(pod=()), Outcome.GONE, "another's"),
        (sight(is_paired=False), Outcome.LEFT_ALONE, "no veth"),
        (replace(sight(), has_programs=True), Outcome.LEFT_ALONE, "datapathv2"),
    ],
)
def test_a_pod_that_is_not_as_upstream_made_it_is_not_taken(seen, outcome, why):
    verdict = judge(POD, [DRAFT], [seen])

    assert (verdict.outcome, why in verdict.why) == (outcome, True)


def test_of_a_pod_that_is_left_alone_nothing_is_desired_but_its_addresses_are_kept():
    (made,) = judge(POD, [DRAFT], [sight(is_paired=False)]).attachments

    desired = desired_of(made, eni=ENI, node=NODE_FACTS)

    assert (desired.node, desired.pod) == ((), ())
    assert tuple(made.lease.addresses) == (ADDRESS,)


def test_a_member_whose_pod_eni_is_not_known_is_left_alone():
    pod = replace(POD, has_pod_eni=True, interfaces=(replace(INTERFACE, vlan_id=31),))
    nameless = replace(OWNER, id=ENIId(""))
    made = draft(pod, pod.interfaces[0], nameless, boot_id="boot")

    verdict = judge(pod, [made], [sight()])

    assert verdict.outcome is Outcome.LEFT_ALONE
    assert made.device_mac == ENI.mac


def test_an_exclusive_pod_is_taken_by_its_device():
    pod = replace(POD, type=UpstreamType.VPC_ENI, has_pod_eni=True)
    made = draft(pod, INTERFACE, OWNER, boot_id="boot")
    leg = replace(place_of_draft(made), is_paired=False, pod=())

    verdicts = [
        judge(pod, [made], [Sight(found=leg, has_device=has_device)])
        for has_device in (True, False)
    ]

    assert [one.outcome for one in verdicts] == [Outcome.TAKEN, Outcome.GONE]
    assert made.spec.mode is Mode.EXCLUSIVE


def test_an_address_in_two_records_is_the_pods_that_has_it():
    """Bug class 7: an address given twice."""
    other = replace(POD, pod=replace(POD.pod, name="a-stale-one"))
    taken = judge(POD, [DRAFT], [sight()])
    left = judge(other, [replace(DRAFT, pod=other.pod)], [sight(is_paired=False)])

    found = tuple(without_doubles([left, taken]))

    assert {str(one.pod): one.outcome for one in found} == {
        "default/web-0": Outcome.TAKEN,
        "default/a-stale-one": Outcome.GONE,
    }


def test_a_pod_is_given_back_as_upstream_had_it():
    (made,) = judge(POD, [DRAFT], [sight()]).attachments
    vswitch = VSwitch(
        id=VSWITCH.id, vpc_id=VSWITCH.vpc_id, zone_id=VSWITCH.zone_id, cidr=VSWITCH.cidr
    )

    returned = give_back([made], {ENIId("eni-1"): VSWITCH.id}, [vswitch])

    assert returned.kept == ()
    (pod,) = returned.pods
    assert pod == POD


def test_an_ipvlan_child_cannot_be_given_back_and_is_named():
    child = replace(DRAFT, spec=replace(DRAFT.spec, mode=Mode.IPVLAN))

    returned = give_back([child], {}, [])

    ((name, why),) = returned.kept
    assert name == "default/web-0"
    assert "restart" in why


def test_a_member_of_a_trunk_goes_back_where_the_kernel_tags_as_upstream_does():
    own = OwnENI(gateways=IPPair(), trunk_mac=ENI.mac, vlan_id=31)
    member = replace(DRAFT, spec=replace(DRAFT.spec, own_eni=own))

    able, unable = (
        give_back([member], {}, [], tagging_lacks=lack) for lack in ("", "filter add: no such file")
    )

    assert [one.interfaces[0].vlan_id for one in able.pods] == [31]
    ((name, why),) = unable.kept
    assert name == "default/web-0"
    assert "no such file" in why
    assert "another node" in why
