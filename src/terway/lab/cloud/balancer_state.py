"""Which load balancers are there? Their records, looked up by id; the cloud's refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

from terway.lab.cloud.balancer_records import (
    AclRecord,
    ClbListenerRecord,
    ClbRecord,
    HealthSeen,
    JobRecord,
    NlbListenerRecord,
    NlbRecord,
    ServerGroupRecord,
    VServerGroupRecord,
)
from terway.lab.cloud.http_records import CertificateRecord
from terway.lab.cloud.refusal import Refusal, not_found
from terway.model.address import IPAddress
from terway.model.ids import VSwitchId

Record = (
    ClbRecord
    | VServerGroupRecord
    | ClbListenerRecord
    | AclRecord
    | CertificateRecord
    | NlbRecord
    | ServerGroupRecord
    | NlbListenerRecord
    | JobRecord
)


class BalancingState:
    """The load balancers of the account; `changed` is told of each change."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.clbs: dict[str, ClbRecord] = {}
        self.vserver_groups: dict[str, VServerGroupRecord] = {}
        self.clb_listeners: dict[str, ClbListenerRecord] = {}
        self.acls: dict[str, AclRecord] = {}
        self.certificates: dict[str, CertificateRecord] = {}
        self.nlbs: dict[str, NlbRecord] = {}
        self.server_groups: dict[str, ServerGroupRecord] = {}
        self.nlb_listeners: dict[str, NlbListenerRecord] = {}
        self.jobs: dict[str, JobRecord] = {}
        self.health = HealthSeen()  # by whoever carries the packets
        self._changed = changed

    def put(self, *records: Record) -> None:
        """Add records, or replace those with the same ids."""
        for record in records:
            self._table(record)[record.id] = record
        self._changed()

    def remove(self, *records: Record) -> None:
        """Remove records."""
        for record in records:
            del self._table(record)[record.id]
        self._changed()

    def clb(self, balancer_id: str) -> ClbRecord:
        """Return a CLB instance. Raises Refusal."""
        if balancer_id not in self.clbs:
            raise not_found("LoadBalancerId", balancer_id)
        return self.clbs[balancer_id]

    def vserver_group(self, group_id: str) -> VServerGroupRecord:
        """Return a group of a CLB instance. Raises Refusal, which CLB gives no code of its own."""
        if group_id not in self.vserver_groups:
            message = f"The specified VServerGroupId does not exist: {group_id}."
            raise Refusal("InvalidParameter", message)
        return self.vserver_groups[group_id]

    def clb_listener(self, balancer_id: str, protocol: str, port: int) -> ClbListenerRecord:
        """Return a listener of a CLB instance. Raises Refusal."""
        held = self.clb_listeners.get(f"{self.clb(balancer_id).id}/{protocol}/{port}")
        if held is None:
            message = f"The specified resource does not exist: listener {protocol}/{port}."
            raise Refusal("InvalidListenerPort.NotFound", message, status=404)
        return held

    def acl(self, acl_id: str) -> AclRecord:
        """Return an access control list. Raises Refusal."""
        if acl_id not in self.acls:
            raise Refusal("InvalidAclId.NotExist", f"The specified AclId does not exist: {acl_id}.")
        return self.acls[acl_id]

    def certificate(self, certificate_id: str) -> CertificateRecord:
        """Return a server certificate. Raises Refusal."""
        if certificate_id not in self.certificates:
            message = f"The specified server certificate does not exist: {certificate_id}."
            raise Refusal("ServerCertificateId.NotFound", message)
        return self.certificates[certificate_id]

    def nlb(self, balancer_id: str) -> NlbRecord:
        """Return an NLB instance. Raises Refusal."""
        if balancer_id not in self.nlbs:
            raise resource_not_found("loadBalancer", balancer_id)
        return self.nlbs[balancer_id]

    def server_group(self, group_id: str) -> ServerGroupRecord:
        """Return a server group of NLB. Raises Refusal."""
        if group_id not in self.server_groups:
            raise resource_not_found("serverGroup", group_id)
        return self.server_groups[group_id]

    def nlb_listener(self, listener_id: str) -> NlbListenerRecord:
        """Return a listener of NLB. Raises Refusal."""
        if listener_id not in self.nlb_listeners:
            raise resource_not_found("listener", listener_id)
        return self.nlb_listeners[listener_id]

    def listeners_of_clb(self, balancer_id: str) -> list[ClbListenerRecord]:
        """Return the listeners of a CLB instance."""
        return [one for one in self.clb_listeners.values() if one.balancer_id == balancer_id]

    def groups_of_clb(self, balancer_id: str) -> list[VServerGroupRecord]:
        """Return the groups of a CLB instance."""
        return [one for one in self.vserver_groups.values() if one.balancer_id == balancer_id]

    def listeners_of_nlb(self, balancer_id: str) -> list[NlbListenerRecord]:
        """Return the listeners of an NLB instance."""
        return [one for one in self.nlb_listeners.values() if one.balancer_id == balancer_id]

    def addresses_in(self, vswitch_id: VSwitchId) -> Iterator[IPAddress]:
        """Iterate over the addresses of a vSwitch that load balancers have."""
        for clb in self.clbs.values():
            if clb.vswitch_id == vswitch_id:
                yield clb.address
        for nlb in self.nlbs.values():
            for zone in nlb.zones:
                if zone.vswitch_id == vswitch_id:
                    yield zone.private_ipv4
                    yield from (zone.ipv6,) if zone.ipv6 else ()

    def ipv4_in(self, vswitch_id: VSwitchId) -> set[IPv4Address]:
        """Return the IPv4 addresses of a vSwitch that load balancers have."""
        return {one for one in self.addresses_in(vswitch_id) if isinstance(one, IPv4Address)}

    def ipv6_in(self, vswitch_id: VSwitchId) -> set[IPv6Address]:
        """Return the IPv6 addresses of a vSwitch that load balancers have."""
        return {one for one in self.addresses_in(vswitch_id) if isinstance(one, IPv6Address)}

    def public_addresses(self) -> set[IPAddress]:
        """Return the addresses of the internet that load balancers have."""
        taken: set[IPAddress] = {one.address for one in self.clbs.values() if one.is_internet}
        zones = (zone for nlb in self.nlbs.values() for zone in nlb.zones)
        return taken | {zone.public_ipv4 for zone in zones if zone.public_ipv4 is not None}

    def _table(self, record: Record) -> dict[str, Record]:
        table: object
        match record:
            case ClbRecord():
                table = self.clbs
            case VServerGroupRecord():
                table = self.vserver_groups
            case ClbListenerRecord():
                table = self.clb_listeners
            case AclRecord():
                table = self.acls
            case CertificateRecord():
                table = self.certificates
            case NlbRecord():
                table = self.nlbs
            case ServerGroupRecord():
                table = self.server_groups
            case NlbListenerRecord():
                table = self.nlb_listeners
            case JobRecord():
                table = self.jobs
        return table  # type: ignore[return-value]  # a dict is invariant; the match keeps it right


def resource_not_found(kind: str, value: str) -> Refusal:
    """Return NLB's refusal of an id that does not exist."""
    message = f"The specified resource of {kind} is not found: {value}."
    return Refusal(f"ResourceNotFound.{kind}", message, status=404)
