"""What do the containers of a pod share? A sandbox: namespaces, and an attachment to the network.

As containerd's: one sandbox id is one CNI container id, the network namespace lies at
/var/run/netns/cni-<uuid>, and DEL comes before the namespace goes.
"""

from __future__ import annotations

import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terway.lab.kubelet.network import Attach, CniNetwork
from terway.lab.kubelet.podspec import Pod
from terway.lab.kubelet.quantity import parse_quantity
from terway.lab.node.client import SpawnerClient, pin_path
from terway.lab.node.syscalls import unmount
from terway.model.errors import UsageError, VpcError

_KINDS = ("net", "uts", "ipc")
_IFNAME = "eth0"  # what every runtime asks CNI for
_INGRESS = "kubernetes.io/ingress-bandwidth"
_EGRESS = "kubernetes.io/egress-bandwidth"
_BURST_BITS = 2**31 - 1  # what containerd asks for: as much as the field holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A pod's sandbox. A host-network pod has no namespaces of its own: `name` is empty."""

    id: str
    name: str = ""
    pod_ips: tuple[str, ...] = ()

    def path(self, kind: str) -> str:
        """Return the file of a namespace, empty for the node's own."""
        return pin_path(kind, self.name) if self.name else ""


class SandboxMaker:
    """Makes and removes sandboxes on this node."""

    def __init__(
        self, spawner: SpawnerClient, network: CniNetwork, *, host_ips: tuple[str, ...]
    ) -> None:
        self._spawner = spawner
        self._network = network
        self._host_ips = host_ips
        self._live: set[str] = set()

    def attachments(self) -> set[tuple[str, str]]:
        """Return (container id, ifname) of every sandbox there is, or is about to be."""
        return {(sandbox_id, _IFNAME) for sandbox_id in self._live}

    async def make(self, pod: Pod, *, hostname: str) -> Sandbox:
        """Make a sandbox with an address. After an error nothing is left of it."""
        sandbox_id = secrets.token_hex(32)
        if pod.spec.host_network:
            return Sandbox(id=sandbox_id, pod_ips=self._host_ips)
        sandbox = Sandbox(id=sandbox_id, name=f"cni-{uuid.uuid4()}")
        self._live.add(sandbox_id)
        attach = Attach(
            container_id=sandbox_id,
            netns=sandbox.path("net"),
            args=_cni_args(pod, sandbox_id),
            runtime=runtime_config(pod),
        )
        paths = {kind: sandbox.path(kind) for kind in _KINDS}
        try:
            await self._spawner.make_sandbox(**paths, hostname=hostname)
            result = await self._network.add(attach)
        except BaseException:
            with suppress(VpcError):
                await self.remove(sandbox)
            self._drop(sandbox)
            raise
        return Sandbox(id=sandbox_id, name=sandbox.name, pod_ips=pod_addresses(result))

    async def remove(self, sandbox: Sandbox) -> None:
        """Give the address back, then drop the namespaces. Repeat it after an error."""
        if sandbox.name:
            await self._network.delete(sandbox.id, sandbox.path("net"))
            self._drop(sandbox)

    def _drop(self, sandbox: Sandbox) -> None:
        self._live.discard(sandbox.id)
        _unpin(sandbox)


def runtime_config(pod: Pod) -> dict[str, Any]:
    """Return the capability arguments that the pod asks for: portMappings and bandwidth.

    Source: CNI CONVENTIONS.md; annotations as containerd reads them.
    """
    asked: dict[str, Any] = {}
    mappings = [
        {
            "hostPort": port.host_port,
            "containerPort": port.container_port,
            "protocol": port.protocol.lower(),
            **({"hostIP": port.host_ip} if port.host_ip else {}),
        }
        for container in pod.spec.containers
        for port in container.ports
        if port.host_port
    ]
    if mappings:
        asked["portMappings"] = mappings
    bandwidth: dict[str, int] = {}
    for annotation, name in ((_INGRESS, "ingress"), (_EGRESS, "egress")):
        if text := pod.metadata.annotations.get(annotation):
            bandwidth[f"{name}Rate"] = _bits(pod, annotation, text)
            bandwidth[f"{name}Burst"] = _BURST_BITS
    if bandwidth:
        asked["bandwidth"] = bandwidth
    return asked


def _bits(pod: Pod, annotation: str, text: str) -> int:
    try:
        return int(parse_quantity(text))
    except UsageError as error:
        meta = pod.metadata
        path = f"pods/{meta.namespace}/{meta.name}/annotations/{annotation}"
        raise UsageError(f"{path}: {error}", field=path) from error


def pod_addresses(result: dict[str, Any]) -> tuple[str, ...]:
    """Return the pod's addresses in a CNI result: one a family, of eth0 alone.

    Of other interfaces beside it Kubernetes never hears: containerd takes the addresses of eth0,
    and kubelet tells the first of each family. Source: containerd's
    internal/cri/server/sandbox_run.go (selectPodIPs), kubelet's sortPodIPs.
    """
    interfaces = result.get("interfaces") or []
    found: dict[bool, str] = {}
    for entry in result.get("ips") or []:
        index = entry.get("interface")
        if index is None or _is_asked_for(interfaces[index]):
            address = entry["address"].partition("/")[0]
            found.setdefault(":" in address, address)
    return tuple(found.values())


def _is_asked_for(interface: dict[str, Any]) -> bool:
    return bool(interface.get("sandbox")) and interface.get("name") == _IFNAME


def _cni_args(pod: Pod, sandbox_id: str) -> dict[str, str]:
    meta = pod.metadata
    return {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": meta.namespace,
        "K8S_POD_NAME": meta.name,
        "K8S_POD_INFRA_CONTAINER_ID": sandbox_id,
        "K8S_POD_UID": meta.uid,
    }


def _unpin(sandbox: Sandbox) -> None:
    for kind in _KINDS:
        path = Path(sandbox.path(kind))
        if path.exists():
            with suppress(OSError):
                unmount(str(path))
            path.unlink()
