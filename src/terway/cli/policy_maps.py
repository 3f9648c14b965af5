"""What do the maps of this node's data path say of policies, and is it what policies say?

The maps are what its programs go by; they are read from their pins, and terwayd is not asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from terway.linux.ebpf.pins import ROOT, Pins
from terway.linux.ebpf.policy_maps import NAMES, Dump, PolicyMaps
from terway.model.attachment import Attachment
from terway.model.endpoint import endpoint_number
from terway.model.errors import UsageError
from terway.model.policy_maps import Content
from terway.policy.bpf.lift import lift
from terway.policy.bpf.verify import verify
from terway.policy.bpf.writer import Endpoints
from terway.policy.cluster import PodKey
from terway.policy.compiled import Compiled

WHERE = "the data path"


def read_policy_maps(pins: Path = ROOT) -> Content | None:
    """Return what the maps hold; None where no terwayd has written policies into any. Blocking.

    Raises UsageError without the privileges.
    """
    with _opened(pins) as maps:
        return maps.read() if maps is not None and maps.generation() else None


def dump_policy_maps(pins: Path = ROOT) -> Dump | None:
    """Return the maps' entries as bytes; None and errors as of `read_policy_maps`."""
    with _opened(pins) as maps:
        return maps.dump() if maps is not None and maps.generation() else None


def has_policy_maps(pins: Path = ROOT) -> bool:
    """Return whether pods' packets are judged by maps. Blocking; raises as `read_policy_maps`."""
    with _opened(pins) as maps:
        return maps is not None and bool(maps.generation())


@contextmanager
def _opened(pins: Path) -> Iterator[PolicyMaps | None]:
    """Open the pinned maps for the block; None where there are none."""
    names = Pins(pins)
    try:
        layouts = names.layouts()
    except PermissionError as error:
        raise UsageError(f"{pins} cannot be read; run as root", field=str(pins)) from error
    with ExitStack() as stack:
        found = None
        for layout in layouts:  # the newest first
            maps = names.open_maps(layout)
            for one in maps.values():
                stack.callback(os.close, one.fd)
            if found is None and all(name in maps for name in NAMES):
                found = PolicyMaps(maps)
        yield found


def map_differences(
    wish: Compiled, attachments: Iterable[Attachment], content: Content
) -> Iterator[str]:
    """Yield where maps are not as they should be, for every address, protocol and port. Pure."""
    yield from verify(wish, endpoints_of(attachments), lift(content))


def endpoints_of(attachments: Iterable[Attachment]) -> Endpoints:
    """Return the endpoints of each pod's attachments."""
    found: dict[PodKey, tuple[int, ...]] = {}
    for one in attachments:
        if one.pod is not None:
            key = PodKey(namespace=one.pod.namespace, name=one.pod.name)
            found[key] = (*found.get(key, ()), endpoint_number(one.key))
    return found
