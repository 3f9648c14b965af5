"""Does a list of plugins that somebody wrote by hand name what cannot stand beside ours?

The plugin `bandwidth` needs the ingress of the pod's link for itself (a qdisc `ingress`), and there
the guard against foreign addresses stands: its ADD fails as soon as a pod has an egress limit,
with words that name neither. From eni-config it is left out (`config/chained_bandwidth`); a list
that was put beside ours is not ours to change, so it is told.
Source: containernetworking/plugins, plugins/meta/bandwidth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from terway.config.chain import PLUGIN_TYPE
from terway.config.chained_bandwidth import TYPE
from terway.config.findings import Caution


class _Plugin(msgspec.Struct, frozen=True):
    type: str = ""


class _List(msgspec.Struct, frozen=True):
    plugins: tuple[_Plugin, ...] = ()


def unsuitable_lists(folder: Path) -> Iterator[Caution]:
    """Yield what the lists in a runtime's folder name that fails after our plugin.

    What is no list, or cannot be read, is the runtime's to complain of.
    """
    for path in sorted(folder.glob("*.conflist")):
        types = _types(path)
        if PLUGIN_TYPE not in types or TYPE not in types:
            continue
        text = (
            "the plugin bandwidth after terway fails ADD of pods with an egress limit (both need "
            "the ingress of the pod's link); terway itself holds pods to their limits"
        )
        remedy = f'take it out, and give terway "capabilities": {{"{TYPE}": true}}'
        yield Caution(field=f"{path.name}.plugins[{types.index(TYPE)}]", text=f"{text}: {remedy}")


def _types(path: Path) -> list[str]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_List)
    except (OSError, msgspec.DecodeError):
        return []
    return [one.type for one in found.plugins]
