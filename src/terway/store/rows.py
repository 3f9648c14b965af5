"""How is a record written as a row, and read from one?

Columns hold text as people write it, so that `sqlite3 terway.db` answers questions on a node.
"""

from __future__ import annotations

import json
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

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
from terway.store.interface_text import parse_spec, spec_text
from terway.store.records import (
    AssignRecord,
    CreateRecord,
    ENIRecord,
    MarkRecord,
    PrefixRecord,
    Record,
    SlotRecord,
)

Column: TypeAlias = str | int | float | None
Row: TypeAlias = tuple[Column, ...]

SCHEMA = """
CREATE TABLE attachments (
    container_id TEXT NOT NULL, ifname TEXT NOT NULL, network TEXT NOT NULL, netns TEXT NOT NULL,
    pod_namespace TEXT, pod_name TEXT, pod_uid TEXT,
    eni_id TEXT NOT NULL, eni_mac TEXT NOT NULL, ipv4 TEXT UNIQUE, ipv6 TEXT UNIQUE,
    boot_id TEXT NOT NULL, made_s REAL NOT NULL, spec TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (container_id, ifname));
CREATE TABLE slots (
    address TEXT PRIMARY KEY, eni_id TEXT NOT NULL, is_primary INTEGER NOT NULL,
    is_retiring INTEGER NOT NULL, rests_until REAL NOT NULL);
CREATE TABLE enis (
    id TEXT PRIMARY KEY, mac TEXT NOT NULL, vswitch_id TEXT NOT NULL, phase TEXT NOT NULL,
    is_ours INTEGER NOT NULL, own_group_ids TEXT NOT NULL DEFAULT '[]',
    is_erdma INTEGER NOT NULL DEFAULT 0);
CREATE TABLE vswitches (
    id TEXT PRIMARY KEY, vpc_id TEXT NOT NULL, zone_id TEXT NOT NULL, cidr TEXT NOT NULL,
    ipv6_cidr TEXT);
CREATE TABLE creates (
    token TEXT PRIMARY KEY, vswitch_id TEXT NOT NULL, security_group_ids TEXT NOT NULL,
    tags TEXT NOT NULL, resource_group_id TEXT NOT NULL, ipv4_count INTEGER NOT NULL,
    ipv6_count INTEGER NOT NULL, ipv4_prefixes INTEGER NOT NULL DEFAULT 0,
    ipv6_prefixes INTEGER NOT NULL DEFAULT 0, is_erdma INTEGER NOT NULL DEFAULT 0,
    has_own_groups INTEGER NOT NULL DEFAULT 0, is_trunk INTEGER NOT NULL DEFAULT 0);
CREATE TABLE assigns (
    token TEXT PRIMARY KEY, eni_id TEXT NOT NULL, family INTEGER NOT NULL,
    count INTEGER NOT NULL, is_prefix INTEGER NOT NULL DEFAULT 0);
"""

# What later versions of the tables added.
PREFIXES = """
CREATE TABLE prefixes (
    network TEXT PRIMARY KEY, eni_id TEXT NOT NULL, phase TEXT NOT NULL, rests_until REAL NOT NULL);
CREATE TABLE marks (name TEXT PRIMARY KEY);
"""
SCHEMA += PREFIXES

# What makes the tables of each earlier version those of the next, by the earlier one's number.
MIGRATIONS = {
    1: "ALTER TABLE attachments ADD COLUMN spec TEXT NOT NULL DEFAULT '{}';",
    2: PREFIXES
    + """
ALTER TABLE enis ADD COLUMN own_group_ids TEXT NOT NULL DEFAULT '[]';
ALTER TABLE enis ADD COLUMN is_erdma INTEGER NOT NULL DEFAULT 0;
ALTER TABLE creates ADD COLUMN ipv4_prefixes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE creates ADD COLUMN ipv6_prefixes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE creates ADD COLUMN is_erdma INTEGER NOT NULL DEFAULT 0;
ALTER TABLE creates ADD COLUMN has_own_groups INTEGER NOT NULL DEFAULT 0;
ALTER TABLE assigns ADD COLUMN is_prefix INTEGER NOT NULL DEFAULT 0;
""",
    3: "ALTER TABLE creates ADD COLUMN is_trunk INTEGER NOT NULL DEFAULT 0;",
}

TABLE_OF: dict[type[Record], str] = {
    Attachment: "attachments",
    SlotRecord: "slots",
    PrefixRecord: "prefixes",
    MarkRecord: "marks",
    ENIRecord: "enis",
    VSwitch: "vswitches",
    CreateRecord: "creates",
    AssignRecord: "assigns",
}


def row_of(record: Record) -> Row:  # noqa: PLR0911 - a branch per table
    """Return the columns of `record`, in the order of its table."""
    match record:
        case Attachment():
            return _attachment_row(record)
        case SlotRecord(address=address, eni_id=eni_id):
            flags = int(record.is_primary), int(record.is_retiring)
            return str(address), eni_id, *flags, record.rests_until
        case PrefixRecord():
            return str(record.network), record.eni_id, record.phase, record.rests_until
        case MarkRecord():
            return (record.name,)
        case ENIRecord():
            return _eni_row(record)
        case VSwitch():
            ranges = str(record.cidr), _text(record.ipv6_cidr)
            return record.id, record.vpc_id, record.zone_id, *ranges
        case CreateRecord():
            return _create_row(record)
        case AssignRecord():
            what = record.token, record.eni_id, record.family.value, record.count
            return *what, int(record.is_prefix)


