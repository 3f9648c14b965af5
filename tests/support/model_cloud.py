"""A cloud small enough to be believed: ENIs and vSwitches in dicts, tokens, limits, no waiting.

It refuses with the classes and codes that `terway.cloud.ecs` raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.model.address import IPAddress
from terway.model.eni import ENI, ENIStatus, ENIType, VSwitch
from terway.model.errors import CapacityError, ConflictError
from terway.model.ids import (
    ClientToken,
    ENIId,
    InstanceId,
    MacAddress,
    SecurityGroupId,
    VpcId,
    VSwitchId,
    ZoneId,
)

INSTANCE = InstanceId("i-1")
ZONE = ZoneId("zone-a")
GROUP = SecurityGroupId("sg-1")


def vswitch(number: int, *, zone: str = ZONE, available: int = 1000) -> VSwitch:
    return VSwitch(
        id=VSwitchId(f"vsw-{number}"),
        vpc_id=VpcId("vpc-1"),
        zone_id=ZoneId(zone),
        cidr=IPv4Network(f"10.{number}.0.0/16"),
        ipv6_cidr=IPv6Network(f"2408:{number}::/64"),
        available_ip_count=available,
    )


class ModelCloud:
    """What the cloud has and does. Every call is counted by name in `calls`."""

    def __init__(
        self,
        vswitches: Iterable[VSwitch] = (vswitch(1), vswitch(2)),
        *,
        eni_slots: int = 3,
        per_eni: int = 6,
    ) -> None:
        self.enis: dict[ENIId, ENI] = {}
        self.vswitches = {one.id: one for one in vswitches}
        self.eni_slots = eni_slots
        self.per_eni = per_eni
        self.fragmented: set[VSwitchId] = set()  # they have no whole range left
        self.calls: Counter[str] = Counter()
        self._answers: dict[ClientToken, tuple[object, object]] = {}
        self._numbers = 0

    @property
    def mutating_calls(self) -> int:
        return sum(n for name, n in self.calls.items() if not name.startswith("describe"))

    def addresses(self) -> set[IPAddress]:
        found: set[IPAddress] = set()
        for eni in self.enis.values():
            found |= {*eni.ipv4, *eni.ipv6}
        return found

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def _take_v4(self, vswitch_id: VSwitchId, count: int) -> tuple[IPv4Address, ...]:
        state = self.vswitches[vswitch_id]
        self._check_room(vswitch_id, count)
        self._credit(vswitch_id, -count)
        return tuple(state.cidr[self._next()] for _ in range(count))

    def _take_v6(self, vswitch_id: VSwitchId, count: int) -> tuple[IPv6Address, ...]:
        cidr = self.vswitches[vswitch_id].ipv6_cidr
        assert cidr is not None
        return tuple(cidr[self._next()] for _ in range(count))

    def _check_room(self, vswitch_id: VSwitchId, count: int) -> None:
        if self.vswitches[vswitch_id].available_ip_count < count:
            raise CapacityError("the vSwitch is full", code="InvalidVSwitchId.IpNotEnough")

    def _take_ranges_v4(self, vswitch_id: VSwitchId, count: int) -> tuple[IPv4Network, ...]:
        """Ranges come from the upper half of the vSwitch, single addresses from the lower."""
        state = self.vswitches[vswitch_id]
        if (state.available_ip_count // 16) < count or vswitch_id in self.fragmented:
            raise CapacityError("no whole range is free", code="InvalidVSwitchId.IpNotEnough")
        self._credit(vswitch_id, -16 * count)
        upper = int(state.cidr[state.cidr.num_addresses // 2])
        return tuple(IPv4Network((upper + 16 * self._next(), 28)) for _ in range(count))

    def _take_ranges_v6(self, vswitch_id: VSwitchId, count: int) -> tuple[IPv6Network, ...]:
        cidr = self.vswitches[vswitch_id].ipv6_cidr
        assert cidr is not None
        start = int(cidr.network_address)
        return tuple(IPv6Network((start + (self._next() << 48), 80)) for _ in range(count))

    def _credit(self, vswitch_id: VSwitchId, count: int) -> None:
        state = self.vswitches[vswitch_id]
        left = state.available_ip_count + count
        self.vswitches[vswitch_id] = replace(state, available_ip_count=left)

    def _eni(self, eni_id: ENIId) -> ENI:
        if eni_id not in self.enis:
            raise ConflictError(f"{eni_id} does not exist", code="InvalidEniId.NotFound")
        return self.enis[eni_id]

    def _answered(self, token: ClientToken, question: object) -> object:
        """Return the first answer to a repeated call, or None for a new one."""
        asked, answer = self._answers.get(token, (question, None))
        if asked != question:
            raise ConflictError("the token means something else", code="IdempotentFailed")
        return answer

    def create_eni(
        self,
        *,
        vswitch_id: VSwitchId,
        security_group_ids: Sequence[SecurityGroupId],
        ipv4_count: int,
        ipv6_count: int = 0,
        ipv4_prefixes: int = 0,
        ipv6_prefixes: int = 0,
        is_erdma: bool = False,
        is_trunk: bool = False,
        tags: Sequence[tuple[str, str]] = (),
        description: str = "",
        resource_group_id: str = "",
        delete_on_release: bool = True,
        token: ClientToken,
    ) -> ENI:
        self.calls["create_eni"] += 1
        counts = (ipv4_count, ipv6_count, ipv4_prefixes, ipv6_prefixes, is_erdma, is_trunk)
        question = (vswitch_id, tuple(security_group_ids), *counts, tuple(tags))
        before = self._answered(token, question)
        if isinstance(before, ENI):
            return before
        self._check_room(vswitch_id, ipv4_count + 16 * ipv4_prefixes)
        ipv4 = self._take_v4(vswitch_id, ipv4_count)
        number = self._next()
        eni = ENI(
            id=ENIId(f"eni-{number}"),
            mac=MacAddress(f"00:16:3e:00:{number // 256:02x}:{number % 256:02x}"),
            type=ENIType.TRUNK if is_trunk else ENIType.SECONDARY,
            status=ENIStatus.AVAILABLE,
            vpc_id=VpcId("vpc-1"),
            vswitch_id=vswitch_id,
            zone_id=self.vswitches[vswitch_id].zone_id,
            primary_ipv4=ipv4[0],
            ipv4=ipv4,
            ipv6=self._take_v6(vswitch_id, ipv6_count),
            ipv4_prefixes=self._take_ranges_v4(vswitch_id, ipv4_prefixes),
            ipv6_prefixes=self._take_ranges_v6(vswitch_id, ipv6_prefixes),
            security_group_ids=tuple(security_group_ids),
            traffic_mode="HighPerformance" if is_erdma else "Standard",
            tags=tuple(tags),
        )
        self.enis[eni.id] = eni
        self._answers[token] = (question, eni)
        return eni

    def attach_eni(self, eni_id: ENIId, instance_id: InstanceId) -> None:
        self.calls["attach_eni"] += 1
        eni = self._eni(eni_id)
        if eni.status is not ENIStatus.AVAILABLE:
            raise ConflictError("not available", code="InvalidOperation.InvalidEniState")
        attached = [one for one in self.enis.values() if one.instance_id == instance_id]
        if len(attached) >= self.eni_slots:
            raise CapacityError("too many ENIs", code="EniPerInstanceLimitExceeded")
        self.enis[eni_id] = replace(eni, status=ENIStatus.IN_USE, instance_id=instance_id)

    def detach_eni(self, eni_id: ENIId, instance_id: InstanceId) -> None:
        self.calls["detach_eni"] += 1
        eni = self.enis.get(eni_id)
        if eni is None:
            return
        if eni.status is not ENIStatus.IN_USE:
            raise ConflictError("not in use", code="InvalidOperation.InvalidEniState")
        self.enis[eni_id] = replace(eni, status=ENIStatus.DETACHING)

    def settle(self) -> None:
        """Let what is under way come to its end."""
        for eni in self.enis.values():
            if eni.status is ENIStatus.DETACHING:
                self.enis[eni.id] = replace(eni, status=ENIStatus.AVAILABLE, instance_id=None)

    def delete_eni(self, eni_id: ENIId) -> None:
        self.calls["delete_eni"] += 1
        eni = self.enis.get(eni_id)
        if eni is None:
            return
        if eni.status is not ENIStatus.AVAILABLE:
            self.settle()
            raise ConflictError("attached", code="InvalidOperation.InvalidEniState")
        del self.enis[eni_id]
        self._credit(eni.vswitch_id, len(eni.ipv4) + 16 * len(eni.ipv4_prefixes))

    def assign_ipv4(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Address, ...]:
        self.calls["assign_ipv4"] += 1
        eni = self._eni(eni_id)
        before = self._answered(token, (eni_id, 4, count))
        if isinstance(before, tuple):
            return before
        if len(eni.ipv4) + len(eni.ipv4_prefixes) + count > self.per_eni:
            raise CapacityError("ENI full", code="InvalidOperation.Ipv4CountExceeded")
        given = self._take_v4(eni.vswitch_id, count)
        self.enis[eni_id] = replace(eni, ipv4=(*eni.ipv4, *given))
        self._answers[token] = ((eni_id, 4, count), given)
        return given

    def assign_ipv6(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Address, ...]:
        self.calls["assign_ipv6"] += 1
        eni = self._eni(eni_id)
        before = self._answered(token, (eni_id, 6, count))
        if isinstance(before, tuple):
            return before
        if len(eni.ipv6) + len(eni.ipv6_prefixes) + count > self.per_eni:
            raise CapacityError("ENI full", code="InvalidOperation.Ipv6CountExceeded")
        given = self._take_v6(eni.vswitch_id, count)
        self.enis[eni_id] = replace(eni, ipv6=(*eni.ipv6, *given))
        self._answers[token] = ((eni_id, 6, count), given)
        return given

    def unassign_ipv4(self, eni_id: ENIId, addresses: Iterable[IPv4Address]) -> None:
        self.calls["unassign_ipv4"] += 1
        eni = self.enis.get(eni_id)
        if eni is None:
            return
        left = tuple(ip for ip in eni.ipv4 if ip not in set(addresses))
        assert eni.primary_ipv4 in left, "the primary address can not be unassigned"
        self.enis[eni_id] = replace(eni, ipv4=left)
        self._credit(eni.vswitch_id, len(eni.ipv4) - len(left))

    def unassign_ipv6(self, eni_id: ENIId, addresses: Iterable[IPv6Address]) -> None:
        self.calls["unassign_ipv6"] += 1
        eni = self.enis.get(eni_id)
        if eni is not None:
            left = tuple(ip for ip in eni.ipv6 if ip not in set(addresses))
            self.enis[eni_id] = replace(eni, ipv6=left)

    def assign_ipv4_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv4Network, ...]:
        self.calls["assign_ipv4_prefixes"] += 1
        assert count <= 10
        eni = self._eni(eni_id)
        before = self._answered(token, (eni_id, "v4 prefixes", count))
        if isinstance(before, tuple):
            return before
        if len(eni.ipv4) + len(eni.ipv4_prefixes) + count > self.per_eni:
            raise CapacityError("ENI full", code="InvalidOperation.Ipv4CountExceeded")
        given = self._take_ranges_v4(eni.vswitch_id, count)
        self.enis[eni_id] = replace(eni, ipv4_prefixes=(*eni.ipv4_prefixes, *given))
        self._answers[token] = ((eni_id, "v4 prefixes", count), given)
        return given

    def assign_ipv6_prefixes(
        self, eni_id: ENIId, count: int, *, token: ClientToken
    ) -> tuple[IPv6Network, ...]:
        self.calls["assign_ipv6_prefixes"] += 1
        eni = self._eni(eni_id)
        before = self._answered(token, (eni_id, "v6 prefixes", count))
        if isinstance(before, tuple):
            return before
        if len(eni.ipv6) + len(eni.ipv6_prefixes) + count > self.per_eni:
            raise CapacityError("ENI full", code="InvalidOperation.Ipv6CountExceeded")
        given = self._take_ranges_v6(eni.vswitch_id, count)
        self.enis[eni_id] = replace(eni, ipv6_prefixes=(*eni.ipv6_prefixes, *given))
        self._answers[token] = ((eni_id, "v6 prefixes", count), given)
        return given

    def unassign_ipv4_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv4Network]) -> None:
        self.calls["unassign_ipv4_prefixes"] += 1
        eni = self.enis.get(eni_id)
        if eni is None:
            return
        left = tuple(one for one in eni.ipv4_prefixes if one not in set(prefixes))
        self.enis[eni_id] = replace(eni, ipv4_prefixes=left)
        self._credit(eni.vswitch_id, 16 * (len(eni.ipv4_prefixes) - len(left)))

    def unassign_ipv6_prefixes(self, eni_id: ENIId, prefixes: Iterable[IPv6Network]) -> None:
        self.calls["unassign_ipv6_prefixes"] += 1
        eni = self.enis.get(eni_id)
        if eni is not None:
            left = tuple(one for one in eni.ipv6_prefixes if one not in set(prefixes))
            self.enis[eni_id] = replace(eni, ipv6_prefixes=left)

    def set_security_groups(
        self, eni_id: ENIId, security_group_ids: Sequence[SecurityGroupId]
    ) -> None:
        self.calls["set_security_groups"] += 1
        eni = self._eni(eni_id)
        self.enis[eni_id] = replace(eni, security_group_ids=tuple(security_group_ids))

    def describe_enis(
        self,
        *,
        instance_id: InstanceId | None = None,
        eni_ids: Sequence[ENIId] = (),
        type: ENIType | None = None,  # noqa: A002 - the API's own name
        status: ENIStatus | None = None,
        tags: Sequence[tuple[str, str]] = (),
    ) -> tuple[ENI, ...]:
        self.calls["describe_enis"] += 1
        return tuple(
            eni
            for eni in self.enis.values()
            if instance_id in (None, eni.instance_id)
            and status in (None, eni.status)
            and set(tags) <= set(eni.tags)
        )

    def describe_vswitches(self, ids: Iterable[VSwitchId]) -> tuple[VSwitch, ...]:
        wanted = tuple(ids)
        self.calls["describe_vswitches"] += len(wanted)
        return tuple(self.vswitches[one] for one in wanted if one in self.vswitches)

    def detach_by_hand(self, eni_id: ENIId) -> None:
        """Somebody detaches an ENI in the console."""
        eni = self.enis[eni_id]
        self.enis[eni_id] = replace(eni, status=ENIStatus.AVAILABLE, instance_id=None)

    def plug(self, eni: ENI) -> None:
        """Put an ENI into the cloud as it is."""
        self.enis[eni.id] = eni
