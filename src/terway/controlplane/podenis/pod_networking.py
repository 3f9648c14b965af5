"""Controller `pod-networking`: where are the vSwitches of each PodNetworking, has it its groups?

Pods can have it once all of them were found: then it is Ready. Without the right to look for
security groups they are not looked for, and its message says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from terway.controlplane.controller import DONE, Informers, Outcome, Watch, own_key
from terway.controlplane.podenis.security_groups import SecurityGroups
from terway.controlplane.podenis.telling import Teller
from terway.controlplane.podenis.vswitches import VSwitches
from terway.controlplane.ports import KubePort
from terway.kube.clock import format_time
from terway.kube.crds import POD_NETWORKINGS, PodNetworking
from terway.kube.resource import ObjectKey
from terway.model.errors import ConflictError, VpcError
from terway.model.ids import SecurityGroupId, VSwitchId

READY, FAIL = "Ready", "Fail"
_AGAIN_S = 30.0
_ANNOUNCED_S = 0.1  # the webhook's part of this process is on its way to the API server


class PodNetworkingController:
    """Controls PodNetworkings. `clock` is seconds since the epoch.

    `is_announced` says whether the API server asks about the pods that one selects.
    """

    name = "pod-networking"

    def __init__(
        self,
        client: KubePort,
        informers: Informers,
        vswitches: VSwitches,
        groups: SecurityGroups,
        teller: Teller,
        *,
        clock: Callable[[], float],
        is_announced: Callable[[str], bool] = lambda name: True,
        concurrency: int = 5,
    ) -> None:
        self.concurrency = concurrency
        self._client = client
        self._vswitches = vswitches
        self._groups = groups
        self._teller = teller
        self._clock = clock
        self._is_announced = is_announced
        self._networkings = informers.of(POD_NETWORKINGS)
        self.watches: tuple[Watch, ...] = (Watch(resource=POD_NETWORKINGS, keys_of=own_key),)

    async def reconcile(self, key: ObjectKey) -> Outcome:
        """Look its vSwitches and security groups up, and say so."""
        found: PodNetworking | None = self._networkings.objects.get(key)
        if found is None or found.metadata.deletion_timestamp is not None:
            return DONE
        wanted = tuple(map(VSwitchId, found.spec.vswitch_options))
        try:
            known = await self._vswitches.supplies(wanted)
        except VpcError as error:
            await self._fail(found, str(error))
            raise
        missing = [one for one in wanted if one not in known]
        if missing or not wanted:
            rule = f"{', '.join(missing)}: no such vSwitch" if missing else "names no vSwitch"
            await self._fail(found, f"spec.vSwitchOptions: {rule}")
            return Outcome(again_in_s=_AGAIN_S)
        looked = await self._groups.look(tuple(map(SecurityGroupId, found.spec.security_group_ids)))
        if looked.missing:
            rule = f"{', '.join(looked.missing)}: no such security group"
            await self._fail(found, f"spec.securityGroupIDs: {rule}")
            return Outcome(again_in_s=_AGAIN_S)
        if not self._is_announced(found.metadata.name):
            return Outcome(again_in_s=_ANNOUNCED_S)
        zones = [{"id": one, "zone": known[one].vswitch.zone_id} for one in wanted]
        unsaid = f"security groups were not looked for: {looked.unchecked}"
        message = unsaid if looked.unchecked else ""
        await self._write(found, {"status": READY, "vSwitches": zones, "message": message})
        return DONE

    async def _fail(self, found: PodNetworking, text: str) -> None:
        await self._write(found, {"status": FAIL, "message": text})

    async def _write(self, found: PodNetworking, status: dict[str, Any]) -> None:
        """Write the status if it says anything new."""
        old = found.status
        listed = [{"id": one.id, "zone": one.zone} for one in old.vswitches]
        held = {"status": old.status, "message": old.message, "vSwitches": listed}
        if all(held[name] == value for name, value in status.items()):
            return
        stamped = {**status, "updateAt": format_time(self._clock())}
        try:
            await self._client.patch(
                POD_NETWORKINGS, found.metadata.name, {"status": stamped}, subresource="status"
            )
        except ConflictError as error:
            if error.code != "NotFound":
                raise
            return
        is_ready = status["status"] == READY
        all_found = "all vSwitches and security groups were found"
        text = all_found if is_ready and not status["message"] else status["message"]
        self._teller.networking(found, is_ready=is_ready, text=text)
