"""Records for the journal, told apart by a number."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from terway.model.address import Family, IPPair
from terway.model.attachment import Attachment, AttachmentKey, Lease, PodRef
from terway.model.eni import VSwitch
from terway.model.ids import (
    ClientToken,
    ContainerId,
    ENIId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)
from terway.model.moment import Moment
from terway.store.records import (
    AssignRecord,
    CreateRecord,
    ENIRecord,
    MarkRecord,
    PrefixRecord,
    SlotRecord,
)

ENI = ENIId("eni-1")
MAC = MacAddress("00:16:3e:00:00:01")


def v4(number: int) -> IPv4Address:
    return IPv4Address("10.0.0.0") + number


def attachment(number: int, *, address: int | None = None, pod: bool = True) -> Attachment:
    address = number if address is None else address
    return Attachment(
        key=AttachmentKey(container_id=ContainerId(f"c{number}"), ifname="eth0"),
        network="terway",
        netns=f"/run/netns/{number}",
        pod=PodRef(namespace="default", name=f"web-{number}", uid="u") if pod else None,
        lease=Lease(
            eni_id=ENI,
            eni_mac=MAC,
            addresses=IPPair(v4=v4(address), v6=IPv6Address("fd00::") + address),
        ),
        made_at=Moment(boot_id="boot", seconds=1000.25 + number),
    )


def slot(number: int, *, rests_until: float = 0.0) -> SlotRecord:
    return SlotRecord(
        address=v4(number),
        eni_id=ENI,
        is_primary=number == 0,
        is_retiring=False,
        rests_until=rests_until,
    )


def eni(phase: str = "in use") -> ENIRecord:
    return ENIRecord(
        id=ENI,
        mac=MAC,
        vswitch_id=VSwitchId("vsw-1"),
        phase=phase,
        is_ours=True,
        own_group_ids=(SecurityGroupId("sg-pod"),),
        is_erdma=True,
    )


def prefix(text: str = "10.0.1.0/28") -> PrefixRecord:
    return PrefixRecord(network=ip_network(text), eni_id=ENI, phase="draining", rests_until=7.5)


MARK = MarkRecord(name="warm")


VSWITCH = VSwitch(
    id=VSwitchId("vsw-1"),
    vpc_id=VpcId("vpc-1"),
    zone_id=ZoneId("zone-a"),
    cidr=IPv4Network("10.0.0.0/16"),
    ipv6_cidr=IPv6Network("fd00::/64"),
)
CREATE = CreateRecord(
    token=ClientToken("t-1"),
    vswitch_id=VSwitchId("vsw-1"),
    security_group_ids=(SecurityGroupId("sg-1"), SecurityGroupId("sg-2")),
    tags=(("creator", "terway"), ("team", "a,b")),
    resource_group_id="rg",
    ipv4_count=10,
    ipv6_count=3,
    ipv4_prefixes=2,
    ipv6_prefixes=1,
    is_erdma=True,
    has_own_groups=True,
)
ASSIGN = AssignRecord(
    token=ClientToken("t-2"), eni_id=ENI, family=Family.V6, count=4, is_prefix=True
)
