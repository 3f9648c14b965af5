"""The node's sockets, served: attached once, found again, and told when a backend has gone.

    <root>/sockets/<call>   the links of the cgroup
    <root>/sockets/reached  which socket reached whom: a map that goes on with the next terwayd

Blocking; for workers.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from terway.linux.bpf import Map, map_of, open_pinned, pin
from terway.linux.ebpf import cgroup
from terway.linux.ebpf.contract import FRONTEND_KEY
from terway.linux.ebpf.entries import pack_number
from terway.linux.ebpf.pins import Pins
from terway.linux.ebpf.sock_contract import SOCKET_KEY, SOCKET_REACHED
from terway.linux.ebpf.sockets import SOCKETS, open_sockets
from terway.linux.sock_diag import ConnectedSocket, end_sockets
from terway.model.errors import VpcError

FOLDER = "sockets"
_REACHED = "reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSockets:
    """What is attached: to which cgroup, and what its sockets have reached."""

    cgroup: Path
    can_refuse: bool
    reached: Map

    def end_those_with(self, gone: Collection[int]) -> int:
        """Forget backends that are gone, and end the sockets that are connected to them.

        Returns how many were ended. Those that are not connected choose anew by themselves.
        """
        wanted = frozenset(pack_number(number) for number in gone)
        stale = [
            key
            for key, value in self.reached.items().items()
            if value[-len(pack_number(0)) :] in wanted
        ]
        connected = tuple(_sockets(stale))
        for key in stale:
            self.reached.delete(key)
        return end_sockets(connected)


def serve_sockets(maps: Mapping[str, Map], pins: Pins, wanted: Path | None) -> NodeSockets:
    """Have the node's processes reach services; idempotent.

    `maps` are the data path's, `wanted` the cgroup to attach to, by default the first of all.
    Raises VpcError where the kernel, or the place, does not allow it.
    """
    place = cgroup.find_cgroup(wanted)
    folder = pins.folder(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    shared = {name: one.fd for name, one in maps.items()}
    kept = open_pinned(folder / _REACHED)
    try:
        return _serve(shared if kept is None else {**shared, SOCKETS: kept}, place, folder)
    except VpcError:
        if kept is None:
            raise
    finally:
        if kept is not None:
            os.close(kept)
    # What is remembered may be of another layout: without it, names of peers are not turned back.
    (folder / _REACHED).unlink(missing_ok=True)
    return _serve(shared, place, folder)


def _serve(maps: Mapping[str, int], place: Path, folder: Path) -> NodeSockets:
    with open_sockets(maps) as programs:
        programs.attach(place, folder)
        reached = os.dup(programs.loaded.maps[SOCKETS])
        if not (folder / _REACHED).exists():
            pin(reached, folder / _REACHED)
        return NodeSockets(cgroup=place, can_refuse=programs.can_refuse, reached=map_of(reached))


def stop_serving(pins: Pins) -> None:
    """Leave the node's sockets alone, and nothing behind. Idempotent."""
    folder = pins.folder(FOLDER)
    (folder / _REACHED).unlink(missing_ok=True)
    cgroup.detach(folder)


def _sockets(keys: Collection[bytes]) -> Iterator[ConnectedSocket]:
    for key in keys:
        found = SOCKET_KEY.unpack(key)
        cookie, packed = found["cookie"], found["peer"]
        assert isinstance(cookie, int)  # the layout says so
        assert isinstance(packed, bytes)
        if found["direction"] != SOCKET_REACHED:
            continue
        peer = FRONTEND_KEY.unpack(packed)
        address, port = peer["address"], peer["port"]
        assert isinstance(address, bytes)
        assert isinstance(port, bytes)
        v4 = peer["family"] == 4
        yield ConnectedSocket(
            cookie=cookie,
            protocol=int(peer["protocol"]),
            address=IPv4Address(address[:4]) if v4 else IPv6Address(address),
            port=int.from_bytes(port, "big"),
        )
