"""Does a pod ask for a hostPort that nobody maps? Then its user is told; nothing else would say it.

Ports are mapped by a plugin with the capability portMappings, after ours: portmap. A runtime leaves
what no plugin of the chain is capable of out of its calls, without a word (CNI CONVENTIONS.md).
"""

from __future__ import annotations

from terway.agent.limits import PodChanges, Teller
from terway.agent.pods import IGNORE_LABEL
from terway.kube.types import Pod
from terway.model.attachment import PodRef

REASON = "HostPortWithoutEffect"


class HostPorts:
    """Looks at each pod once, beside its ADD, where no plugin of the chain maps ports."""

    def __init__(self, *, changes: PodChanges, teller: Teller) -> None:
        self._changes = changes
        self._teller = teller

    async def run(self) -> None:
        """Follow the pods until cancelled."""
        with self._changes() as changes:
            async for change in changes:
                if change.old is None and change.new is not None:
                    self._look(change.new)

    def _look(self, pod: Pod) -> None:
        if ports := unmapped_ports(pod):
            words = ", ".join(map(str, ports))
            text = (
                f"hostPort {words} has no effect: no plugin in eni-config has the capability "
                "portMappings; chain portmap after terway in 10-terway.conflist"
            )
            meta = pod.metadata
            ref = PodRef(namespace=meta.namespace, name=meta.name, uid=meta.uid)
            self._teller.tell_pod(ref, REASON, text)


def unmapped_ports(pod: Pod) -> tuple[int, ...]:
    """Return the node's ports that the pod asks of the network that we give it."""
    if pod.spec.host_network or pod.metadata.labels.get(IGNORE_LABEL) == "true":
        return ()
    ports = (port.host_port for container in pod.spec.containers for port in container.ports)
    return tuple(sorted({port for port in ports if port}))
