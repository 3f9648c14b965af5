"""PodENIs as the control plane writes them, of one pod: shop/web-0 with uid u-1."""

from __future__ import annotations

from typing import Any

import msgspec

from terway.agent.pool_ports import ManagedENI
from terway.cni.call import Add
from terway.cni.conf import parse_conf
from terway.ipam.values import ENIPhase
from terway.kube.crds import GROUP, POD_UID, PodENI
from terway.kube.types import ObjectMeta, Pod
from terway.model.attachment import AttachmentKey, PodRef
from terway.model.ids import ContainerId, ENIId
from tests.support.cni import ENI_MAC
from tests.support.kernel_node import VSWITCH

HERE = "i-1"
TRUNK = ManagedENI(
    id=ENIId("eni-trunk"),
    mac=ENI_MAC,
    phase=ENIPhase.IN_USE,
    vswitch_id=VSWITCH.id,
    vswitch=VSWITCH,
)


def allocation(number: int, **more: Any) -> dict[str, Any]:
    """One interface: ENI `eni-<number>` with the addresses of that number."""
    return {
        "eni": {"id": f"eni-{number}", "mac": f"00:16:3E:00:00:{number:02X}"},
        "ipv4": f"192.168.96.{number}",
        "ipv6": f"fd00:0:3::{number:x}",
        "ipv4CIDR": "192.168.96.0/19",
        "ipv6CIDR": "fd00:0:3::/64",
        **more,
    }


def podeni(*allocations: dict[str, Any], is_member: bool = True, **status: Any) -> dict[str, Any]:
    """A PodENI that is bound here, with `status` otherwise."""
    made = allocations or (allocation(31),)
    infos = {
        one["eni"]["id"]: {
            "id": one["eni"]["id"],
            "status": "Bind",
            **({"vid": number} if is_member else {}),
        }
        for number, one in enumerate(made, start=1)
    }
    trunk = {"trunkENIID": TRUNK.id} if is_member else {}
    bound = {"phase": "Bind", "instanceID": HERE, "eniInfos": infos, **trunk}
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "PodENI",
        "metadata": {"name": "web-0", "namespace": "shop", "annotations": {POD_UID: "u-1"}},
        "spec": {"allocations": list(made), "zone": "cn-hangzhou-i"},
        "status": {**bound, **status},
    }


def read(manifest: dict[str, Any]) -> PodENI:
    """Return what the agent makes of it."""
    return msgspec.convert(manifest, PodENI)


def pod(uid: str = "u-1", **annotations: str) -> Pod:
    """The pod, which has a PodENI."""
    said = {"k8s.aliyun.com/pod-eni": "true", **annotations}
    return Pod(metadata=ObjectMeta(name="web-0", namespace="shop", uid=uid, annotations=said))


def call(container: str = "c1") -> Add:
    """An ADD of the pod's eth0."""
    return Add(
        key=AttachmentKey(container_id=ContainerId(container), ifname="eth0"),
        netns="/run/netns/absent",
        pod=PodRef(namespace="shop", name="web-0", uid="u-1"),
        conf=parse_conf(b'{"cniVersion": "1.1.0", "name": "terway", "type": "terway"}'),
    )
