"""Whose are these ENIs, and which addresses have an owner? Kept beside the records, not searched.

A region has a hundred thousand ENIs when it has five thousand nodes; each call asks for a few.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from terway.lab.cloud.records import ENIRecord
from terway.model.ids import ENIId


class ENIIndex:
    """The ENIs by instance and vSwitch, and their addresses by vSwitch."""

    def __init__(self) -> None:
        self.by_instance: defaultdict[str, dict[ENIId, None]] = defaultdict(dict)
        self.by_vswitch: defaultdict[str, dict[ENIId, None]] = defaultdict(dict)
        self.members: Counter[str] = Counter()  # how many ENIs a security group has
        self.ipv4: defaultdict[str, set[IPv4Address]] = defaultdict(set)  # of prefixes too
        self.ipv6: defaultdict[str, set[IPv6Address]] = defaultdict(set)
        self.ipv6_prefixes: defaultdict[str, set[IPv6Network]] = defaultdict(set)

    def change(self, before: ENIRecord | None, after: ENIRecord | None) -> None:
        """Follow the change of one ENI; None is that it was not, or is no more."""
        same_place = before and after and before.instance_id == after.instance_id
        if before is not None:
            self._forget(before, leaves=not same_place)
        if after is not None:
            self._learn(after)

    def _forget(self, eni: ENIRecord, *, leaves: bool) -> None:
        if eni.instance_id is not None and leaves:
            del self.by_instance[eni.instance_id][eni.id]
        del self.by_vswitch[eni.vswitch_id][eni.id]
        self.members.subtract(eni.security_group_ids)
        self.ipv4[eni.vswitch_id].difference_update(_ipv4_of(eni))
        self.ipv6[eni.vswitch_id].difference_update(eni.ipv6)
        self.ipv6_prefixes[eni.vswitch_id].difference_update(eni.ipv6_prefixes)

    def _learn(self, eni: ENIRecord) -> None:
        if eni.instance_id is not None:
            self.by_instance[eni.instance_id][eni.id] = None
        self.by_vswitch[eni.vswitch_id][eni.id] = None
        self.members.update(eni.security_group_ids)
        self.ipv4[eni.vswitch_id].update(_ipv4_of(eni))
        self.ipv6[eni.vswitch_id].update(eni.ipv6)
        self.ipv6_prefixes[eni.vswitch_id].update(eni.ipv6_prefixes)


def _ipv4_of(eni: ENIRecord) -> tuple[IPv4Address, ...]:
    return (*eni.ipv4, *(ip for prefix in eni.ipv4_prefixes for ip in prefix))
