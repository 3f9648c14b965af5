"""Can this kernel have the data path? If so: here it is. Asked by trying, where it harms nobody.

    a BPF file system ► the object loaded ► on a lo of its own: filters, stamps, tcx ► DataPath

A kernel's version does not tell what it has. Whatever is missing is named, in one line. Blocking.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from terway.linux.ebpf import tcx
from terway.linux.ebpf.contract import LAYOUT
from terway.linux.ebpf.datapath import DataPath
from terway.linux.ebpf.hooks import INNER_HOOKS, POD_HOOKS, has_filters, put_filters, put_stamped
from terway.linux.ebpf.pins import Pins, ensure_bpffs
from terway.linux.ebpf.programs import OBJECT, DataPathObject, open_object
from terway.linux.netlink.socket import open_route_socket
from terway.linux.netns import fresh_netns
from terway.model.endpoint import EndpointNumber
from terway.model.errors import UsageError, VpcError

_LOOPBACK = 1  # the number of lo in every namespace
_PROGRAM = re.compile(r"prog '(\w+)': BPF program load failed: ([^\n]+)")
_MISSING_HELPER = re.compile(r"(?:unknown|invalid) func (\w+)#?")
_NOT_THE_REASON = ("processed ", "-- END", "libbpf:", "verification time", "stack depth", "max_")
_NO_SIZES: Mapping[str, int] = MappingProxyType({})


def open_datapath(
    pins: Pins,
    *,
    sizes: Mapping[str, int] = _NO_SIZES,
    layout: int = LAYOUT,
    path: Path = OBJECT,
) -> DataPath:
    """Load the data path over what is pinned, and try it; nothing of the node's sees it yet.

    Raises UsageError with what is missing, in one line, and in `code` what kind of thing that is:
    ``bpffs``, ``map`` (`field` names it), ``verifier`` or ``hook``.
    """
    try:
        ensure_bpffs(pins.root.parent)
    except UsageError as error:
        raise UsageError(str(error), field=error.field, code="bpffs") from error
    loaded = _open(pins, sizes, layout, path)
    try:
        return DataPath(loaded, has_tcx=_try_hooks(loaded))
    except VpcError as error:
        loaded.close()
        raise UsageError(f"a program is not let at a hook: {error}", code="hook") from error


def _open(pins: Pins, sizes: Mapping[str, int], layout: int, path: Path) -> DataPathObject:
    try:
        return open_object(pins, sizes=sizes, layout=layout, path=path)
    except UsageError as error:
        raise UsageError(str(error).partition("\n")[0], field=error.field, code="map") from error
    except VpcError as error:
        raise UsageError(words_of_refusal(str(error)), code="verifier") from error


def words_of_refusal(text: str) -> str:
    """Return in one line which program was refused, and the verifier's last word on it."""
    helper = _MISSING_HELPER.search(text)
    program = _PROGRAM.search(text)
    name = f"program {program[1]!r}" if program else "a program"
    lines = [line.strip() for line in text.splitlines()]
    reasons = [line for line in lines if line and not line.startswith(_NOT_THE_REASON)]
    if helper is not None:
        return f"the kernel lacks {helper[1]}, which {name} needs"
    last = reasons[-1] if reasons else "it says nothing"
    return f"the kernel's verifier refuses {name}: {last}"


def _try_hooks(loaded: DataPathObject) -> bool:
    """Put programs at the hooks of a lo that nobody uses; return whether there is tcx."""
    with fresh_netns(), open_route_socket() as sock:
        for request in put_filters(_LOOPBACK, loaded.programs, POD_HOOKS):
            sock.request(request)
        for request in put_stamped(sock, _LOOPBACK, loaded.programs, EndpointNumber(1)):
            sock.request(request)
        if not has_filters(sock, _LOOPBACK, loaded.programs, INNER_HOOKS):
            raise UsageError("filters of clsact do not show which program they are")
        return tcx.is_supported(_LOOPBACK, loaded.programs["from_eni"].fd)
