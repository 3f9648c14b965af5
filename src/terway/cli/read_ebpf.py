"""What has the kernel of this node's eBPF data path? Read from its pinned maps and its hooks.

terwayd is not asked: the maps are what the programs go by. Blocking; some milliseconds, and more
where entries of large maps are counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from terway.cli.read_services import FrontendQuestion, read_frontends
from terway.cli.snapshot_ebpf import (
    DataPathView,
    EndpointView,
    HookView,
    LocalView,
    LossView,
    MapView,
)
from terway.linux import bpf_find
from terway.linux.bpf import Map
from terway.linux.bpf_program import program_info
from terway.linux.ebpf import tcx
from terway.linux.ebpf.contract import (
    LOCAL_NODE,
    SETTING_NODE_IN,
    SETTING_NODE_OUT,
    SETTING_POLICY,
    SETTING_SERVICES,
)
from terway.linux.ebpf.entries import unpack_address_of, unpack_endpoint, unpack_number
from terway.linux.ebpf.hooks import NAME_PREFIX
from terway.linux.ebpf.knowledge import Knowledge
from terway.linux.ebpf.pins import ROOT, Pins
from terway.linux.ebpf.programs import memory_of
from terway.linux.ebpf.stamp import PREFIX as STAMP_PREFIX
from terway.linux.ebpf.told import read_losses
from terway.linux.netlink import link, traffic
from terway.linux.netlink.socket import RouteSocket
from terway.linux.netlink.traffic import Hook
from terway.linux.session import Session, open_session
from terway.model.attachment import Attachment
from terway.model.errors import VpcError
from terway.model.network import NODE, Link, Netns

_COUNTED = frozenset({1, 5, 9, 11})  # hash, per-CPU hash, LRU hash, LPM trie
_LRU = 9
_NEEDED = ("endpoints", "links", "locals", "host_stack", "settings", "losses")


def read_datapath(
    attachments: Iterable[Attachment] = (),
    questions: Iterable[FrontendQuestion] = (),
    *,
    counts: bool = False,
    pins: Path = ROOT,
) -> DataPathView | None:
    """Return the data path that is pinned below `pins`; None where there is none.

    `counts`: count the entries of all maps, too. Raises UsageError without the privileges.
    """
    names = Pins(pins)
    for layout in names.layouts():
        with ExitStack() as stack:
            maps = names.open_maps(layout)
            for one in maps.values():
                stack.callback(os.close, one.fd)
            if all(name in maps for name in _NEEDED):
                found = _read(layout, maps, names, attachments, counts=counts)
                return replace(found, frontends=tuple(read_frontends(maps, questions)))
    return None


def _read(
    layout: int,
    maps: Mapping[str, Map],
    pins: Pins,
    attachments: Iterable[Attachment],
    *,
    counts: bool,
) -> DataPathView:
    with open_session() as session:
        sock = session.namespace(NODE).sock
        devices = {one.ifindex: one for one in sock.query(link.all_links())}
        hooks = (*_hooks(sock, devices, pins), *_inner_hooks(session, attachments))
    knowledge = Knowledge(maps)
    settings = knowledge.read_settings()
    flags, uplink = settings["flags"], settings["uplink"]
    assert isinstance(flags, int)  # the layout says so
    assert isinstance(uplink, int)
    node = knowledge.read(devices[uplink]) if uplink in devices else None
    return DataPathView(
        layout=layout,
        does_services=bool(flags & SETTING_SERVICES),
        lacks_sockets=bool(flags & SETTING_NODE_IN and flags & SETTING_NODE_OUT),
        does_policy=bool(flags & SETTING_POLICY),
        does_node_in=bool(flags & SETTING_NODE_IN),
        node=node,
        maps=tuple(_maps(maps, counts=counts)),
        endpoints=tuple(_endpoints(maps["endpoints"])),
        locals=tuple(_locals(maps["locals"])),
        links=tuple(
            (unpack_number(key), unpack_number(value))
            for key, value in maps["links"].items().items()
        ),
        hooks=hooks,
        losses=tuple(_losses(maps["losses"])),
    )


def _maps(maps: Mapping[str, Map], *, counts: bool) -> Iterator[MapView]:
    memory = memory_of(maps)
    for name, one in sorted(maps.items()):
        has_count = counts and one.type in _COUNTED
        yield MapView(
            name=name,
            max_entries=one.max_entries,
            memory_bytes=memory[name],
            entries=one.count() if has_count else None,
            forgets=one.type == _LRU,
        )


def _endpoints(endpoints: Map) -> Iterator[EndpointView]:
    for key, value in sorted(endpoints.items().items()):
        endpoint, ifindex = unpack_endpoint(unpack_number(key), value)
        yield EndpointView(endpoint=endpoint, link=ifindex)


def _locals(locals_: Map) -> Iterator[LocalView]:
    for key, value in sorted(locals_.items().items()):
        number = unpack_number(value)
        endpoint = None if number == LOCAL_NODE else number
        yield LocalView(address=unpack_address_of(key), endpoint=endpoint)


def _losses(losses: Map) -> Iterator[LossView]:
    for one in read_losses(losses):
        yield LossView(
            endpoint=one.endpoint,
            reason=one.reason.word,
            meaning=one.reason.meaning,
            packets=one.packets,
            bytes=one.bytes,
        )


def _hooks(sock: RouteSocket, devices: Mapping[int, Link], pins: Pins) -> Iterator[HookView]:
    """Yield the programs of ours at all devices of the node: filters, and pinned tcx links."""
    for ifindex, device in sorted(devices.items()):
        for hook in Hook:
            for one in sock.query(traffic.attached_programs(ifindex, hook)):
                if one.name.startswith(NAME_PREFIX):
                    program = one.name.removeprefix(NAME_PREFIX)
                    yield _hook(device, hook, one.number, program)
            number = _of_tcx(pins, ifindex, hook)
            if number is not None:
                yield _hook(device, hook, number, is_tcx=True)


def _inner_hooks(session: Session, attachments: Iterable[Attachment]) -> Iterator[HookView]:
    """Yield the programs of ours at pods' own devices, in their namespaces: stamps, too."""
    for one in attachments:
        with suppress(VpcError):  # its namespace is gone
            sock = session.namespace(Netns(one.netns)).sock
            device = sock.first(link.by_name(one.key.ifname))
            for hook in Hook if device is not None else ():
                assert device is not None
                for found in sock.query(traffic.attached_programs(device.ifindex, hook)):
                    if found.name.startswith((NAME_PREFIX, STAMP_PREFIX)):
                        program = found.name.removeprefix(NAME_PREFIX)
                        seen = _hook(device, hook, found.number, program)
                        yield replace(seen, pod=one.key)


def _of_tcx(pins: Pins, ifindex: int, hook: Hook) -> int | None:
    with suppress(VpcError):  # a pin of another kind
        return tcx.attached(pins.links, ifindex, hook)
    return None


def _hook(
    device: Link, hook: Hook, number: int, program: str = "", *, is_tcx: bool = False
) -> HookView:
    fd = bpf_find.open_program(number)
    name, tag = program, ""
    if fd is not None:
        try:
            about = program_info(fd)
            name, tag = program or about.name, about.tag
        finally:
            os.close(fd)
    return HookView(
        device=device.name,
        ifindex=device.ifindex,
        hook=hook.name.lower(),
        program=name,
        number=number,
        tag=tag,
        is_tcx=is_tcx,
    )
