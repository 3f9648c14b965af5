"""What does the user's CNI configuration say, and which list does the container runtime get?

`10-terway.conflist` is the whole chain; without it, `10-terway.conf` is the chain's one plugin. The
runtime gets a list in which the user's entries stay as they are.
Source: AliyunContainerService/terway, plugin/driver/types/types.go and cmd/terway-cli/cni.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

import msgspec

from terway.config.fields import Caution, Fields, decode_object, refuse
from terway.model.address import IPNetwork

CONF, CONFLIST = "10-terway.conf", "10-terway.conflist"
PLUGIN_TYPE = "terway"
DEFAULT_NAME = "terway"
DEFAULT_VERSION = "0.4.0"  # what the original writes, and every runtime understands
NEWEST_VERSION = "1.1.0"  # STATUS and GC
DEFAULT_MTU = 1500
_VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")

EFFECTIVE = (
    "cniVersion",
    "name",
    "type",
    "capabilities",
    "eniip_virtual_type",
    "mtu",
    "auto_mtu",
    "host_stack_cidrs",
    "disable_host_peer",
)
WITHOUT_EFFECT = (
    "dns",
    "debug",
    "veth_prefix",
    "ip_stack",
    "cniVersions",
    "network_policy_provider",
    "bandwidth_mode",
    "enable_network_priority",
    "vlan_strip_type",
    "symmetric_routing",
    "symmetric_routing_config",
    "cilium_args",
    "cilium_enable_hubble",
    "cilium_hubble_metrics",
    "cilium_hubble_listen_address",
    "cilium_hubble_metrics_server",
)
_WHY = {
    "dns": "pods have the DNS that Kubernetes gives them",
    "debug": "what is logged is terwayd's --log-level",
    "veth_prefix": "host links are named cali…, as in the original",
    "ip_stack": "write it into eni_conf",
    "cniVersions": "it belongs to the list, beside cniVersion",
}
# SPEC.md, "Plugin configuration objects": keys that a runtime makes for each call.
_RESERVED = ("runtimeConfig", "args", "prevResult")
_RESERVED_PREFIX = "cni.dev/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CniConf:
    """The CNI configuration. `conflist` is what the runtime gets, as JSON.

    `mtu_bytes` is None for "as the node's own link has it" (`auto_mtu`). `host_stack_cidrs` is None
    where nothing is said.
    """

    name: str
    version: str
    virtual_type: str
    mtu_bytes: int | None
    host_stack_cidrs: tuple[IPNetwork, ...] | None
    has_host_peer: bool  # exclusive ENI: whether pods have a second leg, to the node
    chained: tuple[str, ...]  # the types of the plugins after ours
    conflist: bytes


def parse_cni_conf(files: Mapping[str, str]) -> tuple[CniConf, tuple[Caution, ...]]:
    """Return what the files of eni-config say about CNI. Raises UsageError."""
    chain, path = _chain(files)
    ours, ours_path = _our_plugin(chain, path)
    fields = Fields(ours, ours_path)
    _refuse_reserved(ours, fields)
    fields.refuse_unknown((*EFFECTIVE, *WITHOUT_EFFECT))
    name, version = _name(Fields(chain, path)), _version(Fields(chain, path))
    virtual_type, warnings = _virtual_type(fields)
    plugins = _plugins(chain, path)
    chained = tuple(str(one["type"]) for one in plugins if one["type"] != PLUGIN_TYPE)
    conf = CniConf(
        name=name,
        version=version,
        virtual_type=virtual_type,
        mtu_bytes=_mtu_bytes(fields),
        host_stack_cidrs=_host_stack_cidrs(fields),
        has_host_peer=not fields.flag("disable_host_peer"),
        chained=chained,
        conflist=_conflist(chain, plugins, name=name, version=version),
    )
    return conf, (*warnings, *_bandwidth(fields, chained), *_without_effect(fields))


def _chain(files: Mapping[str, str]) -> tuple[dict[str, object], str]:
    """Return the list to start from, and the path that the user knows it by."""
    if files.get(CONFLIST, "").strip():
        return decode_object(files[CONFLIST], CONFLIST), CONFLIST
    if not files.get(CONF, "").strip():
        refuse(CONF, "", 'eni-config needs this key: {"type": "terway", "name": "terway", …}')
    single = decode_object(files[CONF], CONF)
    head: dict[str, object] = {key: single[key] for key in ("cniVersion", "name") if key in single}
    return {**head, "plugins": [single]}, CONF


def _plugins(chain: Mapping[str, object], path: str) -> list[dict[str, object]]:
    found = chain.get("plugins")
    if not isinstance(found, list) or not found:
        refuse(f"{path}.plugins", found, "must be a list of plugins")
    for index, one in enumerate(found):
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            refuse(f"{path}.plugins[{index}]", one, 'must be a plugin: {"type": "…"}')
    return found


def _our_plugin(chain: Mapping[str, object], path: str) -> tuple[dict[str, object], str]:
    plugins = _plugins(chain, path)
    where = [index for index, one in enumerate(plugins) if one["type"] == PLUGIN_TYPE]
    if where != [0]:
        types = [one["type"] for one in plugins]
        refuse(f"{path}.plugins", types, 'the first plugin, and only it, must have type "terway"')
    return plugins[0], path if path == CONF else f"{path}.plugins[0]"


def _name(fields: Fields) -> str:
    name = fields.text("name", DEFAULT_NAME)
    rule = "must start with a letter or digit and go on with those, '_', '.' or '-'"
    return name if _NAME.fullmatch(name) else refuse(fields.path("name"), name, rule)


def _version(fields: Fields) -> str:
    version = fields.text("cniVersion", DEFAULT_VERSION)
    if version not in _VERSIONS:
        refuse(fields.path("cniVersion"), version, f"must be one of {', '.join(_VERSIONS)}")
    return version


def _virtual_type(fields: Fields) -> tuple[str, tuple[Caution, ...]]:
    asked = fields.text("eniip_virtual_type", "veth")
    found = asked.lower()
    if found not in ("veth", "datapathv2", "ipvlan"):
        path = fields.path("eniip_virtual_type")
        refuse(path, asked, "must be one of veth, datapathv2, ipvlan")
    if found == "veth":
        return found, ()
    text = f"{asked} is not part of this release: pods get veth and policy routing"
    return "veth", (Caution(field=fields.path("eniip_virtual_type"), text=text),)


def _mtu_bytes(fields: Fields) -> int | None:
    mtu = fields.count("mtu")
    if mtu and not 1280 <= mtu <= 9000:
        # 1280: RFC 8200, section 5. 9000: the largest that ECS carries ("jumbo frames").
        refuse(fields.path("mtu"), mtu, "must be between 1280 and 9000")
    if mtu:
        return mtu
    return None if fields.flag("auto_mtu") else DEFAULT_MTU


def _host_stack_cidrs(fields: Fields) -> tuple[IPNetwork, ...] | None:
    if not fields.has("host_stack_cidrs"):
        return None
    path = fields.path("host_stack_cidrs")
    found: list[IPNetwork] = []
    for index, text in enumerate(fields.texts("host_stack_cidrs")):
        try:
            found.append(ip_network(text))
        except ValueError as error:
            refuse(f"{path}[{index}]", text, f'must be a range such as "169.254.20.10/32": {error}')
    return tuple(found)


def _refuse_reserved(plugin: Mapping[str, object], fields: Fields) -> None:
    for key, value in plugin.items():
        if key in _RESERVED or key.startswith(_RESERVED_PREFIX):
            rule = "only a container runtime may set this key, for each call: remove it"
            refuse(fields.path(key), value, rule)


def _bandwidth(fields: Fields, chained: tuple[str, ...]) -> Iterator[Caution]:
    capabilities = fields.object("capabilities")
    asked = capabilities is not None and capabilities.flag("bandwidth")
    if asked and "bandwidth" not in chained:
        text = (
            "pods are not held to their bandwidth annotations by this plugin yet: "
            "chain the plugin bandwidth after it, with this capability"
        )
        yield Caution(field=fields.path("capabilities.bandwidth"), text=text)


def _without_effect(fields: Fields) -> Iterator[Caution]:
    for key in WITHOUT_EFFECT:
        if fields.has(key) and fields.text_of(key) not in ("false", '""', "[]", "{}"):
            why = _WHY.get(key, "not part of this release")
            yield Caution(field=fields.path(key), text=f"has no effect: {why}")


def _conflist(
    chain: Mapping[str, object],
    plugins: list[dict[str, object]],
    *,
    name: str,
    version: str,
) -> bytes:
    # Plugins of a list have its name and version; their own would only contradict it.
    entries = [{k: v for k, v in one.items() if k not in ("cniVersion", "name")} for one in plugins]
    head: dict[str, object] = {"cniVersion": version, "name": name}
    if len(plugins) == 1 and version != NEWEST_VERSION:
        # A runtime that knows CNI 1.1 takes the newest; one that does not ignores the key. What
        # chained plugins know is not ours to promise.
        head["cniVersions"] = [version, NEWEST_VERSION]
    rest = {key: value for key, value in chain.items() if key not in (*head, "plugins")}
    return msgspec.json.format(msgspec.json.encode({**head, **rest, "plugins": entries}))
