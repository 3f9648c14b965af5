"""Are members of this node's trunk to be behind VLAN devices, and can they?"""

from __future__ import annotations

from typing import Protocol

from terway.config.choices import VLANStrip
from terway.config.cni_conf import CniConf
from terway.config.keys_cni import VLAN_STRIP_TYPE
from terway.model.errors import UsageError
from terway.model.interface import Mode


def wants_vlan_devices(cni: CniConf, mode: Mode) -> bool:
    """Return whether `vlan_strip_type: vlan` is said; a node of whole ENIs has no members."""
    return cni.vlan_strip is VLANStrip.VLAN and mode is not Mode.EXCLUSIVE


class Kernel(Protocol):
    """What is asked of the kernel."""

    async def vlan_lacks(self) -> str:
        """Return why it makes no VLAN devices; empty where it does."""


async def check_vlan_devices(kernel: Kernel, mode: Mode, cni: CniConf) -> None:
    """Raise ConfigError where VLAN devices are asked for and this kernel has none (some 30 ms)."""
    if not wants_vlan_devices(cni, mode):
        return
    lacks = await kernel.vlan_lacks()
    if lacks:
        remedy = "load its module 8021q, or leave tags to eBPF: vlan_strip_type filter"
        raise UsageError(f"vlan_strip_type vlan: {lacks}: {remedy}", field=VLAN_STRIP_TYPE.name)
