"""What does a node's file system look like, and how is it made?

The machine's own root, with these parts the node's own, so that every program keeps its default
paths and nothing that it writes reaches the machine's disk:

    /run            tmpfs; everything below lives on it, and ends with the node
    /etc /opt /var  copy-on-write views of the machine's
    /var/lib/containerd, /var/lib/containers, /var/lib/kubelet
                    plain folders: an overlay cannot be the upper layer of another one
    /proc /sys      of the node's own PID and network namespaces
    /sys/fs/cgroup  the machine's, carried over: a fresh sysfs hides it, runtimes need it
    /sys/fs/bpf     a bpffs of its own
    /var/log/terway the machine's folder for this node's logs, kept when the node has died
"""

from __future__ import annotations

import os
from pathlib import Path

from terway.lab.node import syscalls as sys_
from terway.lab.node.spec import NodeSpec

ADMIN_KUBECONFIG = Path("/etc/kubernetes/kubelet.conf")  # of the kubelet, and of people here
AGENT_KUBECONFIG = Path("/etc/kubernetes/terway.conf")

_STORE = Path("/run/terway-lab")
_COPY_ON_WRITE = ("/etc", "/opt", "/var")
# Empty at first: the CNI configuration of another program on the machine is not the node's.
_OWN_FOLDERS = (
    "/etc/cni/net.d",
    "/etc/eni",
    "/etc/kubernetes",
    "/opt/cni/bin",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
    "/var/log/pods",
    "/var/log/terway",
)
_NETNS = Path("/run/netns")  # a pod that mounts it sees the namespaces that come later, too
_CNI_REFERENCE_PLUGINS = Path("/usr/lib/cni")  # Debian's containernetworking-plugins


def build(spec: NodeSpec) -> None:
    """Turn this new mount namespace into the node's. Call once, as PID 1, before anything else."""
    sys_.mount("none", "/", flags=sys_.MS_REC | sys_.MS_PRIVATE)
    logs = os.open(spec.log_dir, os.O_RDONLY | os.O_DIRECTORY)
    sys_.mount("tmpfs", "/run", "tmpfs", options="mode=755")
    _share(_NETNS)
    _mount_kernel_views()
    for path in _COPY_ON_WRITE:
        _overlay(path)
    for path in _OWN_FOLDERS:
        _own_folder(path)
    sys_.bind(f"/proc/self/fd/{logs}", "/var/log/terway")
    os.close(logs)
    _link_reference_plugins()
    _write_identity(spec)


def folder_on_both(path: Path) -> Path:
    """Return `path` if it is the same folder on the machine and on its nodes, else /tmp."""
    own = ("/run", "/proc", "/sys", *_COPY_ON_WRITE)
    is_own = any(path.resolve().is_relative_to(one) for one in own)
    return Path("/tmp") if is_own else path  # noqa: S108 - where people look


def _mount_kernel_views() -> None:
    cgroups = Path("/run/.cgroup")
    cgroups.mkdir()
    sys_.bind("/sys/fs/cgroup", str(cgroups), recursive=True)
    sys_.mount("proc", "/proc", "proc")
    sys_.mount("sysfs", "/sys", "sysfs")
    sys_.bind(str(cgroups), "/sys/fs/cgroup", recursive=True)
    sys_.unmount(str(cgroups))
    cgroups.rmdir()
    sys_.mount("bpf", "/sys/fs/bpf", "bpf")


def _share(folder: Path) -> None:
    folder.mkdir()
    sys_.bind(str(folder), str(folder))
    sys_.mount("none", str(folder), flags=sys_.MS_SHARED)


def _overlay(path: str) -> None:
    base = _STORE / "root" / path[1:]
    for part in ("upper", "work"):
        (base / part).mkdir(parents=True)
    options = f"lowerdir={path},upperdir={base}/upper,workdir={base}/work"
    sys_.mount("overlay", path, "overlay", options=options)


def _own_folder(path: str) -> None:
    source = _STORE / "root" / path[1:].replace("/", "-")
    source.mkdir(parents=True)
    Path(path).mkdir(parents=True, exist_ok=True)
    sys_.bind(str(source), path)


def _link_reference_plugins() -> None:
    if not _CNI_REFERENCE_PLUGINS.is_dir():
        return
    for plugin in _CNI_REFERENCE_PLUGINS.iterdir():
        Path("/opt/cni/bin", plugin.name).symlink_to(plugin)


def _write_identity(spec: NodeSpec) -> None:
    own = [address.partition("/")[0] for address in spec.addresses]
    hosts = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    hosts += [f"{address} {spec.name}" for address in own]
    replace("/etc/hostname", f"{spec.name}\n")
    replace("/etc/hosts", "\n".join(hosts) + "\n")
    # The VPC's own resolvers; the lab has no DNS, names fail fast instead of leaking out.
    replace("/etc/resolv.conf", "options timeout:1 attempts:1\n")
    replace(str(ADMIN_KUBECONFIG), spec.kubeconfig)
    replace(str(AGENT_KUBECONFIG), spec.agent_kubeconfig or spec.kubeconfig)


def replace(path: str, text: str) -> None:
    """Write a file of the node's own /etc, also where the machine has a link there."""
    target = Path(path)
    target.unlink(missing_ok=True)
    target.write_text(text)
