"""Where an ENI's device is, and what it has there. Blocking; for workers."""

from __future__ import annotations

from collections.abc import Iterable

from terway.linux.netlink import devconf, link
from terway.linux.read import read_interface
from terway.linux.session import Session
from terway.model.device import Device, DeviceState
from terway.model.errors import ConflictError, UsageError
from terway.model.network import NODE, Link

# A bridge or VLAN above the device may have its MAC. Plain veths are what the lab's ENIs are.
_DEVICE_KINDS = ("", "veth")


def read_device(device: Device, session: Session) -> DeviceState:
    """Return where `device` is, and what the pod has of the interface that it is to be.

    A path that leads to no namespace any more (a plain file is left of a mount after a reboot) is
    a namespace that is gone.
    """
    on_node = _find(device, session.namespace(NODE).sock.query(link.all_links()))
    try:
        pod = session.namespace(device.netns)
    except ConflictError:
        return DeviceState(on_node=on_node)
    except UsageError as error:
        if error.field != "CNI_NETNS":
            raise
        return DeviceState(on_node=on_node)
    links = pod.sock.query(devconf.all_configured())
    shown = [one for one in links if one.link.name in (device.ifname, "lo")]
    interface = next((one for one in shown if one.link.name == device.ifname), None)
    return DeviceState(
        on_node=on_node,
        in_pod=_find(device, (one.link for one in links)),
        pod_links=tuple(one.link.name for one in links),
        pod=tuple(read_interface(pod, shown, interface, device.pod)),
    )


def _find(device: Device, links: Iterable[Link]) -> Link | None:
    kinds = _DEVICE_KINDS if device.vlan is None else ("vlan",)
    plain = [one for one in links if one.kind in kinds]
    by_mac = (one for one in plain if one.mac == device.mac)
    by_alias = (one for one in plain if one.alias == device.alias)
    return next(by_mac, None) or next(by_alias, None)
