"""Which chain of plugins does the user write, and which list does the container runtime get?

`10-terway.conflist` is the whole chain; without it, `10-terway.conf` is the chain's one plugin. The
runtime gets a list in which the user's entries stay as they are.
Source: AliyunContainerService/terway, cmd/terway-cli/cni.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from terway.config.declare import Key
from terway.config.document import decode_object
from terway.config.findings import Report
from terway.config.keys_cni import CNI_VERSION, NAME
from terway.config.keys_map import CONF, CONFLIST

PLUGIN_TYPE = "terway"
NEWEST_VERSION = "1.1.0"  # STATUS and GC
_PORTS = "portMappings"  # the capability, CNI CONVENTIONS.md

Plugin = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain of plugins, ours first. `head` are the list's own keys."""

    head: Mapping[str, object]
    plugins: tuple[Plugin, ...]
    name: str
    version: str
    ours: Plugin
    ours_path: str  # by which the user finds our plugin

    @property
    def chained(self) -> tuple[str, ...]:
        """Return the types of the plugins after ours."""
        types = (str(one.get("type", "")) for one in self.plugins)
        return tuple(one for one in types if one != PLUGIN_TYPE)

    @property
    def maps_ports(self) -> bool:
        """Return whether a plugin after ours gets the pods' hostPorts from the runtime."""
        asked = (one.get("capabilities") for one in self.plugins if one["type"] != PLUGIN_TYPE)
        return any(isinstance(one, Mapping) and one.get(_PORTS) is True for one in asked)


def read_chain(files: Mapping[str, str], report: Report) -> Chain:
    """Return the user's chain; without a usable one, an empty one and a refusal in `report`."""
    head, path = _head(files, report)
    plugins = _plugins(head, path, report)
    types = [one["type"] for one in plugins]
    if plugins and [index for index, one in enumerate(types) if one == PLUGIN_TYPE] != [0]:
        rule = 'the first plugin, and only it, must have type "terway"'
        report.refuse(f"{path}.plugins", types, rule)
    is_list = path == CONFLIST
    return Chain(
        head=head,
        plugins=plugins,
        name=_of_list(NAME, head, path, report),
        version=_of_list(CNI_VERSION, head, path, report),
        ours=plugins[0] if types[:1] == [PLUGIN_TYPE] else {},
        ours_path=f"{path}.plugins[0]" if is_list else path,
    )


def _head(files: Mapping[str, str], report: Report) -> tuple[dict[str, object], str]:
    """Return the list to start from, and the path that the user knows it by."""
    if files.get(CONFLIST, "").strip():
        return decode_object(files[CONFLIST], CONFLIST, report) or {}, CONFLIST
    if not files.get(CONF, "").strip():
        rule = 'eni-config needs this key: {"type": "terway", "name": "terway", …}'
        report.refuse(CONF, "", rule)
        return {}, CONF
    single = decode_object(files[CONF], CONF, report)
    if single is None:
        return {}, CONF
    head: dict[str, object] = {key: single[key] for key in ("cniVersion", "name") if key in single}
    return {**head, "plugins": [single]}, CONF


def _plugins(head: Mapping[str, object], path: str, report: Report) -> tuple[Plugin, ...]:
    if not head and report.refusals:
        return ()  # the file itself was refused
    found = head.get("plugins")
    if not isinstance(found, list) or not found:
        report.refuse(f"{path}.plugins", found, "must be a list of plugins")
        return ()
    for index, one in enumerate(found):
        if not isinstance(one, dict) or not isinstance(one.get("type"), str):
            report.refuse(f"{path}.plugins[{index}]", one, 'must be a plugin: {"type": "…"}')
            return ()
    return tuple(cast("list[Plugin]", found))


def _of_list(key: Key[str], head: Mapping[str, object], path: str, report: Report) -> str:
    value = head.get(key.name)
    if value is None or path == CONF:  # our plugin's own keys are read with the others
        return value if isinstance(value, str) else key.default
    return key.kind.read(value, f"{path}.{key.name}", report) or key.default


def runtime_list(chain: Chain) -> bytes:
    """Return the list that the runtime gets."""
    # Plugins of a list have its name and version; their own would only contradict it.
    entries = [
        {key: value for key, value in one.items() if key not in ("cniVersion", "name")}
        for one in chain.plugins
    ]
    head: dict[str, object] = {"cniVersion": chain.version, "name": chain.name}
    if len(entries) == 1 and chain.version != NEWEST_VERSION:
        # A runtime that knows CNI 1.1 takes the newest; one that does not ignores the key. What
        # chained plugins know is not ours to promise.
        head["cniVersions"] = [chain.version, NEWEST_VERSION]
    rest = {key: value for key, value in chain.head.items() if key not in (*head, "plugins")}
    return msgspec.json.format(msgspec.json.encode({**head, **rest, "plugins": entries}))
