"""Which pods have a PodENI, and which interfaces does it make for them?

The types of the custom resources are 1.3 MB of a terwayd, and most nodes never meet one: they are
imported when the first such pod comes.
"""

from __future__ import annotations

from collections.abc import Callable

from terway.agent.interfaces import Interface, InterfacePolicy
from terway.agent.podeni_wait import PATIENCE_S, wait_for
from terway.agent.pool_ports import ManagedENI
from terway.cni.call import Add
from terway.config.requested_networks import asks_for_eni
from terway.kube.client import KubeClient
from terway.kube.types import Pod
from terway.model.attachment import PodRef
from terway.model.ids import ENIId, InstanceId


class PodENIs:
    """The PodENIs of the cluster, as far as pods of this node have them.

    `is_for_all` says that every pod of the node has one: its pods have whole ENIs, which the
    control plane gives. `is_central`: so are networks that pods list. `eni` finds one of the
    node's own ENIs.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        instance_id: InstanceId,
        eni: Callable[[ENIId], ManagedENI | None],
        is_for_all: bool = False,
        is_central: bool = False,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._client = client
        self._instance_id = instance_id
        self._eni = eni
        self._is_for_all = is_for_all
        self._is_central = is_central
        self._patience_s = patience_s

    def has_one(self, pod: Pod | None) -> bool:
        """Return whether the pod's interfaces are said by a PodENI."""
        if pod is None:
            return False
        asked = asks_for_eni(pod.metadata.annotations, is_central=self._is_central)
        return self._is_for_all or asked is True

    async def interfaces(
        self, call: Add, pod: Pod, policy: InterfacePolicy
    ) -> tuple[Interface, ...]:
        """Return the interfaces of the pod, with their leases, waiting for its PodENI.

        Raises TransientError with what is missing, UsageError for what the node cannot make.
        """
        from terway.agent import podeni  # late: see above
        from terway.kube.crds import POD_ENIS

        ref = PodRef(namespace=pod.metadata.namespace, name=pod.metadata.name)
        found = await wait_for(
            self._client,
            POD_ENIS,
            ref,
            lambda one: podeni.missing_of(one, pod),
            patience_s=self._patience_s,
        )
        here = podeni.Here(instance_id=self._instance_id, eni=self._eni)
        return podeni.interfaces_of_podeni(call, pod, found, policy, here)
