"""How kernel objects of ours are named and numbered.

Tables, priorities, gateways and link names are those of upstream Terway (pkg/link/veth.go,
plugin/datapath): tools and people on the node know them.
"""

from __future__ import annotations

from hashlib import sha1, sha256
from ipaddress import IPv4Address, IPv6Address

from terway.model.address import Family, IPAddress
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.ids import ContainerId, MacAddress

TO_POD_PRIORITY = 512
FROM_POD_PRIORITY = 2048
IN_POD_PRIORITY = 512  # in the namespace of a pod with several interfaces

HOST_LINK_PREFIX = "cali"
HOST_CHILD_PREFIX = "ipvl_"
OWNER_PREFIX = "terway "

_FIRST_TABLE = 1000
_LINK_LOCAL_GATEWAYS: dict[Family, IPAddress] = {
    Family.V4: IPv4Address("169.254.1.1"),
    Family.V6: IPv6Address("fe80::1"),
}


def link_local_gateway(family: Family) -> IPAddress:
    """Return every pod's gateway: an address nobody has, behind a permanent neighbour entry."""
    return _LINK_LOCAL_GATEWAYS[family]


def table_of(ifindex: int) -> int:
    """Return the routing table of an ENI."""
    return _FIRST_TABLE + ifindex


def is_eni_table(table: int) -> bool:
    """Return whether `table` can be the table of an ENI."""
    return table > _FIRST_TABLE


def host_link_name(key: AttachmentKey, pod: PodRef | None) -> str:
    """Return the name of the host end: ``cali`` and 11 hex digits, 15 bytes in all.

    For a pod as upstream has it, so that a later sandbox of the pod has the same name. A container
    that Kubernetes does not know is named by its id.
    """
    owner = key.container_id if pod is None else f"{pod.namespace}.{pod.name}"
    suffix = "" if key.ifname == "eth0" else key.ifname
    digest = sha1(f"{owner}{suffix}".encode(), usedforsecurity=False).hexdigest()
    return HOST_LINK_PREFIX + digest[:11]


def host_child_name(eni_ifindex: int) -> str:
    """Return the name of the node's own ipvlan child of an ENI."""
    return f"{HOST_CHILD_PREFIX}{eni_ifindex}"


def alias_of(key: AttachmentKey) -> str:
    """Return the alias of the host end: whose it is. Two sandboxes of one pod differ in it."""
    return f"{OWNER_PREFIX}{key}"


def key_of(alias: str) -> AttachmentKey | None:
    """Return whose a link with this alias is; None where it is no attachment's."""
    owner, separator, ifname = alias.removeprefix(OWNER_PREFIX).rpartition("/")
    if not alias.startswith(OWNER_PREFIX) or not separator:
        return None
    return AttachmentKey(container_id=ContainerId(owner), ifname=ifname)


def host_mac(key: AttachmentKey) -> MacAddress:
    """Return the MAC of the host end."""
    return _mac_of(f"host {key}")


def pod_mac(key: AttachmentKey) -> MacAddress:
    """Return the MAC of the pod's end. Known beforehand, so that neighbours can be planned."""
    return _mac_of(f"pod {key}")


def host_mac_of(attachment: Attachment) -> MacAddress:
    """Return the MAC of an attachment's host end, whoever made it."""
    macs = attachment.spec.macs
    return host_mac(attachment.key) if macs is None else macs.host


def pod_mac_of(attachment: Attachment) -> MacAddress:
    """Return the MAC of an attachment's end in the pod, whoever made it."""
    macs = attachment.spec.macs
    return pod_mac(attachment.key) if macs is None else macs.pod


def _mac_of(seed: str) -> MacAddress:
    # A MAC that is set explicitly is left alone by udev (MACAddressPolicy=persistent touches
    # random ones only). Bit 1 of the first byte: locally administered; bit 0 clear: unicast.
    first, *rest = sha256(seed.encode()).digest()[:6]
    return MacAddress(bytes((first & 0xFC | 0x02, *rest)).hex(":"))
