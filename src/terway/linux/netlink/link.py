"""Links as netlink messages: veth pairs, settings, groups, deletion, dumps.

Source: rtnetlink(7), include/uapi/linux/if_link.h, include/uapi/linux/veth.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import replace

from terway.linux.netlink.codec import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Attributes,
    Query,
    Request,
    attr,
    attr_str,
    attr_u32,
    attributes,
    nested,
    text,
    u32,
)
from terway.model.errors import UsageError
from terway.model.ids import MacAddress
from terway.model.network import Link, LinkSettings

RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18

_IFINFO = struct.Struct("=BxHiII")  # family, device type, ifindex, flags, change
_IFF_UP = 0x1
_IFF_NOARP = 0x80
_IFF_LOWER_UP = 0x10000

_IFLA_ADDRESS = 1
_IFLA_IFNAME = 3
_IFLA_MTU = 4
_IFLA_LINK = 5
_IFLA_LINKINFO = 18
_IFLA_IFALIAS = 20
_IFLA_NUM_TX_QUEUES = 31
_IFLA_NUM_RX_QUEUES = 32
_IFLA_AF_SPEC = 26
_IFLA_GROUP = 27
_IFLA_NET_NS_FD = 28
_IFLA_EXT_MASK = 29
_IFLA_LINK_NETNSID = 37
_IFLA_LINK_NETNSID = 37
_IFLA_QDISC = 6
_IFLA_INFO_KIND = 1
_IFLA_INFO_DATA = 2
_VETH_INFO_PEER = 1
_IPVLAN_MODE = 1
_IPVLAN_MODE_L2 = 0
_IFLA_INET6_ADDR_GEN_MODE = 8  # 1: none
_RTEXT_FILTER_SKIP_STATS = 8  # half of a link's message is counters nobody asked for

_IFLA_VLAN_ID = 1

_NAME_MAX = 15  # IFNAMSIZ - 1
_PROVISIONAL = "terway-new"

_GONE = frozenset({errno.ENODEV})


def create_veth(
    host: LinkSettings, peer: LinkSettings, *, peer_netns_fd: int | None = None, group: int = 0
) -> Request:
    """Create a veth and its peer, the peer right in the namespace of `peer_netns_fd`.

    The host end comes up at once if `host.is_up`; the peer cannot be set up in this message
    (ENOTCONN). One queue each way: more would cost memory per pod and buy nothing.
    """
    where = () if peer_netns_fd is None else (attr_u32(_IFLA_NET_NS_FD, peer_netns_fd),)
    peer_body = _IFINFO.pack(0, 0, 0, 0, 0) + b"".join((*_birth(peer), *where))
    linkinfo = nested(
        _IFLA_LINKINFO,
        attr_str(_IFLA_INFO_KIND, "veth"),
        nested(_IFLA_INFO_DATA, attr(_VETH_INFO_PEER, peer_body)),
    )
    up = _IFF_UP if host.is_up else 0
    groups = (attr_u32(_IFLA_GROUP, group),) if group else ()
    parts = (*_birth(host), *groups, linkinfo)
    return Request(
        type=RTM_NEWLINK,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        body=_IFINFO.pack(0, 0, 0, up, up) + b"".join(parts),
        what=f"link add {host.name} type veth peer name {peer.name}",
    )


def create_ipvlan(settings: LinkSettings, parent: int, *, netns_fd: int | None = None) -> Request:
    """Create an ipvlan child (L2) of the link `parent`, right in the namespace of `netns_fd`.

    It has its parent's MAC, whatever is asked for. Source: include/uapi/linux/if_link.h.
    """
    where = () if netns_fd is None else (attr_u32(_IFLA_NET_NS_FD, netns_fd),)
    linkinfo = nested(
        _IFLA_LINKINFO,
        attr_str(_IFLA_INFO_KIND, "ipvlan"),
        nested(_IFLA_INFO_DATA, attr(_IPVLAN_MODE, struct.pack("=H", _IPVLAN_MODE_L2))),
    )
    parts = (attr_u32(_IFLA_LINK, parent), *_birth(replace(settings, mac=None)), *where, linkinfo)
    return Request(
        type=RTM_NEWLINK,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        body=_IFINFO.pack(0, 0, 0, 0, 0) + b"".join(parts),
        what=f"link add {settings.name} link {parent} type ipvlan mode l2",
    )


def create_vlan(
    settings: LinkSettings, parent: int, vlan_id: int, *, netns_fd: int | None
) -> Request:
    """Create a VLAN device (802.1Q) over the link `parent`, right in the namespace of `netns_fd`.

    Source: include/uapi/linux/if_link.h, IFLA_VLAN_*.
    """
    where = () if netns_fd is None else (attr_u32(_IFLA_NET_NS_FD, netns_fd),)
    linkinfo = nested(
        _IFLA_LINKINFO,
        attr_str(_IFLA_INFO_KIND, "vlan"),
        nested(_IFLA_INFO_DATA, attr(_IFLA_VLAN_ID, struct.pack("=H", vlan_id))),
    )
    parts = (attr_u32(_IFLA_LINK, parent), *_birth(settings), *where, linkinfo)
    return Request(
        type=RTM_NEWLINK,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        body=_IFINFO.pack(0, 0, 0, 0, 0) + b"".join(parts),
        what=f"link add {settings.name} link {parent} type vlan id {vlan_id}",
    )


def name_not_of_ours(name: str) -> str:
    """Return a name to create a link by in another namespace, where it is to be called `name`.

    The kernel looks for the name in the namespace of whoever asks, too (rtnl_newlink), and every
    node has an eth0 itself. A pattern is no name, and becomes the first number that is free:
    where nothing is yet, ``eth%d`` is eth0. To rename a link costs an RCU grace period, 10 ms.
    """
    return f"{name[:-1]}%d" if name.endswith("0") else _PROVISIONAL


def create_ifb(name: str) -> Request:
    """Create an ifb: a link that sends what it was given on its way again, after its own queue.

    That it is there already is success.
    """
    linkinfo = nested(_IFLA_LINKINFO, attr_str(_IFLA_INFO_KIND, "ifb"))
    return Request(
        type=RTM_NEWLINK,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        body=_IFINFO.pack(0, 0, 0, 0, 0) + attr_str(_IFLA_IFNAME, name) + linkinfo,
        what=f"link add {name} type ifb",
        tolerated=frozenset({errno.EEXIST}),
    )


def without_own_addresses(ifindex: int) -> Request:
    """Keep a link that is not up yet from giving itself a link-local address."""
    mode = nested(socket.AF_INET6, attr(_IFLA_INET6_ADDR_GEN_MODE, b"\x01"))
    return Request(
        type=RTM_NEWLINK,
        flags=0,
        body=_IFINFO.pack(0, 0, ifindex, 0, 0) + nested(_IFLA_AF_SPEC, mode),
        what=f"link set {ifindex} addrgenmode none",
        # A node without IPv6 has no such mode.
        tolerated=frozenset({errno.EAFNOSUPPORT}),
    )


def _birth(settings: LinkSettings) -> tuple[bytes, ...]:
    return (
        attr_str(_IFLA_IFNAME, checked_name(settings.name)),
        attr_u32(_IFLA_NUM_TX_QUEUES, 1),
        attr_u32(_IFLA_NUM_RX_QUEUES, 1),
        *_mac(settings.mac),
        *_mtu(settings.mtu_bytes),
        *_group(settings.group),
    )


def checked_name(name: str) -> str:
    """Return `name` if the kernel takes it for a link (dev_valid_name); raises UsageError."""
    bad = not name or len(name.encode()) > _NAME_MAX or name in (".", "..")
    if bad or any(c in "/:" or c.isspace() for c in name):
        raise UsageError(
            f"link name {name!r}: 1 to {_NAME_MAX} bytes without '/', ':' or space are possible",
            field="ifname",
        )
    return name


def change(settings: LinkSettings) -> Request:
    """Change the existing link of that name to `settings`."""
    up = _IFF_UP if settings.is_up else 0
    header = _IFINFO.pack(0, 0, 0, up, _IFF_UP)
    parts = (
        attr_str(_IFLA_IFNAME, checked_name(settings.name)),
        *_mac(settings.mac),
        *_mtu(settings.mtu_bytes),
        *_alias(settings.alias),
        *_group(settings.group),
    )
    what = f"link set {settings.name} {'up' if settings.is_up else 'down'}"
    return Request(type=RTM_NEWLINK, flags=0, body=header + b"".join(parts), what=what)


def without_arp(name: str) -> Request:
    """Have a link ask for no neighbour: all have its own MAC.

    The link must be up already: an ipvlan child that comes up asks again (ipvlan_open).
    """
    body = _IFINFO.pack(0, 0, 0, _IFF_NOARP, _IFF_NOARP) + attr_str(_IFLA_IFNAME, name)
    return Request(type=RTM_NEWLINK, flags=0, body=body, what=f"link set {name} arp off")


def rename(ifindex: int, name: str) -> Request:
    """Give the link `ifindex` the name `name`; before kernel 6.2 it must be down."""
    body = _IFINFO.pack(0, 0, ifindex, 0, 0) + attr_str(_IFLA_IFNAME, checked_name(name))
    return Request(type=RTM_NEWLINK, flags=0, body=body, what=f"link set {ifindex} name {name}")


def set_group(name: str, group: int) -> Request:
    """Put a link into a group (a number that means something only to us).

    That the link is not there is success: groups are for deleting.
    """
    made = _by_name(name, attr_u32(_IFLA_GROUP, group), what=f"link set {name} group {group}")
    return replace(made, tolerated=_GONE)


def move(name: str, netns_fd: int) -> Request:
    """Move a link to another namespace. Costs 11 to 15 ms; create it there where you can."""
    return _by_name(name, attr_u32(_IFLA_NET_NS_FD, netns_fd), what=f"link set {name} netns")


def _by_name(name: str, *parts: bytes, what: str) -> Request:
    found_by = attr_str(_IFLA_IFNAME, checked_name(name))
    body = _IFINFO.pack(0, 0, 0, 0, 0) + found_by + b"".join(parts)
    return Request(type=RTM_NEWLINK, flags=0, body=body, what=what)


def delete(name: str) -> Request:
    """Delete a link by name; that it is not there is success. Costs 10 to 35 ms."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + attr_str(_IFLA_IFNAME, checked_name(name))
    return Request(
        type=RTM_DELLINK, flags=0, body=body, what=f"link delete {name}", tolerated=_GONE
    )


