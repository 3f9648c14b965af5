"""Which ports of the node lead to which pod: the hostPorts of its pods, as the data path has them.

Taken from the pods themselves, so that a pod's ADD has no work with it, and pods that run before
terwayd have theirs. Where portmap is chained too, its rules lead to the same place, and see no
packet, for ours is translated before the node's stack gets it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from terway.agent.limits import PodChanges
from terway.agent.pods import IGNORE_LABEL
from terway.kube.types import ContainerPort, Pod
from terway.service.changes import SetHostPorts
from terway.service.values import HostPort, Protocol

_ENDED = ("Succeeded", "Failed")

Sink = Callable[[SetHostPorts], None]
AllPods = Callable[[], Awaitable[Iterable[Pod]]]


class PodPorts:
    """Follows the node's pods, and says what their hostPorts are whenever that changes."""

    def __init__(self, *, changes: PodChanges, sink: Sink) -> None:
        self._changes = changes
        self._sink = sink
        self._told: dict[str, tuple[HostPort, ...]] = {}

    async def fill(self, pods: AllPods) -> None:
        """Say what all pods have that there are: before anybody forgets what nobody has said."""
        for pod in await pods():
            self._follow(pod, host_ports_of(pod))

    async def run(self) -> None:
        """Follow the pods until cancelled."""
        with self._changes() as changes:
            async for change in changes:
                pod = change.new or change.old
                if pod is not None:
                    self._follow(pod, host_ports_of(pod) if change.new is not None else ())

    def _follow(self, pod: Pod, ports: tuple[HostPort, ...]) -> None:
        key = f"{pod.metadata.namespace}/{pod.metadata.name}"
        if self._told.get(key, ()) == ports:
            return
        if ports:
            self._told[key] = ports
        else:
            del self._told[key]
        self._sink(SetHostPorts(pod=key, ports=ports))


def host_ports_of(pod: Pod) -> tuple[HostPort, ...]:
    """Return the node's ports that lead to the pod; none as long as it has no address."""
    is_ours = not pod.spec.host_network and pod.metadata.labels.get(IGNORE_LABEL) != "true"
    if not is_ours or pod.status.phase in _ENDED:
        return ()
    asked = [port for container in pod.spec.containers for port in container.ports]
    addresses = [ip_address(one.ip) for one in pod.status.pod_ips]
    found = (one for port in asked for address in addresses for one in _leading(port, address))
    return tuple(found)


def _leading(port: ContainerPort, address: IPv4Address | IPv6Address) -> Iterator[HostPort]:
    """Yield what leads to an address of the pod: nothing where hostIP is of the other family."""
    at = ip_address(port.host_ip) if port.host_ip else None
    is_any = at is None or at.is_unspecified
    if not port.host_port or (at is not None and at.version != address.version):
        return
    yield HostPort(
        host_ip=b"" if is_any or at is None else at.packed,
        host_port=port.host_port,
        protocol=Protocol[port.protocol],
        address=address.packed,
        port=port.container_port,
    )
