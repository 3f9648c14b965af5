"""How do the ENIs of a PodENI come to be, so that a crash between any two steps leaks none?

1 choose vSwitches, write them into the PodENI: the intent
2 CreateNetworkInterface, by a token made of the intent: repeated, it is the same ENI
3 NetworkInterface of the ENI: from now on somebody sees to its end
4 write the ENI into the PodENI
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from terway.controlplane.podenis.calls import Calls
from terway.controlplane.podenis.vswitches import VSwitches
from terway.controlplane.podenis.words import name_of, networks_of
from terway.controlplane.podenis.writes import TRIES, Writes
from terway.kube.crds import POD_UID, Allocation, PodENI
from terway.model.address import Family, IPStack
from terway.model.eni import ENI, VSwitch
from terway.model.errors import CapacityError, VpcError
from terway.model.ids import ClientToken, VSwitchId, ZoneId
from terway.podeni.garbage import tags_of
from terway.podeni.placing import NoPlace, place

# What a vSwitch without addresses says; other quotas are no fault of the vSwitch.
FULL = ("InvalidVSwitchId.IpNotEnough", "QuotaExceeded.PrivateIpAddress")
NO_PLACE = "NoVSwitch"  # ours: no call was worth making
_NO_PLACE_S = 30.0  # before vSwitches that were full are worth another look


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How ENIs are made in this cluster."""

    cluster_id: str
    ip_stack: IPStack

    @property
    def has_ipv6(self) -> bool:
        """Return whether pods have IPv6 addresses."""
        return Family.V6 in self.ip_stack.families


class Maker:
    """Makes ENIs of PodENIs, all of one at a time."""

    def __init__(self, calls: Calls, writes: Writes, vswitches: VSwitches, making: Making) -> None:
        self._calls = calls
        self._writes = writes
        self._vswitches = vswitches
        self._making = making

    async def make(self, found: PodENI, names: Sequence[str], zone_id: ZoneId | None) -> PodENI:
        """Make the ENIs of the interfaces `names`; what was made is recorded even if one fails.

        Raises CapacityError when no vSwitch has an address, and what the calls raise.
        """
        found = await self._intend(found, names, zone_id)
        wanted = [one for one in found.spec.allocations if name_of(one) in names]
        made = await asyncio.gather(*(self._make_one(found, one) for one in wanted))
        found = await self._record(found, dict(zip(names_of(wanted), made, strict=True)))
        failures = [one for one in made if isinstance(one, VpcError)]
        if failures:
            raise failures[0]
        return found

    async def _intend(self, found: PodENI, names: Sequence[str], zone_id: ZoneId | None) -> PodENI:
        wanted = [one for one in found.spec.allocations if name_of(one) in names]
        zone = zone_id or ZoneId(found.spec.zone)
        if zone and all(one.eni.vswitch_id and one.eni.zone == zone for one in wanted):
            return found
        networks = [networks_of(found)[name_of(one)] for one in wanted]
        ids = {vswitch_id for network in networks for vswitch_id in network.vswitch_ids}
        placed = place(
            networks,
            await self._vswitches.supplies(sorted(ids)),
            zone_id=zone_id,
            needs_ipv6=self._making.has_ipv6,
            draw=found.metadata.uid,
        )
        if isinstance(placed, NoPlace):
            raise CapacityError(placed.reason, retry_after_s=_NO_PLACE_S, code=NO_PLACE)
        chosen = {
            name: (vswitch_id, placed.zone_id) for name, vswitch_id in placed.vswitches.items()
        }
        changed = [_intended(one, chosen.get(name_of(one))) for one in found.spec.allocations]
        return await self._writes.allocations(found, changed, zone=placed.zone_id)

    async def _make_one(self, found: PodENI, one: Allocation) -> Allocation | VpcError:
        vswitch_id = VSwitchId(one.eni.vswitch_id)
        try:
            eni = await self._calls.create(
                networks_of(found)[name_of(one)],
                vswitch_id,
                has_ipv6=self._making.has_ipv6,
                tags=self._tags_of(found, one),
                token=token_of(found, one),
            )
            self._vswitches.take(vswitch_id)
            made = await self.with_eni(one, eni)
            await self._writes.make_interface(found, made)
        except VpcError as error:
            if error.code.startswith(FULL):
                self._vswitches.refuse(vswitch_id)
            return error
        return made

    def _tags_of(self, found: PodENI, one: Allocation) -> tuple[tuple[str, str], ...]:
        return tags_of(
            self._making.cluster_id,
            found.metadata.uid,
            pod_uid=found.metadata.annotations.get(POD_UID, ""),
            interface=name_of(one),
        )

    async def with_eni(self, one: Allocation, eni: ENI) -> Allocation:
        """Return an interface that has this ENI."""
        supplies = await self._vswitches.supplies((eni.vswitch_id,))
        supply = supplies.get(eni.vswitch_id)
        vswitch = None if supply is None else supply.vswitch
        return _made(one, eni, vswitch, self._making.ip_stack)

    async def _record(self, found: PodENI, made: dict[str, Allocation | VpcError]) -> PodENI:
        """Write what was made; a vSwitch that had no address is not the intent any more."""
        changed: list[Allocation] = []
        for one in found.spec.allocations:
            match made.get(name_of(one)):
                case Allocation() as done:
                    changed.append(done)
                case VpcError() as error if error.code.startswith(FULL):
                    changed.append(_intended(one, (VSwitchId(""), ZoneId(""))))
                case _:
                    changed.append(one)
        # A token that the cloud gave up is no use: the next one is another.
        is_burnt = any(
            isinstance(one, VpcError) and one.code.startswith("Idempotent") for one in made.values()
        )
        annotations = next_try(found) if is_burnt else None
        return await self._writes.allocations(found, changed, annotations=annotations)