def delete_group(group: int) -> Request:
    """Delete all links of a group at once; an empty group is success."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + attr_u32(_IFLA_GROUP, group)
    return Request(
        type=RTM_DELLINK, flags=0, body=body, what=f"link delete group {group}", tolerated=_GONE
    )


def all_links() -> Query[Link]:
    """Read all links of the namespace."""
    body = _IFINFO.pack(0, 0, 0, 0, 0) + attr_u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return Query(type=RTM_GETLINK, body=body, decode=decode, what="link show")


def by_name(name: str) -> Query[Link]:
    """Read one link by name."""
    parts = attr_str(_IFLA_IFNAME, checked_name(name))
    return _one(0, parts, f"link show {name}")


def by_index(ifindex: int) -> Query[Link]:
    """Read one link by ifindex."""
    return _one(ifindex, b"", f"link show {ifindex}")


def _one(ifindex: int, parts: bytes, what: str) -> Query[Link]:
    mask = attr_u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    body = _IFINFO.pack(0, 0, ifindex, 0, 0) + parts + mask
    return Query(type=RTM_GETLINK, body=body, decode=decode, what=what, is_dump=False)


def decode(body: bytes) -> Link:
    """Return the link that an RTM_NEWLINK or RTM_DELLINK body describes."""
    _family, _type, ifindex, flags, _change = _IFINFO.unpack_from(body)
    found = attributes(body, 16)
    kind = _kind(found)
    other = u32(found[_IFLA_LINK]) if _IFLA_LINK in found else None
    mac = found.get(_IFLA_ADDRESS, b"")
    return Link(
        ifindex=ifindex,
        name=text(found.get(_IFLA_IFNAME, b"")),
        mac=MacAddress(mac.hex(":")) if len(mac) == 6 else None,
        mtu_bytes=u32(found[_IFLA_MTU]) if _IFLA_MTU in found else 0,
        is_up=bool(flags & _IFF_UP),
        kind=kind,
        alias=text(found.get(_IFLA_IFALIAS, b"")),
        group=u32(found[_IFLA_GROUP]) if _IFLA_GROUP in found else 0,
        peer_ifindex=other if kind == "veth" else None,
        parent_ifindex=other if kind == "ipvlan" else None,
        peer_nsid=u32(found[_IFLA_LINK_NETNSID]) if _IFLA_LINK_NETNSID in found else None,
        has_carrier=bool(flags & _IFF_LOWER_UP),
        qdisc=text(found.get(_IFLA_QDISC, b"")),
        has_arp=not flags & _IFF_NOARP,
    )


def _kind(found: Attributes) -> str:
    if _IFLA_LINKINFO not in found:
        return ""
    return text(attributes(found[_IFLA_LINKINFO]).get(_IFLA_INFO_KIND, b""))


def pack_mac(mac: MacAddress) -> bytes:
    """Return the six bytes of a MAC address."""
    return bytes.fromhex(mac.replace(":", ""))


def _mac(mac: MacAddress | None) -> tuple[bytes, ...]:
    return () if mac is None else (attr(_IFLA_ADDRESS, pack_mac(mac)),)


def _mtu(mtu_bytes: int | None) -> tuple[bytes, ...]:
    return () if mtu_bytes is None else (attr_u32(_IFLA_MTU, mtu_bytes),)


def _alias(alias: str) -> tuple[bytes, ...]:
    return (attr(_IFLA_IFALIAS, alias.encode()),) if alias else ()


def _group(group: int) -> tuple[bytes, ...]:
    return (attr_u32(_IFLA_GROUP, group),) if group else ()
