"""How does a pool look in the node's resource, and how does it come back from there?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from terway.controlplane.pools.journal import Journal, journal_of, read_journal, write_journal
from terway.ipam.adopt import HIGH_PERFORMANCE
from terway.ipam.demand import allocated_pairs
from terway.ipam.pool import Pool
from terway.ipam.settings import PoolConfig
from terway.ipam.values import (
    AddressPhase,
    ENIPhase,
    PoolENI,
    Prefix,
    PrefixPhase,
    Slot,
    VSwitchState,
)
from terway.kube.crds import (
    ENICondition,
    HeldIP,
    NodeIP,
    NodeNetworkInterface,
    NodePrefix,
    NodeStatus,
)
from terway.model.address import Family
from terway.model.eni import ENIType, VSwitch
from terway.model.ids import ENIId, MacAddress, SecurityGroupId, VpcId, VSwitchId, ZoneId

VALID, INVALID, DELETING, FROZEN = "Valid", "Invalid", "Deleting", "Frozen"
IN_USE = "InUse"
_PHASES = {
    ENIPhase.ATTACHING: "Attaching",
    ENIPhase.IN_USE: IN_USE,
    ENIPhase.DETACHING: "Detaching",
    ENIPhase.DELETING: "Deleting",
}
_PHASE_OF = {status: phase for phase, status in _PHASES.items()}
_NOBODY = HeldIP()
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a node's resource shows beside the pool itself. Times are as the API has them.

    `held` says which pod has what; `reason` why there will be no more addresses now, for those who
    wait; `conditions` what is wrong with ENIs; `reclaim_at` when an untouched pool shrinks next.
    """

    held: Mapping[str, HeldIP] = field(default_factory=dict)
    reason: str = ""
    conditions: Mapping[ENIId, dict[str, ENICondition]] = field(default_factory=dict)
    reclaim_at: str | None = None


def status_of(pool: Pool, beside: Beside, before: NodeStatus) -> NodeStatus:
    """Return the pool as the node's resource shows it.

    What did not change is the same object as `before`, so that comparing costs little.
    """
    shown: dict[str, NodeNetworkInterface] = {}
    by_eni: dict[ENIId, list[Slot]] = {eni_id: [] for eni_id in pool.enis}
    for slot in pool.slots.values():
        if slot.prefix is None:
            by_eni[slot.eni_id].append(slot)
    for eni in pool.enis.values():
        if not eni.is_gone:
            old = before.network_interfaces.get(eni.id)
            shown[eni.id] = _interface(pool, eni, by_eni[eni.id], beside, old)
    return NodeStatus(
        last_modified_time=before.last_modified_time,
        last_sync_open_api_time=before.last_sync_open_api_time,
        next_sync_open_api_time=before.next_sync_open_api_time,
        next_idle_ip_reclaim_time=beside.reclaim_at,
        warm_up_target=pool.config.warm_up,
        warm_up_allocated_count=_warmed_up(pool, before),
        warm_up_completed=pool.is_warm,
        network_interfaces=shown,
        journal=write_journal(journal_of(pool)),
        round=pool.recalls,
        reason=beside.reason,
    )


def _warmed_up(pool: Pool, before: NodeStatus) -> int:
    """Return how many addresses were there at once for the warm-up, which is no more wanted after.

    Once in the life of the resource: it does not go back when the pool shrinks later.
    """
    there = 0 if pool.is_warm and before.warm_up_completed else allocated_pairs(pool)
    return min(pool.config.warm_up, max(there, before.warm_up_allocated_count))


def _interface(
    pool: Pool,
    eni: PoolENI,
    slots: Iterable[Slot],
    beside: Beside,
    old: NodeNetworkInterface | None,
) -> NodeNetworkInterface:
    state = pool.vswitches.get(eni.vswitch_id)
    v4: dict[str, NodeIP] = {}
    v6: dict[str, NodeIP] = {}
    for slot in slots:
        text = str(slot.address)
        into = v4 if slot.address.version == 4 else v6
        into[text] = _address(slot, text, beside.held.get(text, _NOBODY))
    ranges = [_prefix(one) for one in pool.prefixes_of(eni.id)]
    primary = next((ip for ip, one in v4.items() if one.primary), "")
    shown = NodeNetworkInterface(
        id=eni.id,
        status=_PHASES[eni.phase],
        mac_address=eni.mac,
        vswitch_id=eni.vswitch_id,
        security_group_ids=eni.security_group_ids,
        primary_ip_address=primary,
        traffic_mode=HIGH_PERFORMANCE if eni.is_erdma else "Standard",
        type=eni.type.value,
        unschedulable=eni.is_excluded,
        ipv4_cidr=_cidr(state, Family.V4) or (old.ipv4_cidr if old else ""),
        ipv6_cidr=_cidr(state, Family.V6) or (old.ipv6_cidr if old else ""),
        ipv4=v4,
        ipv6=v6,
        ipv4_prefix=tuple(one for one in ranges if ":" not in one.prefix),
        ipv6_prefix=tuple(one for one in ranges if ":" in one.prefix),
        conditions=beside.conditions.get(eni.id, {}),
    )
    return old if old is not None and old == shown else shown


