"""Which member ENI is an interface of upstream? Its journal does not say; the pod's PodENI does."""

from __future__ import annotations

from terway.datapath.takeover import OwnerENI
from terway.kube.client import KubeClient
from terway.model.attachment import PodRef
from terway.model.ids import ENIId, MacAddress
from terway.model.upstream import UpstreamInterface


class Members:
    """Members by the PodENIs of the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def member(self, ref: PodRef, interface: UpstreamInterface) -> OwnerENI | None:
        """Return the member that an interface is, None where no PodENI has its address."""
        from terway.kube.crds import POD_ENIS  # late: most nodes never meet one

        found = await self._client.get(POD_ENIS, ref.name, namespace=ref.namespace)
        texts = {str(one) for one in interface.addresses}
        for one in () if found is None else found.spec.allocations:
            if texts & {one.ipv4, one.ipv6}:
                return OwnerENI(
                    id=ENIId(one.eni.id),
                    mac=MacAddress(one.eni.mac.lower()),
                    gateways=interface.gateways,
                )
        return None
