"""What is a pod's own process told when it asks the kernel for the maps that judge the pod?

As much as an ordinary container may, and CAP_NET_ADMIN beside it: what nftables would ask for.
"""

from __future__ import annotations

import sys

from terway.lab.world.pods import PodHandle

# What containerd and CRI-O give a container by default, without what opens files of others.
_MAY = ("chown", "setuid", "setgid", "net_bind_service", "net_raw", "net_admin", "sys_chroot")
# On the node: the number of the map of rule sets, and where it is pinned.
_FIND = """
from terway.linux.ebpf.pins import Pins
pins = Pins()
layout = pins.layouts()[0]
info = open(f"/proc/self/fdinfo/{pins.open_maps(layout)['policy_sides'].fd}").read()
print(info.partition("map_id:")[2].split()[0], pins.root / str(layout) / "policy_sides")
"""
# In the pod, whose Python may be any: bpf(2) by its number, BPF_OBJ_GET, BPF_MAP_GET_FD_BY_ID and
# BPF_MAP_GET_NEXT_ID.
_ASK = """
import ctypes, errno, platform, struct, sys
call = {"x86_64": 321, "aarch64": 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
path = ctypes.create_string_buffer(sys.argv[2].encode())
asked = {
    7: struct.pack("=QII", ctypes.addressof(path), 0, 0),
    14: struct.pack("=III", int(sys.argv[1]), 0, 0),
    12: struct.pack("=III", 0, 0, 0),
}
for command, text in asked.items():
    room = ctypes.create_string_buffer(text, 128)
    is_refused = libc.syscall(call, command, room, 128) < 0
    print(errno.errorcode[ctypes.get_errno()] if is_refused else "opened")
"""


async def refusals_of_maps(pod: PodHandle) -> list[str]:
    """Return what the pod is told for the pinned map, for its number, and for the first number.

    The node's root has all three opened.
    """
    number, path = (await pod.node.exec(sys.executable, "-c", _FIND)).split()
    by_root = await pod.node.exec(sys.executable, "-c", _ASK, number, path)
    assert by_root.split() == ["opened", "opened", "opened"]
    bounds = ",".join(("-all", *(f"+{one}" for one in _MAY)))
    held = ("setpriv", "--inh-caps=-all", f"--bounding-set={bounds}")
    return (await pod.exec(*held, "python3", "-c", _ASK, number, path)).split()
