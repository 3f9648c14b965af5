"""Attachments and node facts for tests, with the documentation's address plan."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from terway.datapath.facts import ENILink, NodeFacts
from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.moment import Moment

ENI = ENILink(
    name="eth1",
    ifindex=7,
    mac=MacAddress("00:16:3e:00:00:01"),
    gateways=IPPair(v4=IPv4Address("192.168.63.253"), v6=IPv6Address("fd00:0:0:2::fffd")),
)
NODE_FACTS = NodeFacts(
    addresses=IPPair(v4=IPv4Address("192.168.0.10"), v6=IPv6Address("fd00:0:0:1::10")),
    uplink="eth0",
    families=(Family.V4, Family.V6),
)


def dual_stack(number: int) -> IPPair:
    """Return the `number`-th pair of addresses of the pod vSwitch."""
    return IPPair(v4=IPv4Address("192.168.32.0") + number, v6=IPv6Address("fd00:0:0:2::") + number)


def attachment(
    number: int = 1,
    *,
    netns: str = "/run/netns/pod",
    pod: str | None = None,
    container_id: str | None = None,
    addresses: IPPair | None = None,
) -> Attachment:
    """Return the attachment of pod ``default/pod-<number>``, interface eth0."""
    key = AttachmentKey(container_id=ContainerId(container_id or f"c{number}"), ifname="eth0")
    return Attachment(
        key=key,
        network="terway",
        netns=netns,
        pod=PodRef(namespace="default", name=pod or f"pod-{number}"),
        lease=Lease(
            eni_id=ENIId("eni-1"), eni_mac=ENI.mac, addresses=addresses or dual_stack(number)
        ),
        made_at=Moment(boot_id="boot", seconds=0.0),
    )
