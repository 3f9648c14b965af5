"""An ENI's device as exclusive mode has it: in the node's namespace, or moved into a pod's.

Or, for a member of the node's trunk, a VLAN device over it: made in the pod, and deleted there.

A device is known by its MAC, which the VPC makes unique. A pod that may change its own MAC could
hide it; so the device also carries an alias, which goes along when it is moved.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.ids import MacAddress
from terway.model.network import Link, Netns, NetObject


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanPort:
    """What a VLAN device is over: a link of the node, and by which tag. Empty: it is not there."""

    parent: str
    vlan_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Which device it is, and what it is to be in a pod."""

    mac: MacAddress
    alias: str  # while it is a pod's
    ifname: str  # in the pod
    netns: Netns  # the pod's
    mtu_bytes: int
    pod: tuple[NetObject, ...]  # what the pod is to have of it
    vlan: VlanPort | None = None  # where it is no ENI's device, but one over the node's trunk


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """Where a device is, and what is there.

    In neither place: its ENI is not attached, or its namespace is ending or has lost its path.
    """

    on_node: Link | None = None
    in_pod: Link | None = None
    pod_links: tuple[str, ...] = ()  # the names that are taken in the pod
    pod: tuple[NetObject, ...] | None = None  # None: the pod's namespace is gone

    @property
    def is_nowhere(self) -> bool:
        """Return whether the device is in neither place."""
        return self.on_node is None and self.in_pod is None