def next_try(found: PodENI) -> dict[str, str]:
    """Return the annotation with which creations are others than those before."""
    return {TRIES: str(int(found.metadata.annotations.get(TRIES, "0")) + 1)}


def names_of(listed: Sequence[Allocation]) -> tuple[str, ...]:
    """Return the names of interfaces."""
    return tuple(map(name_of, listed))


def token_of(found: PodENI, one: Allocation) -> ClientToken:
    """Return the token of the creation that is intended: the same for each repetition of it."""
    annotations = found.metadata.annotations
    intent = (
        found.metadata.uid,
        annotations.get(POD_UID, ""),
        annotations.get(TRIES, "0"),
        name_of(one),
        one.eni.vswitch_id,
    )
    digest = hashlib.sha256("/".join(intent).encode()).digest()
    return ClientToken(str(uuid.UUID(bytes=digest[:16])))


def _intended(one: Allocation, chosen: tuple[VSwitchId, ZoneId] | None) -> Allocation:
    if chosen is None:
        return one
    vswitch_id, zone = chosen
    return structs.replace(one, eni=structs.replace(one.eni, vswitch_id=vswitch_id, zone=zone))


def _made(one: Allocation, eni: ENI, vswitch: VSwitch | None, stack: IPStack) -> Allocation:
    ipv6 = next(iter(eni.ipv6), None) if Family.V6 in stack.families else None
    has_ipv4 = Family.V4 in stack.families
    return structs.replace(
        one,
        ipv4=str(eni.primary_ipv4) if has_ipv4 else "",
        ipv6=str(ipv6) if ipv6 is not None else "",
        ipv4_cidr=str(vswitch.cidr) if has_ipv4 and vswitch else "",
        ipv6_cidr=str(vswitch.ipv6_cidr) if ipv6 and vswitch and vswitch.ipv6_cidr else "",
        eni=structs.replace(
            one.eni,
            id=eni.id,
            vpc_id=eni.vpc_id,
            mac=eni.mac,
            zone=eni.zone_id,
            vswitch_id=eni.vswitch_id,
            security_group_ids=eni.security_group_ids or one.eni.security_group_ids,
            resource_group_id=eni.resource_group_id or one.eni.resource_group_id,
        ),
    )


def emptied(one: Allocation) -> Allocation:
    """Return an interface whose ENI is gone."""
    eni = structs.replace(one.eni, id="", vpc_id="", mac="", zone="", vswitch_id="")
    return structs.replace(one, eni=eni, ipv4="", ipv6="", ipv4_cidr="", ipv6_cidr="")
