"""Upstream's custom resources as its own controllers and daemons write them, field by field.

From the description of upstream's API types (v1beta1 of network.alibabacloud.com, as of v1.17), and
of what its controllers `pod`, `pod-eni`, `eni`, `node`, `multi-ip-node` fill in. Values are the
caller's; what Go writes of an empty struct is here as Go writes it: {}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from terway.kube.client import KubeClient
from terway.kube.crds import (
    NETWORK_INTERFACES,
    NODE_RUNTIMES,
    POD_ENIS,
    POD_NETWORKINGS,
    POOL_NODES,
)
from terway.kube.resource import Resource

GROUP = "network.alibabacloud.com"
PREFIX = "k8s.aliyun.com/"
_RESOURCES: dict[str, Resource[Any]] = {
    one.kind: one
    for one in (POD_ENIS, POD_NETWORKINGS, NETWORK_INTERFACES, POOL_NODES, NODE_RUNTIMES)
}
_LASTING = ("name", "namespace", "labels", "annotations", "finalizers")

Object = dict[str, Any]


async def put(client: KubeClient, one: Mapping[str, Any]) -> None:
    """Create a resource with its status."""
    resource = _RESOURCES[one["kind"]].typed(dict[str, Any])
    made = await client.create(resource, one, namespace=one["metadata"].get("namespace"))
    if "status" in one:
        await client.update(resource, {**made, "status": one["status"]}, subresource="status")


async def read_all(client: KubeClient) -> dict[str, Object]:
    """Return all resources of upstream's kinds, without what the server counts."""
    found = {}
    for kind, resource in _RESOURCES.items():
        for one in (await client.list(resource.typed(dict[str, Any]))).items:
            meta = {name: held for name, held in one["metadata"].items() if name in _LASTING}
            found[f"{kind}/{meta['name']}"] = {**one, "metadata": meta}
    return found


def pod_networking(name: str, *, vswitch: str, group: str, app: str) -> Object:
    """Return a network with fixed addresses, of which upstream has found the vSwitch."""
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "PodNetworking",
        "metadata": {"name": name},
        "spec": {
            "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "30m0s"},
            "eniOptions": {"eniType": "Default"},
            "selector": {"podSelector": {"matchLabels": {"app": app}}},
            "securityGroupIDs": [group],
            "vSwitchOptions": [vswitch],
            "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "ordered"},
        },
        "status": {
            "status": "Ready",
            "vSwitches": [{"id": vswitch, "zone": "cn-hangzhou-i"}],
            "updateAt": "2026-01-01T00:00:00Z",
        },
    }


def member(eni: Mapping[str, Any], **more: Any) -> Object:
    """Return what both of an ENI's resources say of it; `eni` is as the cloud describes it."""
    return {
        "eni": {
            "id": eni["NetworkInterfaceId"],
            "vpcID": eni["VpcId"],
            "mac": eni["MacAddress"],
            "zone": eni["ZoneId"],
            "vSwitchID": eni["VSwitchId"],
            "securityGroupIDs": eni["SecurityGroupIds"]["SecurityGroupId"],
            "attachmentOptions": {"trunk": True},
        },
        "ipv4": eni["PrivateIpAddress"],
        "ipv4CIDR": "192.168.32.0/19",
        **more,
    }


def pod_eni(
    name: str, eni: Mapping[str, Any], *, uid: str, node: str, instance: str, trunk: str, vid: int
) -> Object:
    """Return the PodENI of a pod with a fixed address that runs as a member of `trunk`."""
    allocation = member(
        eni,
        allocationType={"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "30m0s"},
        interface="eth0",
    )
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "PodENI",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {f"{PREFIX}pod-uid": uid},
            "labels": {f"{PREFIX}node": node},
            "finalizers": [f"{GROUP}/pod-eni"],
        },
        "spec": {"allocations": [allocation], "zone": eni["ZoneId"]},
        "status": {
            "phase": "Bind",
            "instanceID": instance,
            "trunkENIID": trunk,
            "podLastSeen": "2026-01-01T00:00:00Z",
            "eniInfos": {eni["NetworkInterfaceId"]: _info(eni, vid)},
        },
    }


def network_interface(
    pod: Mapping[str, Any], eni: Mapping[str, Any], *, vid: int, **more: Any
) -> Object:
    """Return the NetworkInterface of the ENI of a PodENI."""
    status, metadata = pod["status"], pod["metadata"]
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "NetworkInterface",
        "metadata": {"name": eni["NetworkInterfaceId"], "finalizers": [f"{GROUP}/eni"]},
        "spec": member(
            eni,
            managePolicy={},
            podENIRef={
                "apiVersion": f"{GROUP}/v1beta1",
                "kind": "PodENI",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
            },
        ),
        "status": {
            "phase": "Bind",
            "eniInfo": _info(eni, vid),
            "instanceID": status["instanceID"],
            "trunkENIID": status["trunkENIID"],
            "nodeName": metadata["labels"][f"{PREFIX}node"],
            **more,
        },
    }


def _info(eni: Mapping[str, Any], vid: int) -> Object:
    return {"id": eni["NetworkInterfaceId"], "type": "Member", "vid": vid, "status": "Bind"}


