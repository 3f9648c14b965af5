"""How is a record of upstream Terway's journal read, and written?

ResRelation.db  bucket "relation"  "<namespace>/<pod>" ─► PodResources: JSON, and in it as a string
                                                          NetConf: a list, one for each interface
pod.db          bucket "pods"      what upstream remembers of a pod that the API has forgotten

Of ENIs that come by a PodENI, `Resources` is empty and NetConf alone says what there is. Records of
versions before 1.9 have no NetConf. By pod.db upstream answers the DEL of a pod whose object has
gone already; one that is not in it is refused by GetIPInfo, again and again. Source: upstream
Terway, daemon/daemon.go, types/daemon/res.go, rpc/rpc.proto, pkg/k8s/k8s.go (GetPod, storageItem).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import msgspec

from terway.model.address import Family, IPNetwork, IPPair, family_of
from terway.model.attachment import PodRef
from terway.model.errors import UsageError
from terway.model.ids import ContainerId, ENIId, MacAddress
from terway.model.interface import Bandwidth, NetworkPriority
from terway.model.upstream import UpstreamInterface, UpstreamPod, UpstreamType
from terway.store.bbolt import read_bucket
from terway.store.bbolt_write import write_buckets

RELATIONS = "ResRelation.db"
PODS = "pod.db"
BUCKET, POD_BUCKET = b"relation", b"pods"
_ENI, _ENI_IP = "eni", "eniIp"
_PRIORITIES = frozenset(one.value for one in NetworkPriority)


class _Item(msgspec.Struct, frozen=True):
    type: str = ""
    id: str = ""
    eni_id: str = ""
    eni_mac: str = ""
    ipv4: str = ""
    ipv6: str = ""


class _IPs(msgspec.Struct, frozen=True):
    v4: str = msgspec.field(name="IPv4", default="")
    v6: str = msgspec.field(name="IPv6", default="")


class _Basic(msgspec.Struct, frozen=True, omit_defaults=True):
    ips: _IPs | None = msgspec.field(name="PodIP", default=None)
    ranges: _IPs | None = msgspec.field(name="PodCIDR", default=None)
    gateways: _IPs | None = msgspec.field(name="GatewayIP", default=None)
    services: _IPs | None = msgspec.field(name="ServiceCIDR", default=None)


class _Eni(msgspec.Struct, frozen=True, omit_defaults=True):
    mac: str = msgspec.field(name="MAC", default="")
    is_trunk: bool = msgspec.field(name="Trunk", default=False)
    vlan_id: int = msgspec.field(name="Vid", default=0)
    gateways: _IPs | None = msgspec.field(name="GatewayIP", default=None)
    is_erdma: bool = msgspec.field(name="ERDMA", default=False)


class _Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    ingress: int = msgspec.field(name="Ingress", default=0)
    egress: int = msgspec.field(name="Egress", default=0)
    priority: str = msgspec.field(name="NetworkPriority", default="")


class _Route(msgspec.Struct, frozen=True):
    dst: str = msgspec.field(name="Dst", default="")


class _Conf(msgspec.Struct, frozen=True, omit_defaults=True):
    basic: _Basic | None = msgspec.field(name="BasicInfo", default=None)
    eni: _Eni | None = msgspec.field(name="ENIInfo", default=None)
    limits: _Limits | None = msgspec.field(name="Pod", default=None)
    ifname: str = msgspec.field(name="IfName", default="")
    routes: tuple[_Route, ...] | None = msgspec.field(name="ExtraRoutes", default=None)
    is_default: bool = msgspec.field(name="DefaultRoute", default=False)


class _Pod(msgspec.Struct, frozen=True, rename="pascal"):
    name: str = ""
    namespace: str = ""
    tc_ingress: int = 0
    tc_egress: int = 0
    pod_network_type: str = ""
    pod_ip: str = msgspec.field(name="PodIP", default="")
    pod_ips: _IPs = msgspec.field(name="PodIPs", default=_IPs())
    has_pod_eni: bool = msgspec.field(name="PodENI", default=False)
    uid: str = msgspec.field(name="PodUID", default="")
    network_priority: str = ""


class _Record(msgspec.Struct, frozen=True):
    items: tuple[_Item, ...] | None = msgspec.field(name="Resources", default=None)
    pod: _Pod | None = msgspec.field(name="PodInfo", default=None)
    netns: str | None = msgspec.field(name="NetNs", default=None)
    container_id: str | None = msgspec.field(name="ContainerID", default=None)
    conf: str = msgspec.field(name="NetConf", default="")


def read_relations(path: Path) -> dict[str, bytes]:
    """Return the records of upstream's journal by pod; empty where there is no such file.

    Raises UsageError when the file is there and is none.
    """
    if not path.is_file():
        return {}
    return {key.decode(errors="replace"): value for key, value in read_bucket(path, BUCKET).items()}


def write_relations(path: Path, records: Mapping[str, bytes]) -> None:
    """Make `path` upstream's journal with these records. Nobody may have it open."""
    write_buckets(path, {BUCKET: {key.encode(): value for key, value in records.items()}})


