"""Where does a lab keep its state? One folder a lab, below /run/terway-lab.

<name>/lab.pid        the server, by process id and start time
<name>/lab.log        what it said
<name>/control.sock   the command line's requests
<name>/api.sock       the Kubernetes API; also at the port in kubeconfig, on 127.0.0.1
<name>/kubeconfig     for kubectl
<name>/nodes/<node>/  spec.json, node.log, terwayd.log
<name>.failure        why a lab ended that had been up; the next up or down removes it
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from terway.lab.node.syscalls import unmount
from terway.lab.world.processes import read_record, record_of
from terway.model.errors import UsageError

ROOT = Path("/run/terway-lab")
_COMMAND_CHARACTERS = 60  # enough to know a process by
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPaths:
    """The files of one lab."""

    name: str
    root: Path = ROOT

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"lab name {self.name!r}: use up to 32 lower case letters, digits and dashes",
                field="name",
            )

    @property
    def folder(self) -> Path:
        """Return the lab's folder."""
        return self.root / self.name

    @property
    def pid_file(self) -> Path:
        """Return the file with the server's process record."""
        return self.folder / "lab.pid"

    @property
    def log(self) -> Path:
        """Return the server's log."""
        return self.folder / "lab.log"

    @property
    def failure(self) -> Path:
        """Return the file that outlives the lab when its process failed."""
        return self.root / f"{self.name}.failure"

    @property
    def control_socket(self) -> Path:
        """Return the socket of the command line."""
        return self.folder / "control.sock"

    @property
    def api_socket(self) -> Path:
        """Return the socket of the Kubernetes API."""
        return self.folder / "api.sock"

    @property
    def kubeconfig(self) -> Path:
        """Return the kubeconfig for the user's kubectl."""
        return self.folder / "kubeconfig"

    def node(self, name: str) -> Path:
        """Return the folder of a node."""
        return self.folder / "nodes" / name

    def make(self) -> None:
        """Make the folder, owned by this process. UsageError when the lab exists.

        It appears with the record of its owner inside: whoever sweeps must not take it for dead.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self.failure.unlink(missing_ok=True)
        owner = record_of(os.getpid())
        assert owner is not None, "this process runs"
        draft = self.root / f".{self.name}.{owner.pid}"
        draft.mkdir(mode=0o700)
        owner.write(draft / self.pid_file.name)
        try:
            draft.rename(self.folder)
        except OSError as error:
            shutil.rmtree(draft)
            raise UsageError(
                f"lab {self.name!r} exists; take another --name, or end it: "
                f"terway-lab down --name {self.name}",
                field="name",
            ) from error

    def remove(self) -> None:
        """Remove the folder and what is mounted in it, and the root of all labs when empty."""
        for mount in _mounts_below(self.folder):
            with suppress(OSError):  # went with its parent
                unmount(mount)
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # other labs are in it
            self.root.rmdir()

    def is_alive(self) -> bool:
        """Whether the lab's server runs."""
        record = read_record(self.pid_file)
        return record is not None and record.is_alive()


def leftovers(lab: LabPaths) -> list[str]:
    """Return what there still is of a lab that has ended: its folder, mounts and processes.

    Links and addresses are in the network namespaces of those processes, and go with them.
    """
    left = [f"folder {lab.folder}"] if lab.folder.exists() else []
    left += [f"mount {point}" for point in _mounts_below(lab.folder)]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # ended meanwhile
            words = entry.read_bytes()
            if f"{lab.folder}/".encode() in words:
                command = words.replace(b"\0", b" ").decode(errors="replace")[:_COMMAND_CHARACTERS]
                left.append(f"process {entry.parent.name} ({command.strip()})")
    return left


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]


def list_labs(root: Path = ROOT) -> Iterator[LabPaths]:
    """Yield the labs that have a folder, dead ones included."""
    if root.is_dir():
        for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
            if entry.is_dir() and _NAME.fullmatch(entry.name):
                yield LabPaths(name=entry.name, root=root)


def sweep(root: Path = ROOT) -> list[str]:
    """Remove what dead labs left and return their names.

    Their nodes died with them: the kernel ends a node's namespaces, mounts and processes with its
    init, and that with the server. What is left is a folder, and the mounts that a fabric made in
    the namespace of its caller.
    """
    dead = [lab for lab in list_labs(root) if not lab.is_alive()]
    for lab in dead:
        lab.remove()
    return [lab.name for lab in dead]
