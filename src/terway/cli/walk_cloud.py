"""How does a packet cross the VPC: source check, security groups, route table, the other ENI?"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from terway.cli.groups import judge
from terway.cli.hops import Ground, Hop, Packet, fail, has_address, ok, unknown
from terway.cloud.inspect import SecurityGroup, VpcRoute
from terway.model.address import IPAddress
from terway.model.eni import ENI, ENIStatus
from terway.model.ids import ENIId

_WHERE = "VPC"
_PROVIDER = ip_network("100.64.0.0/10")  # metadata, DNS and the cloud's other services


def across(ground: Ground, packet: Packet, eni_id: ENIId) -> Iterator[Hop]:
    """Yield the hops from the ENI that sends to the ENI that receives, or to the VPC's edge."""
    if ground.cloud is None:
        why = ground.snapshot.why_missing("cloud")
        yield unknown(_WHERE, "everything", f"the cloud could not be asked: {why}")
        return
    yield from _sender(ground, packet, eni_id)
    target = ground.eni(packet.destination)
    own = next((one for one in ground.cloud.enis if one.id == eni_id), None)
    if own is not None:
        yield from _group(ground, packet, own, target, is_ingress=False)
    if target is not None:
        yield from _receiver(ground, packet, target, own)
    else:
        yield from _elsewhere(ground, packet)


def _sender(ground: Ground, packet: Packet, eni_id: ENIId) -> Iterator[Hop]:
    assert ground.cloud is not None
    eni = next((one for one in ground.cloud.enis if one.id == eni_id), None)
    if eni is None:
        text = f"{eni_id} is not an ENI of this instance any more"
        yield fail(_WHERE, "ENI", text, _new_pod(ground, packet.source))
    elif eni.status is not ENIStatus.IN_USE:
        text = f"{eni_id} is {eni.status.value}, not InUse"
        yield fail(_WHERE, "ENI", text, "wait; if it stays so, detach it and let terwayd attach")
    elif not has_address(eni, packet.source):
        text = f"{eni_id} does not have {packet.source}: the source check drops the packet"
        yield fail(_WHERE, "source check", text, _new_pod(ground, packet.source))
    else:
        yield ok(_WHERE, "source check", f"{eni_id} is InUse and has {packet.source}")


def _new_pod(ground: Ground, address: IPAddress) -> str:
    held = ground.attachment(address)
    if held is None or held.pod is None:
        return "start the container again: it gets another address"
    pod = held.pod
    return f"kubectl -n {pod.namespace} delete pod {pod.name} (the next one gets another address)"


def _group(
    ground: Ground, packet: Packet, eni: ENI, other: ENI | None, *, is_ingress: bool
) -> Iterator[Hop]:
    peer = packet.source if is_ingress else packet.destination
    refusal = _refusal(ground, "groups")
    if refusal:
        if not is_ingress:
            yield unknown(_WHERE, "security groups", refusal)
        return
    groups = _groups(ground, eni)
    verdict = judge(
        groups,
        is_ingress=is_ingress,
        protocol=packet.protocol,
        port=packet.port,
        peer=peer,
        peer_groups=other.security_group_ids if other else (),
    )
    word = "in" if is_ingress else "out"
    what = f"security group, {word}"
    if verdict.is_accepted:
        yield ok(_WHERE, what, verdict.reason)
        return
    name = "AuthorizeSecurityGroup" + ("" if is_ingress else "Egress")
    port = f"{packet.port}/{packet.port}" if packet.port else "-1/-1"
    end = ("SourceCidrIp" if is_ingress else "DestCidrIp") if peer.version == 4 else ""
    end = end or ("Ipv6SourceCidrIp" if is_ingress else "Ipv6DestCidrIp")
    group = groups[0].id if groups else "sg-…"
    remedy = (
        f"aliyun ecs {name} --SecurityGroupId {group} --IpProtocol {packet.protocol} "
        f"--PortRange {port} --Priority 1 --{end} {peer}/{peer.max_prefixlen}"
    )
    text = f"{eni.id}: {verdict.reason}"
    yield fail(_WHERE, what, text, f"remove the rule that drops, or: {remedy}")


def _refusal(ground: Ground, part: str) -> str:
    refusals = ground.cloud.refusals if ground.cloud else ()
    return next((f"not read: {one.reason}" for one in refusals if one.source == part), "")


def _groups(ground: Ground, eni: ENI) -> list[SecurityGroup]:
    assert ground.cloud is not None
    return [one for one in ground.cloud.groups if one.id in eni.security_group_ids]


def _receiver(ground: Ground, packet: Packet, target: ENI, own: ENI | None) -> Iterator[Hop]:
    where = f"on {target.instance_id}" if target.instance_id else "attached to nothing"
    if target.status is not ENIStatus.IN_USE:
        text = f"{packet.destination} is on {target.id}, which is {target.status.value}"
        yield fail(_WHERE, "receiving ENI", text, f"attach {target.id} to its instance")
        return
    yield ok(_WHERE, "receiving ENI", f"{target.id} has {packet.destination}, {where}")
    yield from _group(ground, packet, target, own, is_ingress=True)


def _elsewhere(ground: Ground, packet: Packet) -> Iterator[Hop]:
    assert ground.cloud is not None
    destination = packet.destination
    if destination.version == 4 and destination in _PROVIDER:
        yield ok(_WHERE, "route", f"{destination} is a service of the cloud, reached from anywhere")
        return
    if destination in ground.cloud.asked and _is_in_vpc(ground, destination):
        text = f"{destination} is in the VPC, and no ENI has it"
        yield fail(_WHERE, "receiving ENI", text, "is the address right? Its pod may be gone")
        return
    route = _longest(ground, destination)
    refusal = _refusal(ground, "routes")
    if refusal:
        yield unknown(_WHERE, "route", refusal)
    elif route is None:
        text = f"the route table has no entry for {destination}"
        remedy = "for the internet: an SNAT entry on a NAT gateway, or an IPv6 gateway"
        if destination.is_private:
            remedy = "aliyun vpc CreateRouteEntry, or a CEN or VPN connection to that network"
        yield fail(_WHERE, "route", text, remedy)
    elif route.next_hop_type == "local":
        yield unknown(_WHERE, "receiving ENI", f"nobody asked which ENI has {destination}")
    else:
        hop = f"{route.next_hop_type} {route.next_hop_id}"
        yield ok(_WHERE, "route", f"{route.destination} leads to {hop}; the walk ends there")


def _is_in_vpc(ground: Ground, address: IPAddress) -> bool:
    local = (
        [one.destination for one in ground.cloud.routes if one.next_hop_type == "local"]
        if ground.cloud
        else []
    )
    instance = ground.snapshot.instance
    if instance is not None:
        local.append(ip_network(instance.vpc_cidr))
    ranges = (one for one in local if one.version == address.version and one != _PROVIDER)
    return any(address in one for one in ranges)


def _longest(ground: Ground, destination: IPAddress) -> VpcRoute | None:
    assert ground.cloud is not None
    fitting = (
        one
        for one in ground.cloud.routes
        if one.destination.version == destination.version and destination in one.destination
    )
    return max(fitting, key=lambda one: one.destination.prefixlen, default=None)
