"""Where is what a command asks: files, sockets, endpoints of this node?

Everything is found as terwayd finds it: flags, then the environment, then terwayd's own environment
(on a node it runs as a pod, and a person's shell has none of its variables), then the defaults.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from terway.cloud.credentials import Credentials
from terway.cloud.metadata import BASE_URL
from terway.model.ids import NodeName

F = TypeVar("F", bound=Callable[..., Any])

_VARIABLES = (
    "NODE_NAME",
    "POD_NAMESPACE",
    "KUBECONFIG",
    "ECS_ENDPOINT",
    "VPC_ENDPOINT",
    "METADATA_ENDPOINT",
)
_KUBELET_CONF = Path("/etc/kubernetes/kubelet.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One node, seen from itself. Empty endpoints: the region's own."""

    root: Path
    node_name: NodeName
    namespace: str  # of the ConfigMap eni-config
    kubeconfig: Path | None
    ecs_endpoint: str
    vpc_endpoint: str
    metadata_url: str
    access_key: Credentials | None = None  # a person's own

    @property
    def config(self) -> Path:
        """Return the file eni_conf; the other keys of eni-config lie beside it."""
        return self.root / "etc/eni/eni_conf"

    @property
    def run_dir(self) -> Path:
        """Return the folder of terwayd's sockets."""
        return self.root / "var/run/eni"

    @property
    def debug_socket(self) -> Path:
        """Return the socket with health, metrics and state."""
        return self.run_dir / "eni_debug.socket"

    @property
    def last_error(self) -> Path:
        """Return the file that says why terwayd is down, if it ended by itself."""
        return self.run_dir / "last_error"

    @property
    def state_dir(self) -> Path:
        """Return the folder of the journal."""
        return self.root / "var/lib/cni/terway"

    @property
    def journal(self) -> Path:
        """Return the journal."""
        return self.state_dir / "terway.db"

    @property
    def pins(self) -> Path:
        """Return the folder with what outlives terwayd of a data path in eBPF."""
        return self.root / "sys/fs/bpf/terway"

    @property
    def plugin(self) -> Path:
        """Return the CNI plugin."""
        return self.root / "opt/cni/bin/terway"

    @property
    def conf_dir(self) -> Path:
        """Return the folder in which the container runtime looks for its network."""
        return self.root / "etc/cni/net.d"

    @property
    def addon_secret(self) -> Path:
        """Return the folder of a mounted access key."""
        return self.root / "var/alibaba-addon-secret"


def place_options(command: F) -> F:
    """Add to a command the options that say where the node is."""
    for option in (
        click.option("--kubeconfig", default="", help="Instead of KUBECONFIG, or the kubelet's."),
        click.option("--node-name", default="", help="Of the Node object; NODE_NAME by default."),
        click.option("--root", default="/", help="Where the host's file system begins."),
    ):
        command = option(command)
    return command


def find_place(*, root: str = "/", node_name: str = "", kubeconfig: str = "") -> Place:
    """Return the place of this node."""
    known = {**read_agent_environment(Path("/proc")), **os.environ}
    return place_of(known, root=Path(root), node_name=node_name, kubeconfig=kubeconfig)


def place_of(
    environ: Mapping[str, str], *, root: Path, node_name: str = "", kubeconfig: str = ""
) -> Place:
    """Return the place that an environment tells."""
    conf = kubeconfig or environ.get("KUBECONFIG", "")
    if not conf and _KUBELET_CONF.exists() and "KUBERNETES_SERVICE_HOST" not in environ:
        conf = str(_KUBELET_CONF)
    return Place(
        root=root,
        node_name=NodeName(node_name or environ.get("NODE_NAME") or os.uname().nodename),
        namespace=environ.get("POD_NAMESPACE") or "kube-system",
        kubeconfig=Path(conf) if conf else None,
        ecs_endpoint=environ.get("ECS_ENDPOINT", ""),
        vpc_endpoint=environ.get("VPC_ENDPOINT", ""),
        metadata_url=environ.get("METADATA_ENDPOINT") or BASE_URL,
        access_key=_access_key(environ),
    )


def _access_key(environ: Mapping[str, str]) -> Credentials | None:
    key_id = environ.get("ALIBABA_CLOUD_ACCESS_KEY_ID", "")
    if not key_id:
        return None
    return Credentials(
        access_key_id=key_id,
        access_key_secret=environ.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", ""),
        security_token=environ.get("ALIBABA_CLOUD_SECURITY_TOKEN", ""),
    )


def read_agent_environment(proc: Path) -> dict[str, str]:
    """Return the variables of a running terwayd that say where things are; empty without one."""
    for pid in find_agents(proc):
        found = _environment(proc, pid)
        if found:
            return found
    return {}


def find_agents(proc: Path) -> Iterator[int]:
    """Yield the processes that are terwayd of this node: in the network that we are in."""
    return (pid for pid in _terwayds(proc) if _is_here(proc, pid))


def find_guests(proc: Path) -> tuple[NodeName, ...]:
    """Return the nodes that run within this host, each in a network of its own, as a lab's do."""
    guests = (pid for pid in _terwayds(proc) if not _is_here(proc, pid))
    names = {_environment(proc, pid).get("NODE_NAME", "") for pid in guests}
    return tuple(map(NodeName, sorted(names - {""})))


def _environment(proc: Path, pid: int) -> dict[str, str]:
    try:
        lines = (proc / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}  # it has ended, or is not ours to read
    pairs = (line.decode(errors="replace").partition("=") for line in lines)
    return {name: value for name, _, value in pairs if name in _VARIABLES}


def _is_here(proc: Path, pid: int) -> bool:
    try:
        return (proc / str(pid) / "ns/net").readlink() == (proc / "self/ns/net").readlink()
    except OSError:
        return True  # it has ended, or is not ours to look at


def _terwayds(proc: Path) -> Iterator[int]:
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended
        if _is_terwayd(words):
            yield int(folder.name)


def _is_terwayd(words: list[bytes]) -> bool:
    heads = [word.rsplit(b"/", 1)[-1] for word in words[:2]]
    return b"terwayd" in heads or b"terway.agent.main" in words[:3]
