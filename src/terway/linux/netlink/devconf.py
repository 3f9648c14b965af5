"""A link's settings as its netlink message has them: most of /proc/sys/net/ipv?/conf/<link>/.

A link's message carries all of them (IFLA_AF_SPEC), so that reading a dozen settings costs
nothing beside reading the link; as files they would cost more than the rest of a pod's state.

Source: include/uapi/linux/if_link.h; the places in the arrays from ip.h (IPV4_DEVCONF_*, counted
from one there) and ipv6.h (DEVCONF_*). Both are ABI: new ones are appended.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from terway.linux.netlink.codec import Query, attributes
from terway.linux.netlink.link import all_links, by_name, decode
from terway.model.network import Link

_IFLA_AF_SPEC = 26
_AF_INET = 2
_AF_INET6 = 10
_IFLA_INET_CONF = 1
_IFLA_INET6_CONF = 2

_VALUE = struct.Struct("=i")

_PLACES = {
    ("ipv4", "forwarding"): 0,
    ("ipv4", "proxy_arp"): 2,
    ("ipv4", "rp_filter"): 7,
    ("ipv6", "forwarding"): 0,
    ("ipv6", "accept_ra"): 3,
    ("ipv6", "disable_ipv6"): 26,
    ("ipv6", "accept_dad"): 27,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredLink:
    """A link, and the raw settings of both families."""

    link: Link
    ipv4: bytes
    ipv6: bytes

    def setting(self, path: str) -> str | None:
        """Return the value of a setting of this link, None when the message does not have it."""
        match path.split("/"):
            case ["net", family, "conf", self.link.name, key]:
                array = self.ipv4 if family == "ipv4" else self.ipv6
                place = _PLACES.get((family, key))
            case _:
                return None
        if place is None or len(array) < 4 * place + 4:
            return None
        return str(_VALUE.unpack_from(array, 4 * place)[0])


def link_of(path: str) -> str | None:
    """Return the link that a setting is of; None for those of no single link."""
    match path.split("/"):
        case ["net", "ipv4" | "ipv6", "conf", name, _] if name not in ("all", "default"):
            return name
        case _:
            return None


def configured_by_name(name: str) -> Query[ConfiguredLink]:
    """Read one link with its settings."""
    return _configured(by_name(name))


def all_configured() -> Query[ConfiguredLink]:
    """Read all links of the namespace with their settings."""
    return _configured(all_links())


def _configured(query: Query[Link]) -> Query[ConfiguredLink]:
    return Query(
        type=query.type,
        body=query.body,
        decode=_decode,
        what=query.what,
        is_dump=query.is_dump,
    )


def _decode(body: bytes) -> ConfiguredLink:
    families = attributes(attributes(body, 16).get(_IFLA_AF_SPEC, b""))
    ipv4 = attributes(families.get(_AF_INET, b"")).get(_IFLA_INET_CONF, b"")
    ipv6 = attributes(families.get(_AF_INET6, b"")).get(_IFLA_INET6_CONF, b"")
    return ConfiguredLink(link=decode(body), ipv4=ipv4, ipv6=ipv6)