def pool_node(
    name: str,
    enis: Iterable[Mapping[str, Any]],
    *,
    instance: str,
    held: Mapping[str, tuple[str, str]],
    cidr: str,
) -> Object:
    """Return the Node of a node of centralized IPAM; `held` is (podID, podUID) by address."""
    found = {one["NetworkInterfaceId"]: _pooled(one, held, cidr) for one in enis}
    first = next(iter(found.values()))
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"name": name, f"{PREFIX}exclusive-mode-eni-type": "default"},
            "finalizers": [f"{GROUP}/node-controller"],
        },
        "spec": {
            "nodeMetadata": {
                "regionID": "cn-hangzhou",
                "instanceType": "ecs.g7.xlarge",
                "instanceID": instance,
                "zoneID": "cn-hangzhou-i",
            },
            "nodeCap": {
                "adapters": 4,
                "totalAdapters": 14,
                "ipv4PerAdapter": 15,
                "ipv6PerAdapter": 15,
                "memberAdapterLimit": 10,
                "maxMemberAdapterLimit": 10,
            },
            "datapath": {"type": "veth"},
            "eni": {
                "vSwitchOptions": [first["vSwitchID"]],
                "securityGroupIDs": first["securityGroupIDs"],
                "enableIPv4": True,
                "vSwitchSelectPolicy": "random",
            },
            "pool": {"maxPoolSize": 5, "poolSyncPeriod": "120s"},
            "flavor": [
                {
                    "networkInterfaceType": "Secondary",
                    "networkInterfaceTrafficMode": "Standard",
                    "count": 3,
                }
            ],
        },
        "status": {
            "nextSyncOpenAPITime": "2026-01-01T12:00:00Z",
            "lastSyncOpenAPITime": "2026-01-01T00:00:00Z",
            "lastModifiedTime": "2026-01-01T00:00:00Z",
            "networkInterfaces": found,
        },
    }


def _pooled(eni: Mapping[str, Any], held: Mapping[str, tuple[str, str]], cidr: str) -> Object:
    sets = eni["PrivateIpSets"]["PrivateIpSet"]
    return {
        "id": eni["NetworkInterfaceId"],
        "status": "InUse",
        "macAddress": eni["MacAddress"],
        "vSwitchID": eni["VSwitchId"],
        "securityGroupIDs": eni["SecurityGroupIds"]["SecurityGroupId"],
        "primaryIPAddress": eni["PrivateIpAddress"],
        "networkInterfaceTrafficMode": "Standard",
        "networkInterfaceType": "Secondary",
        "ipv4CIDR": cidr,
        "ipv4": {one["PrivateIpAddress"]: _address(one, held) for one in sets},
    }


def _address(one: Mapping[str, Any], held: Mapping[str, tuple[str, str]]) -> Object:
    ip = one["PrivateIpAddress"]
    pod_id, pod_uid = held.get(ip, ("", ""))
    said = {"podID": pod_id, "podUID": pod_uid} if pod_id else {}
    return {"ip": ip, "primary": bool(one["Primary"]), "status": "Valid", **said}


def node_runtime(name: str, pods: Mapping[str, str]) -> Object:
    """Return what upstream's daemon says of its pods; `pods` are ids by uid."""
    moment = {"initial": {"lastUpdateTime": "2026-01-01T00:00:00Z"}}
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "NodeRuntime",
        "metadata": {"name": name, "labels": {"name": name}},
        "spec": {},
        "status": {"pods": {uid: {"podID": one, "status": moment} for uid, one in pods.items()}},
    }


POD_ENI_EXAMPLE = "PodENI/db-0"


def eni_of_cloud(eni_id: str, *numbers: int) -> Object:
    """Return an ENI as the cloud describes it; its first address is its primary one."""
    addresses = [f"192.168.32.{number}" for number in numbers]
    return {
        "NetworkInterfaceId": eni_id,
        "VpcId": "vpc-1",
        "MacAddress": "00:16:3e:00:00:01",
        "ZoneId": "cn-hangzhou-i",
        "VSwitchId": "vsw-1",
        "SecurityGroupIds": {"SecurityGroupId": ["sg-1"]},
        "PrivateIpAddress": addresses[0],
        "PrivateIpSets": {
            "PrivateIpSet": [
                {"PrivateIpAddress": one, "Primary": one == addresses[0]} for one in addresses
            ]
        },
    }


def examples(node: str = "node-1", *, is_central: bool = True) -> list[Object]:
    """Return one resource of each kind, of a node and a pod that there need not be.

    Without centralized IPAM upstream's daemons write nothing, and a Node says what it is only.
    """
    eni = eni_of_cloud("eni-example", 9, 10, 11)
    record = pod_eni("db-0", eni, uid="u-0", node=node, instance="i-1", trunk="eni-t", vid=1)
    held = {"192.168.32.10": ("default/web-0", "u-1")}
    central = pool_node(node, [eni], instance="i-1", held=held, cidr="192.168.32.0/19")
    facts = {name: central["spec"][name] for name in ("nodeMetadata", "nodeCap")}
    plain = {name: one for name, one in {**central, "spec": facts}.items() if name != "status"}
    return [
        record,
        network_interface(record, eni, vid=1),
        pod_networking("fixed", vswitch="vsw-1", group="sg-1", app="fixed"),
        *([central, node_runtime(node, {"u-1": "default/web-0"})] if is_central else [plain]),
    ]