def _eni_row(record: ENIRecord) -> Row:
    what = record.id, record.mac, record.vswitch_id, record.phase, int(record.is_ours)
    return *what, json.dumps(record.own_group_ids), int(record.is_erdma)


def _create_row(record: CreateRecord) -> Row:
    groups, tags = json.dumps(record.security_group_ids), json.dumps(record.tags)
    what = record.token, record.vswitch_id, groups, tags, record.resource_group_id
    counts = record.ipv4_count, record.ipv6_count, record.ipv4_prefixes, record.ipv6_prefixes
    kinds = int(record.is_erdma), int(record.has_own_groups), int(record.is_trunk)
    return *what, *counts, *kinds


def _attachment_row(record: Attachment) -> Row:
    pod = record.pod
    return (
        record.key.container_id,
        record.key.ifname,
        record.network,
        record.netns,
        *((pod.namespace, pod.name, pod.uid) if pod else (None, None, None)),
        record.lease.eni_id,
        record.lease.eni_mac,
        _text(record.lease.addresses.v4),
        _text(record.lease.addresses.v6),
        record.made_at.boot_id,
        record.made_at.seconds,
        spec_text(record.spec),
    )


def _text(value: IPv4Address | IPv6Address | IPv6Network | None) -> str | None:
    return None if value is None else str(value)


def parse_attachment(row: tuple[str, ...]) -> Attachment:
    """Return the attachment that a row of `attachments` holds."""
    container_id, ifname, network, netns, namespace, name, uid, *rest = row
    eni_id, mac, ipv4, ipv6, boot_id, made_s, spec = rest
    return Attachment(
        key=AttachmentKey(container_id=ContainerId(container_id), ifname=ifname),
        network=network,
        netns=netns,
        pod=PodRef(namespace=namespace, name=name, uid=uid) if name is not None else None,
        lease=Lease(
            eni_id=ENIId(eni_id),
            eni_mac=MacAddress(mac),
            addresses=IPPair(
                v4=IPv4Address(ipv4) if ipv4 else None, v6=IPv6Address(ipv6) if ipv6 else None
            ),
        ),
        made_at=Moment(boot_id=boot_id, seconds=float(made_s)),
        spec=parse_spec(spec),
    )


def parse_slot(row: tuple[str, str, int, int, float]) -> SlotRecord:
    """Return the address that a row of `slots` holds."""
    address, eni_id, is_primary, is_retiring, rests_until = row
    return SlotRecord(
        address=ip_address(address),
        eni_id=ENIId(eni_id),
        is_primary=bool(is_primary),
        is_retiring=bool(is_retiring),
        rests_until=rests_until,
    )


def parse_prefix(row: tuple[str, str, str, float]) -> PrefixRecord:
    """Return the prefix that a row of `prefixes` holds."""
    network, eni_id, phase, rests_until = row
    return PrefixRecord(
        network=ip_network(network), eni_id=ENIId(eni_id), phase=phase, rests_until=rests_until
    )


def parse_mark(row: tuple[str]) -> MarkRecord:
    """Return what a row of `marks` says."""
    return MarkRecord(name=row[0])


def parse_eni(row: tuple[str, str, str, str, int, str, int]) -> ENIRecord:
    """Return the ENI that a row of `enis` holds."""
    eni_id, mac, vswitch_id, phase, is_ours, groups, is_erdma = row
    return ENIRecord(
        id=ENIId(eni_id),
        mac=MacAddress(mac),
        vswitch_id=VSwitchId(vswitch_id),
        phase=phase,
        is_ours=bool(is_ours),
        own_group_ids=tuple(map(SecurityGroupId, json.loads(groups))),
        is_erdma=bool(is_erdma),
    )


def parse_vswitch(row: tuple[str, str, str, str, str | None]) -> VSwitch:
    """Return the vSwitch that a row of `vswitches` holds; how full it is was not kept."""
    vswitch_id, vpc_id, zone_id, cidr, ipv6_cidr = row
    return VSwitch(
        id=VSwitchId(vswitch_id),
        vpc_id=VpcId(vpc_id),
        zone_id=ZoneId(zone_id),
        cidr=IPv4Network(cidr),
        ipv6_cidr=IPv6Network(ipv6_cidr) if ipv6_cidr else None,
    )


def parse_create(
    row: tuple[str, str, str, str, str, int, int, int, int, int, int, int],
) -> CreateRecord:
    """Return the intent that a row of `creates` holds."""
    token, vswitch_id, groups, tags, resource_group_id, ipv4_count, ipv6_count, *rest = row
    ipv4_prefixes, ipv6_prefixes, is_erdma, has_own_groups, is_trunk = rest
    return CreateRecord(
        token=ClientToken(token),
        vswitch_id=VSwitchId(vswitch_id),
        security_group_ids=tuple(map(SecurityGroupId, json.loads(groups))),
        tags=tuple((key, value) for key, value in json.loads(tags)),
        resource_group_id=resource_group_id,
        ipv4_count=ipv4_count,
        ipv6_count=ipv6_count,
        ipv4_prefixes=ipv4_prefixes,
        ipv6_prefixes=ipv6_prefixes,
        is_erdma=bool(is_erdma),
        has_own_groups=bool(has_own_groups),
        is_trunk=bool(is_trunk),
    )


def parse_assign(row: tuple[str, str, int, int, int]) -> AssignRecord:
    """Return the intent that a row of `assigns` holds."""
    token, eni_id, family, count, is_prefix = row
    return AssignRecord(
        token=ClientToken(token),
        eni_id=ENIId(eni_id),
        family=Family(family),
        count=count,
        is_prefix=bool(is_prefix),
    )
