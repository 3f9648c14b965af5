"""What do CLB's answers about access control lists look like? Source: OpenAPI SLB 2014-05-15."""

from __future__ import annotations

from ipaddress import ip_network

import msgspec

from terway.model.balancer import AccessList, AccessListId


class NewAcl(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of CreateAccessControlList."""

    acl_id: str


class AclEntry(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A range of a list."""

    acl_entry_ip: str = msgspec.field(name="AclEntryIP")
    acl_entry_comment: str = ""


class AclEntries(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of ranges."""

    acl_entry: tuple[AclEntry, ...] = ()


class Acl(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """An access control list."""

    acl_id: str
    acl_name: str = ""
    address_ip_version: str = msgspec.field(default="ipv4", name="AddressIPVersion")
    acl_entrys: AclEntries = AclEntries()
    total_acl_entry: int = 0


class AclList(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The wrapper of lists."""

    acl: tuple[Acl, ...] = ()


class Acls(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """The answer of DescribeAccessControlLists."""

    acls: AclList = AclList()
    total_count: int = 0


def parse_acl(said: Acl, entries: tuple[AclEntry, ...]) -> AccessList:
    """Return the list that CLB described, with the entries of all pages."""
    return AccessList(
        id=AccessListId(said.acl_id),
        name=said.acl_name,
        version=6 if said.address_ip_version == "ipv6" else 4,
        entries=tuple((ip_network(one.acl_entry_ip), one.acl_entry_comment) for one in entries),
    )