def _address(slot: Slot, text: str, holder: HeldIP) -> NodeIP:
    status = DELETING if slot.recall else INVALID if slot.is_missing else VALID
    if slot.is_released and not slot.recall:  # of an ENI that never came to be of use
        status = DELETING
    return NodeIP(
        ip=text,
        primary=slot.is_primary,
        status=status,
        pod_id=holder.pod_id,
        pod_uid=holder.pod_uid,
        recall=slot.recall,
    )


def _prefix(prefix: Prefix) -> NodePrefix:
    status = {PrefixPhase.VALID: VALID, PrefixPhase.DRAINING: FROZEN, PrefixPhase.LOST: INVALID}
    shown = DELETING if prefix.recall else status.get(prefix.phase, DELETING)
    return NodePrefix(prefix=str(prefix.network), status=shown, recall=prefix.recall)


def _cidr(state: VSwitchState | None, family: Family) -> str:
    if state is None:
        return ""
    found = state.vswitch.cidr if family is Family.V4 else state.vswitch.ipv6_cidr
    return str(found) if found is not None else ""


def revive(config: PoolConfig, status: NodeStatus, *, now: float) -> Pool:
    """Return the pool that the resource describes, due to look at the cloud.

    Calls that were under way are due again, with their tokens.
    """
    journal = read_journal(status.journal)
    enis = {ENIId(key): _eni(one, journal) for key, one in status.network_interfaces.items()}
    pool = replace(
        Pool.empty(config, now=now),
        enis=enis,
        is_warm=status.warm_up_completed,
        recalls=max(status.round, journal.recalls),
    )
    released = frozenset(journal.released)
    for eni_id, one in status.network_interfaces.items():
        pool = pool.with_slots(
            _slot(ip, ENIId(eni_id), released) for ip in (*one.ipv4.values(), *one.ipv6.values())
        )
        pool = pool.with_prefixes(
            _range(prefix, ENIId(eni_id), released)
            for prefix in (*one.ipv4_prefix, *one.ipv6_prefix)
        )
        pool = _with_ranges_of(pool, one)
    for intent in journal.intents:
        eni_of = getattr(intent, "eni_id", None)
        if eni_of is None or eni_of in pool.enis:
            pool = pool.with_intent(intent)
    return pool


def _eni(shown: NodeNetworkInterface, journal: Journal) -> PoolENI:
    eni_id = ENIId(shown.id)
    return PoolENI(
        id=eni_id,
        mac=MacAddress(shown.mac_address),
        vswitch_id=VSwitchId(shown.vswitch_id),
        phase=_PHASE_OF.get(shown.status, ENIPhase.ATTACHING),
        type=ENIType(shown.type or ENIType.SECONDARY.value),
        is_ours=eni_id in journal.ours,
        is_erdma=shown.traffic_mode == HIGH_PERFORMANCE,
        is_excluded=shown.unschedulable,
        security_group_ids=tuple(map(SecurityGroupId, shown.security_group_ids)),
        own_group_ids=journal.own_groups.get(eni_id, ()),
        changed_at=_LONG_AGO,
    )


def _slot(shown: NodeIP, eni_id: ENIId, released: frozenset[str]) -> Slot:
    return Slot(
        address=ip_address(shown.ip),
        eni_id=eni_id,
        phase=AddressPhase.RETIRING if shown.status == DELETING else AddressPhase.FREE,
        is_primary=shown.primary,
        is_missing=shown.status == INVALID,
        recall=shown.recall,
        is_released=shown.ip in released,
    )


def _range(shown: NodePrefix, eni_id: ENIId, released: frozenset[str]) -> Prefix:
    phases = {FROZEN: PrefixPhase.DRAINING, DELETING: PrefixPhase.RETIRING}
    return Prefix(
        network=ip_network(shown.prefix),
        eni_id=eni_id,
        phase=phases.get(shown.status, PrefixPhase.VALID),
        recall=shown.recall,
        is_released=shown.prefix in released,
    )


def _with_ranges_of(pool: Pool, shown: NodeNetworkInterface) -> Pool:
    """Return the pool with the vSwitch of an ENI, as far as the resource tells."""
    if not shown.ipv4_cidr:
        return pool
    vswitch = VSwitch(
        id=VSwitchId(shown.vswitch_id),
        vpc_id=VpcId(""),
        zone_id=ZoneId(""),
        cidr=IPv4Network(shown.ipv4_cidr),
        ipv6_cidr=IPv6Network(shown.ipv6_cidr) if shown.ipv6_cidr else None,
    )
    return pool.with_vswitch(VSwitchState(vswitch=vswitch, available=0, read_at=_LONG_AGO))
