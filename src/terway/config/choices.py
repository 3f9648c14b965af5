"""Which choices does eni-config offer? One Enum for each, with the words that users write."""

from __future__ import annotations

from enum import Enum


class VSwitchSelection(Enum):
    """`vswitch_selection_policy`. Each does what it says, unlike in the original."""

    RANDOM = "random"
    ORDERED = "ordered"
    MOST = "most"


class ENISelection(Enum):
    """`eni_selection_policy`: pack pods on few ENIs, or spread them."""

    MOST_IPS = "most_ips"
    LEAST_IPS = "least_ips"


class IPAMType(Enum):
    """`ipam_type`: who decides about a node's addresses."""

    NODE = ""
    DEFAULT = "default"  # the same
    CRD = "crd"
    PREFER_CRD = "preferCRD"


class VirtualType(Enum):
    """`eniip_virtual_type`: how pods get at a shared ENI."""

    VETH = "veth"
    DATAPATHV2 = "datapathv2"
    IPVLAN = "ipvlan"


class PolicyProvider(Enum):
    """`network_policy_provider`: by what NetworkPolicy is enforced."""

    IPTABLES = "iptables"
    EBPF = "ebpf"


class Denied(Enum):
    """`network_policy_denied`: what becomes of a packet that policies do not allow."""

    DROP = "drop"
    REJECT = "reject"


class ProxyReplacement(Enum):
    """`kube_proxy_replacement`: which services an eBPF data path leads to their endpoints."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class FlowLogging(Enum):
    """`flow_log`: which connections a node records though nobody follows."""

    OFF = "off"
    DENIED = "denied"
    ALL = "all"


class BandwidthMode(Enum):
    """`bandwidth_mode`: by what a pod's egress is held to its limit."""

    AUTO = ""
    EDT = "edt"
    TC = "tc"


class VLANStrip(Enum):
    """`vlan_strip_type`: who takes the tag off a trunk member's frames."""

    FILTER = "filter"
    VLAN = "vlan"


class Backend(Enum):
    """`symmetric_routing_config.backend`: what marks connections."""

    IPTABLES = "iptables"
    NFTABLES = "nftables"
