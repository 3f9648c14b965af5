"""What do the programs know of the node itself? The maps `settings` and `host_stack`.

`settings` has one entry of which several rooms own a part: each changes its own by `change`, one
after the other.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from terway.linux.bpf import Map
from terway.linux.ebpf.contract import PREFIX_BEFORE, PREFIX_OF, SETTINGS
from terway.linux.ebpf.entries import pack_address, pack_number, pack_prefix
from terway.linux.netlink import link
from terway.linux.netlink.link import pack_mac
from terway.linux.netlink.socket import RouteSocket
from terway.model.address import IPNetwork, IPPair
from terway.model.network import Link
from terway.model.programs import NodeKnowledge

_ONLY = pack_number(0)
_THE_STACKS = pack_number(1)


class Knowledge:
    """The maps about the node, of the loaded data path."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._settings = maps["settings"]
        self._host_stack = maps["host_stack"]
        self._lock = threading.Lock()

    def change(self, **fields: int | bytes) -> None:
        """Change fields of the only entry of `settings`; the others stay. For all who own some."""
        with self._lock:
            self._settings.update(_ONLY, SETTINGS.pack(**{**self.read_settings(), **fields}))

    def switch(self, flag: int, *, is_on: bool) -> None:
        """Set or clear a flag (SETTING_*); the others stay."""
        with self._lock:
            found = self.read_settings()
            flags = found["flags"]
            assert isinstance(flags, int)  # the layout says so
            changed = flags | flag if is_on else flags & ~flag
            self._settings.update(_ONLY, SETTINGS.pack(**{**found, "flags": changed}))

    def read_settings(self) -> dict[str, int | bytes]:
        """Return the fields of `settings`."""
        return SETTINGS.unpack(self._settings.lookup(_ONLY) or bytes(SETTINGS.size))

    def put(self, wanted: NodeKnowledge, ifindex: int, sock: RouteSocket) -> None:
        """Have the programs know the node so. The MAC is its uplink's."""
        uplink = sock.first(link.by_index(ifindex))
        self.change(**_fields(wanted, ifindex, uplink))
        keys = {pack_prefix(one) for one in wanted.host_stack}
        for key in keys:
            self._host_stack.update(key, _THE_STACKS)
        for key in list(self._host_stack.keys()):
            if key not in keys:
                self._host_stack.delete(key)

    def read(self, found: Link) -> NodeKnowledge | None:
        """Return what is known, None where it is of another uplink than `found`."""
        settings = self.read_settings()
        texts = {name: part for name, part in settings.items() if isinstance(part, bytes)}
        mac = b"" if found.mac is None else pack_mac(found.mac)
        if (settings["uplink"], texts["uplink_mac"]) != (found.ifindex, mac):
            return None
        mtu = settings["uplink_mtu"]
        assert isinstance(mtu, int)  # the layout says so
        return NodeKnowledge(
            link=found.name,
            addresses=_pair(texts["node4"], texts["node6"]),
            gateways=_pair(texts["gateway4"], texts["gateway6"]),
            mtu_bytes=mtu,
            host_stack=tuple(sorted(map(_network, self._host_stack.keys()), key=_order)),
        )


def _fields(wanted: NodeKnowledge, ifindex: int, uplink: Link | None) -> dict[str, int | bytes]:
    return {
        "node4": pack_address(wanted.addresses.v4),
        "node6": pack_address(wanted.addresses.v6),
        "gateway4": pack_address(wanted.gateways.v4),
        "gateway6": pack_address(wanted.gateways.v6),
        "uplink": ifindex,
        "uplink_mac": b"" if uplink is None or uplink.mac is None else pack_mac(uplink.mac),
        "uplink_mtu": wanted.mtu_bytes,
    }


def _pair(v4: bytes, v6: bytes) -> IPPair:
    return IPPair(v4=IPv4Address(v4) if any(v4) else None, v6=IPv6Address(v6) if any(v6) else None)


def _network(key: bytes) -> IPNetwork:
    found = PREFIX_OF.unpack(key)
    address, length = found["address"], found["prefixlen"]
    assert isinstance(address, bytes)  # the layout says so
    assert isinstance(length, int)
    bits = length - PREFIX_BEFORE
    if found["family"] == 4:
        return IPv4Network((address[:4], bits))
    return IPv6Network((address, bits))


def _order(network: IPNetwork) -> tuple[int, bytes, int]:
    return network.version, network.network_address.packed, network.prefixlen
