"""Which data path does this node have: what was asked for, and what its kernel can.

What is asked for and missing is had otherwise: `ipvlan` by `datapathv2`, and that by policy
routing, which every kernel can. Why is said at the Node, in the log and by the doctor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from terway.config.choices import VirtualType
from terway.config.cni_conf import CniConf
from terway.linux.ebpf.pins import Pins
from terway.linux.kernel import Kernel
from terway.model.errors import UsageError, VpcError
from terway.model.interface import Mode

CHANGED = "VirtualModeChanged"  # the reason of the event, as upstream names it

_KEYS_OF_MAPS = {
    "flows": "ebpf_max_connections",
    "choices": "ebpf_max_connections",
    "policy_": "ebpf_policy_entries",
    "frontends": "ebpf_service_entries",
    "sets": "ebpf_service_entries",
    "slots": "ebpf_service_entries",
    "backends": "ebpf_service_entries",
}

_log = structlog.get_logger("datapath")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The node's mode, whether its pods' packets are seen by programs of eBPF, and why not."""

    mode: Mode
    has_datapath: bool = False
    lacks: str = ""  # what the kernel is missing of what was asked for


async def choose_datapath(
    kernel: Kernel, mode: Mode, cni: CniConf, pins: Pins, sizes: Mapping[str, int]
) -> Chosen:
    """Return the data path that the node has; where it is in eBPF, `kernel` has it loaded.

    `mode` is that of the node's label.
    """
    if cni.virtual_type is VirtualType.VETH:
        return Chosen(mode=mode)
    if mode is Mode.EXCLUSIVE and not cni.has_host_peer:
        return _without(mode, "pods have no second leg (disable_host_peer)")
    try:
        await kernel.open_datapath(pins, sizes)
    except VpcError as error:
        return _without(mode, _told(error))
    if mode is not Mode.VETH or cni.virtual_type is not VirtualType.IPVLAN:
        shared = Mode.DATAPATHV2 if mode is Mode.VETH else mode
        return Chosen(mode=shared, has_datapath=True)
    lacks = await kernel.ipvlan_lacks()
    if lacks:
        _log.warning("datapath.no_ipvlan", error=lacks)
        return Chosen(mode=Mode.DATAPATHV2, has_datapath=True, lacks=lacks)
    return Chosen(mode=Mode.IPVLAN, has_datapath=True)


def _told(error: VpcError) -> str:
    """Return what is missing; of a map, by which key of eni_conf it can be smaller."""
    name = error.field if isinstance(error, UsageError) and error.code == "map" else ""
    key = next((key for start, key in _KEYS_OF_MAPS.items() if name and name.startswith(start)), "")
    return f"{error}; lower {key} of eni_conf" if key else str(error)


def _without(mode: Mode, lacks: str) -> Chosen:
    _log.warning("datapath.not_possible", error=lacks)
    return Chosen(mode=mode, lacks=lacks)
