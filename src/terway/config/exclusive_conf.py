"""What does the container runtime get on a node whose pods have an ENI each?

Of the user's chain our own plugin alone: what others do to a veth does not fit a whole ENI, and
upstream allows no chain here. Source: upstream Terway, cmd/terway-cli/cni.go.
"""

from __future__ import annotations

from ipaddress import ip_network

import msgspec

from terway.config.chain import PLUGIN_TYPE
from terway.config.cni_conf import CniConf
from terway.model.address import IPNetwork

# Where a node runs the caching DNS server that Kubernetes calls NodeLocal DNSCache.
DEFAULT_HOST_STACK_CIDRS: tuple[IPNetwork, ...] = (ip_network("169.254.20.10/32"),)


def host_stack_cidrs(conf: CniConf) -> tuple[IPNetwork, ...]:
    """Return what pods reach by the node, beside services: what the user says, or the default."""
    said = conf.host_stack_cidrs
    return DEFAULT_HOST_STACK_CIDRS if said is None else said


def exclusive_conflist(conf: CniConf) -> bytes:
    """Return the list for the runtime, as JSON."""
    plugin: dict[str, object] = {
        "type": PLUGIN_TYPE,
        "capabilities": {"bandwidth": True},
        "host_stack_cidrs": [str(one) for one in host_stack_cidrs(conf)],
    }
    if conf.mtu_bytes is not None:
        plugin["mtu"] = conf.mtu_bytes
    shared = msgspec.json.decode(conf.conflist)
    head = {key: shared[key] for key in ("cniVersion", "cniVersions", "name") if key in shared}
    return msgspec.json.format(msgspec.json.encode({**head, "plugins": [plugin]}))
