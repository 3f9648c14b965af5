"""Who is here, as the maps hold it: endpoints, addresses and prefixes as bytes, and back."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from terway.linux.ebpf.contract import (
    ADDRESS_OF,
    ENDPOINT,
    ENDPOINT_NO_METADATA,
    ENDPOINT_QUEUED,
    PREFIX_BEFORE,
    PREFIX_OF,
)
from terway.linux.netlink.link import pack_mac
from terway.model.address import IPAddress, IPNetwork, IPPair
from terway.model.endpoint import Endpoint, EndpointKind, EndpointNumber
from terway.model.ids import MacAddress

_NUMBER = struct.Struct("=I")


def pack_number(number: int) -> bytes:
    """Return a key or value that is one number: an ifindex, an endpoint's."""
    return _NUMBER.pack(number)


def unpack_number(value: bytes) -> int:
    """Return the number that a key or value is."""
    return int(_NUMBER.unpack(value)[0])


def pack_address(address: IPAddress | None) -> bytes:
    """Return a `struct address`; no address is all zero."""
    return b"" if address is None else address.packed


def pack_address_of(address: IPAddress) -> bytes:
    """Return the key of a map by address."""
    return ADDRESS_OF.pack(address=address.packed, family=address.version)


def unpack_address_of(key: bytes) -> IPAddress:
    """Return the address that a key is."""
    found = ADDRESS_OF.unpack(key)
    packed = found["address"]
    assert isinstance(packed, bytes)  # the layout says so
    return IPv4Address(packed[:4]) if found["family"] == 4 else IPv6Address(packed)


def pack_prefix(network: IPNetwork) -> bytes:
    """Return the key of `host_stack` for `network`."""
    return PREFIX_OF.pack(
        prefixlen=PREFIX_BEFORE + network.prefixlen,
        family=network.version,
        address=network.network_address.packed,
    )


def pack_endpoint(one: Endpoint, link: int) -> bytes:
    """Return the value of `endpoints` for an endpoint whose link on the node is `link`."""
    flags = (0 if one.has_metadata else ENDPOINT_NO_METADATA) | (
        ENDPOINT_QUEUED if one.is_queued else 0
    )
    return ENDPOINT.pack(
        v6=pack_address(one.addresses.v6),
        gateway6=pack_address(one.gateways.v6),
        v4=pack_address(one.addresses.v4),
        gateway4=pack_address(one.gateways.v4),
        link=link,
        eni=one.eni,
        leg=one.leg,
        flags=flags,
        pod_mac=pack_mac(one.pod_mac),
        link_mac=pack_mac(one.link_mac),
        kind=one.kind,
        mtu=one.mtu_bytes,
    )


def unpack_endpoint(number: int, value: bytes) -> tuple[Endpoint, int]:
    """Return the endpoint that a value of `endpoints` is, and its link on the node."""
    found = ENDPOINT.unpack(value)
    numbers = {name: part for name, part in found.items() if isinstance(part, int)}
    texts = {name: part for name, part in found.items() if isinstance(part, bytes)}
    endpoint = Endpoint(
        number=EndpointNumber(number),
        kind=EndpointKind(numbers["kind"]),
        addresses=_pair(texts["v4"], texts["v6"]),
        gateways=_pair(texts["gateway4"], texts["gateway6"]),
        eni=numbers["eni"],
        leg=numbers["leg"],
        pod_mac=MacAddress(texts["pod_mac"].hex(":")),
        link_mac=MacAddress(texts["link_mac"].hex(":")),
        mtu_bytes=numbers["mtu"],
        has_metadata=not numbers["flags"] & ENDPOINT_NO_METADATA,
        is_queued=bool(numbers["flags"] & ENDPOINT_QUEUED),
    )
    return endpoint, numbers["link"]


def _pair(v4: bytes, v6: bytes) -> IPPair:
    return IPPair(
        v4=IPv4Address(v4) if any(v4) else None,
        v6=IPv6Address(v6) if any(v6) else None,
    )
