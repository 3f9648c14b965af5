"""What must be on a node before terwayd: ``terwayd --prepare``, the init step of the DaemonSet.

Each step may be repeated, and none of them touches a pod. The configuration is read first: what
cannot be right is told before anything is changed. The file that makes the kubelet call the node
ready is not written here but by a terwayd that serves.

Sources: what of the host's own would configure an ENI behind our back, upstream's hack/init.sh;
modules, docs/datapath.md.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from terway.agent.install import install_plugin
from terway.agent.options import Options
from terway.config.agent_config import FILES, parse_agent_config
from terway.linux.ebpf.pins import ensure_bpffs
from terway.model.errors import UsageError

# What of the host configures a network card as soon as it is plugged in, as an ENI is.
_UDEV_RULES = ("75-persistent-net-generator.rules", "60-net.rules", "61-eni.rules")
_UNITS = ("eni.service",)
# Modules that a kernel may have outside of itself; one that it has inside is no module.
_MODULES = ("sch_htb", "sch_ingress", "cls_bpf", "veth", "ipvlan", "8021q", "nf_tables")
_NOTHING = Path("/dev/null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """How the host is reached. `run` returns the exit status of a command."""

    root: Path
    run: Callable[[tuple[str, ...]], int]


def prepare(options: Options, host: Host) -> Iterator[str]:
    """Prepare the node, and yield what was done. Raises ConfigError and UsageError."""
    _check(options.paths.config.parent)
    for folder, names in (("etc/udev/rules.d", _UDEV_RULES), ("etc/systemd/system", _UNITS)):
        yield from _mask(host.root / folder, names)
    for module in _MODULES:
        if host.run(("modprobe", "-q", module)) == 0:
            yield f"module {module} is there"
    ensure_bpffs(host.root / "sys/fs/bpf")
    if install_plugin(options.paths.cni_bin_dir):
        yield f"installed the plugin in {options.paths.cni_bin_dir}"


def run_on_host(words: tuple[str, ...]) -> int:
    """Run a command of this machine; 127 where there is no such command, as in a shell."""
    try:
        return subprocess.run(words, check=False, capture_output=True).returncode
    except FileNotFoundError:
        return 127


def _check(folder: Path) -> None:
    parse_agent_config({name: _read(folder / name) for name in FILES if (folder / name).is_file()})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: mount eni-config", field="config") from error


def _mask(folder: Path, names: tuple[str, ...]) -> Iterator[str]:
    """Put nothing in the place of files that the host's own would be read for."""
    if not folder.parent.is_dir():
        return  # the host has no such daemon
    folder.mkdir(exist_ok=True)
    for name in names:
        path = folder / name
        if path.is_symlink() and path.readlink() == _NOTHING:
            continue
        path.unlink(missing_ok=True)
        path.symlink_to(_NOTHING)
        yield f"masked {path}"
