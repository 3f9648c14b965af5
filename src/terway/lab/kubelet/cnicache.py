"""What was the result of an attachment's ADD? Kept on disk until its DEL, as libcni keeps it.

/var/lib/cni/results/<network>-<container>-<ifname>, kind cniCacheV1: CHECK and DEL need the
result, and DEL must use the configuration that ADD had, whatever the file says by then (L3, D6).
Source: containernetworking/cni libcni/api.go.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path("/var/lib/cni/results")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedResult:
    """One attachment, as the runtime remembers it. `result` is None after an ADD that failed."""

    network: str
    container_id: str
    ifname: str
    netns: str
    config: str  # the text of the network configuration that ADD used
    cni_args: Mapping[str, str] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None


class ResultCache:
    """The folder of cached results."""

    def __init__(self, folder: Path = RESULTS) -> None:
        self._folder = folder

    def put(self, entry: CachedResult) -> None:
        """Write an entry whole: a reader sees the old one or the new one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(entry.network, entry.container_id, entry.ifname)
        draft = path.with_suffix(path.suffix + ".new")
        draft.write_text(json.dumps(_to_wire(entry)))
        draft.rename(path)

    def get(self, network: str, container_id: str, ifname: str) -> CachedResult | None:
        """Return the entry, None where there is none."""
        try:
            text = self._path(network, container_id, ifname).read_text()
        except FileNotFoundError:
            return None
        return _from_wire(json.loads(text))

    def find(self, container_id: str, ifname: str) -> CachedResult | None:
        """Return the entry of a container whatever its network: that may be gone from disk."""
        for path in self._folder.glob(f"*-{container_id}-{ifname}"):
            entry = _from_wire(json.loads(path.read_text()))
            if (entry.container_id, entry.ifname) == (container_id, ifname):
                return entry
        return None

    def remove(self, network: str, container_id: str, ifname: str) -> None:
        """Forget an attachment; idempotent."""
        self._path(network, container_id, ifname).unlink(missing_ok=True)

    def of_network(self, network: str) -> Iterator[CachedResult]:
        """Yield the entries of one network."""
        for path in sorted(self._folder.glob(f"{network}-*")):
            entry = _from_wire(json.loads(path.read_text()))
            if entry.network == network:
                yield entry

    def _path(self, network: str, container_id: str, ifname: str) -> Path:
        return self._folder / f"{network}-{container_id}-{ifname}"


def _to_wire(entry: CachedResult) -> dict[str, Any]:
    return {
        "kind": "cniCacheV1",
        "containerId": entry.container_id,
        "config": base64.b64encode(entry.config.encode()).decode(),
        "ifName": entry.ifname,
        "networkName": entry.network,
        "netns": entry.netns,
        "cniArgs": [[key, value] for key, value in entry.cni_args.items()],
        "capabilityArgs": dict(entry.runtime),
        "result": entry.result,
    }


def _from_wire(raw: dict[str, Any]) -> CachedResult:
    return CachedResult(
        network=raw["networkName"],
        container_id=raw["containerId"],
        ifname=raw["ifName"],
        netns=raw.get("netns", ""),
        config=base64.b64decode(raw["config"]).decode(),
        cni_args=dict(raw.get("cniArgs") or []),
        runtime=raw.get("capabilityArgs") or {},
        result=raw.get("result"),
    )