class _Remembered(msgspec.Struct, frozen=True):
    pod: _Pod = msgspec.field(name="Pod", default=_Pod())


def read_pods(path: Path) -> dict[str, str]:
    """Return the uids of the pods that upstream remembers, by name; empty without such a file.

    Raises UsageError when the file is there and is none.
    """
    held = read_bucket(path, POD_BUCKET) if path.is_file() else {}
    try:
        return {
            key.decode(errors="replace"): msgspec.json.decode(value, type=_Remembered).pod.uid
            for key, value in held.items()
        }
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: {error}", field=PODS) from error


def write_pods(path: Path, pods: Iterable[UpstreamPod]) -> None:
    """Make `path` what upstream remembers of these pods. Nobody may have it open.

    Without the five minutes for which it keeps addresses of a StatefulSet's pods: it asks the API
    for each pod that is still there, and writes that again.
    """
    said = {
        str(one.pod).encode(): msgspec.json.encode(_Remembered(pod=_pod_info(one))) for one in pods
    }
    write_buckets(path, {POD_BUCKET: said})


def parse_record(key: str, value: bytes) -> UpstreamPod:
    """Return what a record says. Raises UsageError, with the pod, for one that is none."""
    try:
        record = msgspec.json.decode(value, type=_Record)
        confs = msgspec.json.decode(record.conf, type=tuple[_Conf, ...]) if record.conf else ()
        return _pod_of(key, record, confs)
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{RELATIONS}: the record of {key}: {error}", field=key) from error


def _pod_of(key: str, record: _Record, confs: tuple[_Conf, ...]) -> UpstreamPod:
    namespace, _, name = key.partition("/")
    pod = record.pod or _Pod()
    items = tuple(one for one in record.items or () if one.type in (_ENI, _ENI_IP))
    interfaces = tuple(_by_conf(one, items) for one in confs) or tuple(map(_by_item, items))
    return UpstreamPod(
        pod=PodRef(namespace=namespace, name=name, uid=pod.uid),
        type=UpstreamType(pod.pod_network_type or UpstreamType.ENI_MULTI_IP.value),
        container_id=ContainerId(record.container_id or ""),
        netns=record.netns or "",
        has_pod_eni=pod.has_pod_eni or not items,
        interfaces=interfaces,
    )


def _by_conf(conf: _Conf, items: tuple[_Item, ...]) -> UpstreamInterface:
    basic, eni, limits = conf.basic or _Basic(), conf.eni or _Eni(), conf.limits or _Limits()
    addresses = _pair(basic.ips)
    item = next((one for one in items if _pair(_IPs(one.ipv4, one.ipv6)) == addresses), _Item())
    return UpstreamInterface(
        ifname=conf.ifname or "eth0",
        device_mac=MacAddress(eni.mac.lower()),
        addresses=addresses,
        eni_id=ENIId(item.eni_id),
        gateways=_pair(basic.gateways),
        ranges=_ranges(basic.ranges),
        vlan_id=eni.vlan_id if eni.is_trunk else 0,
        bandwidth=Bandwidth(ingress=limits.ingress or None, egress=limits.egress or None),
        priority=NetworkPriority(limits.priority) if limits.priority in _PRIORITIES else None,
        has_default_route=conf.is_default,
        routes=tuple(ip_network(one.dst, strict=False) for one in conf.routes or ()),
        is_erdma=eni.is_erdma,
    )


