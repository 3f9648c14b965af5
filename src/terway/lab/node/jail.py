"""What does a container's process see: which root, which mounts, which namespaces?

There is no registry in a lab, so there are no images: a container's root is a copy-on-write view
of the machine's own root file system, with a /proc, /sys, /run and /tmp of its own, and the pod's
volumes. What a container writes never reaches the machine.

Runs in the forked child of the spawner, between fork and exec: lean imports only.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from terway.lab.node import syscalls as sys_

LAYERS = "/run/terway-lab/layers"  # on the node's own tmpfs: gone with the node


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A bind mount of a container: a file or folder of the node, at a path of the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Jail:
    """What a process is put into. Paths of namespaces are files of the node; "" is the node's."""

    name: str = ""  # of the copy-on-write layer; "" keeps the node's own root
    net: str = ""
    uts: str = ""
    ipc: str = ""
    mounts: tuple[Mount, ...] = ()
    own_pids: bool = False

    @classmethod
    def parse(cls, raw: dict[str, object]) -> Jail:
        """Rebuild a jail from `dataclasses.asdict`, as it comes over the spawner's socket."""
        mounts = raw.pop("mounts", ())
        assert isinstance(mounts, list | tuple)
        return cls(**raw, mounts=tuple(Mount(**one) for one in mounts))  # type: ignore[arg-type]  # our own asdict


def enter(jail: Jail) -> None:
    """Put the calling process into `jail`. Raises OSError with the step that failed.

    The PID namespace is the caller's business: it takes effect with the fork.
    """
    for path in (jail.net, jail.uts, jail.ipc):
        if path:
            sys_.enter_namespace(path)
    if not jail.name:
        return
    sys_.unshare(sys_.CLONE_NEWNS)
    # What the node shares, /run/netns alone, goes on to be seen: HostToContainer.
    sys_.mount("none", "/", flags=sys_.MS_REC | sys_.MS_SLAVE)
    root = _make_layer(jail.name)
    _mount_kernel_views(root, own_pids=jail.own_pids)
    for one in jail.mounts:
        _bind_into(root, one)
    sys_.pivot_into(root)


def _make_layer(name: str) -> str:
    base = f"{LAYERS}/{name}"
    for part in ("root", "upper", "work"):
        Path(base, part).mkdir(parents=True, exist_ok=True)
    options = f"lowerdir=/,upperdir={base}/upper,workdir={base}/work"
    sys_.mount("overlay", f"{base}/root", "overlay", options=options)
    return f"{base}/root"


def remove_layer(name: str) -> None:
    """Remove what a container that has ended wrote; its mounts ended with it. Idempotent."""
    shutil.rmtree(Path(LAYERS, name), ignore_errors=True)


def _mount_kernel_views(root: str, *, own_pids: bool) -> None:
    if own_pids:
        sys_.mount("proc", f"{root}/proc", "proc")
    else:
        sys_.bind("/proc", f"{root}/proc", recursive=True)
    # A sysfs shows the network namespace it is mounted from.
    sys_.mount("sysfs", f"{root}/sys", "sysfs")
    sys_.bind("/dev", f"{root}/dev", recursive=True)
    for folder, mode in (("run", "755"), ("tmp", "1777")):
        sys_.mount("tmpfs", f"{root}/{folder}", "tmpfs", options=f"mode={mode}")


def _bind_into(root: str, one: Mount) -> None:
    target = Path(resolve_inside(root, one.target))
    if Path(one.source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    sys_.bind(one.source, str(target), recursive=True, read_only=one.read_only)


def resolve_inside(root: str, path: str) -> str:
    """Return `path` below `root` with links followed as the container will see them.

    /var/run is a link to the absolute /run on Debian: followed by the kernel before the pivot,
    it would lead out of the container and into the node.
    """
    todo = [part for part in path.split("/") if part][::-1]
    done: list[str] = []
    for _ in range(256):  # links can form a circle
        if not todo:
            break
        part = todo.pop()
        here = "/".join((root, *done, part))
        if part == "..":
            done = done[:-1]
        elif os.path.islink(here):
            link = os.readlink(here)
            done = [] if link.startswith("/") else done
            todo += [piece for piece in link.split("/") if piece not in {"", "."}][::-1]
        else:
            done.append(part)
    return "/".join((root, *done))
