"""Which CNI network is configured, and what does each plugin of its chain get on stdin?

Pure: files in, values and bytes out. Numbers in brackets are those of the requirements in the
CNI specification 1.1.0, runtime side. Source: containernetworking/cni SPEC.md, libcni/conf.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terway.model.errors import UsageError

SUPPORTED_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
CONF_SUFFIXES = (".conf", ".conflist", ".json")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_UNVERSIONED = "0.1.0"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One plugin of a chain: its program, its capabilities and its configuration as written."""

    type: str
    capabilities: frozenset[str]
    conf: str  # JSON; kept as text, so that the value is frozen and unknown keys survive (C8)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkList:
    """A network: a chain of plugins under one name and version."""

    name: str
    version: str
    plugins: tuple[Plugin, ...]
    disable_check: bool = False
    disable_gc: bool = False
    source: str = ""  # the whole list as text, siblings included: what a DEL will need

    def has(self, verb: str) -> bool:
        """Whether the chain's version knows the verb (CHECK from 0.4.0, GC and STATUS 1.1.0)."""
        since = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}.get(verb, _UNVERSIONED)
        return _rank(self.version) >= _rank(since)


def parse_network(text: str, *, siblings: Sequence[str] = ()) -> NetworkList:
    """Return the network in a ``.conflist``, or a chain of one from a ``.conf``.

    `siblings` are the texts of the files in the folder named like the network: their plugins are
    appended unless ``loadOnlyInlinedPlugins`` is true (C5). Raises UsageError with the key.
    """
    name = network_name(text)
    raw = _object(text, "CNI configuration")
    if "plugins" not in raw and "type" in raw:
        raw = {**_pick(raw, "cniVersion", "name"), "plugins": [raw]}
    plugins = _inlined(raw)
    if not raw.get("loadOnlyInlinedPlugins", False):
        plugins += [_object(one, f"plugin of {name}") for one in siblings]
    if not plugins:
        raise UsageError(f"network {name!r} has no plugins", field="plugins")
    return NetworkList(
        name=name,
        version=negotiate(raw.get("cniVersion", _UNVERSIONED), raw.get("cniVersions", ())),
        plugins=tuple(_plugin(one) for one in plugins),
        disable_check=_flag(raw.get("disableCheck", False)),
        disable_gc=_flag(raw.get("disableGC", False)),
        source=json.dumps({**raw, "plugins": plugins, "loadOnlyInlinedPlugins": True}),
    )


def network_name(text: str) -> str:
    """Return the name in a network configuration (C2)."""
    name = _object(text, "CNI configuration").get("name", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r}: must start with a letter or digit and go on with those and _.-",
            field="name",
        )
    return name


def negotiate(version: str, versions: Sequence[str]) -> str:
    """Return the highest version that the configuration offers and we speak (C12)."""
    offered = [one for one in (version, *versions) if one in SUPPORTED_VERSIONS]
    if not offered:
        raise UsageError(
            f"cniVersion {version!r} is not supported; use one of {', '.join(SUPPORTED_VERSIONS)}",
            field="cniVersion",
        )
    return max(offered, key=_rank)


def plugin_stdin(
    network: NetworkList,
    plugin: Plugin,
    *,
    runtime: Mapping[str, Any] | None = None,
    prev_result: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the execution configuration (L4).

    `runtime` is what is asked of each capability; a plugin sees what it declared. `extra` are the
    reserved keys of GC.
    """
    conf: Json = json.loads(plugin.conf)
    conf.pop("capabilities", None)
    for reserved in [key for key in conf if key == "runtimeConfig" or key.startswith("cni.dev/")]:
        del conf[reserved]  # never from a file (C10)
    conf |= {"cniVersion": network.version, "name": network.name}
    asked = {key: value for key, value in (runtime or {}).items() if key in plugin.capabilities}
    if asked:
        conf["runtimeConfig"] = asked
    if prev_result is not None:
        conf["prevResult"] = dict(prev_result)
    return json.dumps({**conf, **(extra or {})}).encode()


def _inlined(raw: Json) -> list[Json]:
    plugins = raw.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(one, dict) for one in plugins):
        raise UsageError("plugins is not a list of objects", field="plugins")
    if "plugins" not in raw and raw.get("loadOnlyInlinedPlugins", False):
        raise UsageError("loadOnlyInlinedPlugins is true and there is no plugins", field="plugins")
    return list(plugins)


def _plugin(raw: Json) -> Plugin:
    kinds = [raw.get("type", "")]
    if isinstance(raw.get("ipam"), dict) and "type" in raw["ipam"]:
        kinds.append(raw["ipam"]["type"])
    for kind in kinds:
        # A path here would be executed as it stands (C7).
        if not isinstance(kind, str) or not kind or "/" in kind:
            raise UsageError(f"plugin type {kind!r} is not the name of a program", field="type")
    declared = raw.get("capabilities") or {}
    return Plugin(
        type=raw["type"],
        capabilities=frozenset(key for key, value in declared.items() if value is True),
        conf=json.dumps(raw),
    )


def _object(text: str, what: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{what}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{what}: not a JSON object")
    return value


def _pick(raw: Json, *keys: str) -> Json:
    return {key: raw[key] for key in keys if key in raw}


def _flag(value: object) -> bool:
    # libcni takes the strings too: early files were written that way.
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _rank(version: str) -> int:
    return SUPPORTED_VERSIONS.index(version)