def _by_item(item: _Item) -> UpstreamInterface:
    """Return the interface of an old record: its id is "<mac>.<ip>", or the MAC alone."""
    mac, _, address = item.id.partition(".")
    ips = _IPs(item.ipv4 or address, item.ipv6)
    return UpstreamInterface(
        ifname="eth0",
        device_mac=MacAddress((item.eni_mac or mac).lower()),
        addresses=_pair(ips),
        eni_id=ENIId(item.eni_id),
    )


def _pair(ips: _IPs | None) -> IPPair:
    found = ips or _IPs()
    return IPPair(
        v4=IPv4Address(found.v4) if found.v4 else None,
        v6=IPv6Address(found.v6) if found.v6 else None,
    )


def _ranges(ips: _IPs | None) -> tuple[IPNetwork, ...]:
    found = ips or _IPs()
    return tuple(ip_network(one, strict=False) for one in (found.v4, found.v6) if one)


def record_of(pod: UpstreamPod, *, service_ranges: Iterable[IPNetwork] = ()) -> bytes:
    """Return the record that upstream would have written of `pod`."""
    services = _texts(service_ranges)
    record = _Record(
        items=() if pod.has_pod_eni else tuple(map(_item, pod.interfaces)),
        pod=_pod_info(pod),
        netns=pod.netns,
        container_id=pod.container_id,
        conf=msgspec.json.encode([_conf(one, services) for one in pod.interfaces]).decode(),
    )
    return msgspec.json.encode(record)


def _pod_info(pod: UpstreamPod) -> _Pod:
    first = pod.interfaces[0]
    ips = _ips(first.addresses)
    return _Pod(
        name=pod.pod.name,
        namespace=pod.pod.namespace,
        tc_ingress=first.bandwidth.ingress or 0,
        tc_egress=first.bandwidth.egress or 0,
        pod_network_type=pod.type.value,
        pod_ip=ips.v4 or ips.v6,
        pod_ips=ips,
        has_pod_eni=pod.has_pod_eni,
        uid=pod.pod.uid,
        network_priority="" if first.priority is None else first.priority.value,
    )


def _item(one: UpstreamInterface) -> _Item:
    ips = _ips(one.addresses)
    both = ",".join(text for text in (ips.v4, ips.v6) if text)
    return _Item(
        type=_ENI_IP,
        id=f"{one.device_mac}.{both}",
        eni_id=one.eni_id,
        eni_mac=one.device_mac,
        ipv4=ips.v4,
        ipv6=ips.v6,
    )


def _conf(one: UpstreamInterface, services: _IPs) -> _Conf:
    gateways = _ips(one.gateways)
    return _Conf(
        basic=_Basic(
            ips=_ips(one.addresses),
            ranges=_texts(one.ranges),
            gateways=gateways,
            services=services,
        ),
        eni=_Eni(
            mac=one.device_mac,
            is_trunk=bool(one.vlan_id),
            vlan_id=one.vlan_id,
            gateways=gateways,
            is_erdma=one.is_erdma,
        ),
        limits=_Limits(
            ingress=one.bandwidth.ingress or 0,
            egress=one.bandwidth.egress or 0,
            priority="" if one.priority is None else one.priority.value,
        ),
        ifname=one.ifname,
        routes=tuple(_Route(str(route)) for route in one.routes) or None,
        is_default=one.has_default_route,
    )


def _ips(pair: IPPair) -> _IPs:
    return _IPs(*(str(one) if one is not None else "" for one in (pair.v4, pair.v6)))


def _texts(ranges: Iterable[IPNetwork]) -> _IPs:
    found = {family_of(one): str(one) for one in ranges}
    return _IPs(found.get(Family.V4, ""), found.get(Family.V6, ""))
