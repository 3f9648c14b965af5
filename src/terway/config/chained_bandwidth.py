"""What becomes of the plugin `bandwidth` in a chain? Our plugin does its work, and it is left out.

It needs the link's ingress for itself (a qdisc `ingress`, and no other beside it), and there the
guard against foreign addresses stands. Its rates are those of pods that ask for no other.
Source: containernetworking/plugins, plugins/meta/bandwidth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from terway.config.chain import Chain, Plugin
from terway.config.findings import Report
from terway.config.pod_bandwidth import override
from terway.model.interface import UNLIMITED, Bandwidth

TYPE = "bandwidth"
_LEAST_BITS_S = 1000


def take_bandwidth(chain: Chain, report: Report) -> tuple[Chain, Bandwidth]:
    """Return the chain without such plugins, and the limits that they had."""
    taken = [one for one in chain.plugins if one.get("type") == TYPE]
    if not taken:
        return chain, UNLIMITED
    limits = UNLIMITED
    for path, one in _with_paths(chain):
        if one in taken:
            text = "left out of the chain: terway itself holds pods to their limits"
            report.caution(path, text)
            limits = override(limits, _limits_of(one, path, report))
    kept = (one for one in chain.plugins if one not in taken)
    is_told = any(_declares(one) for one in taken)
    plugins = tuple(_with_capability(one) if is_told and one is chain.ours else one for one in kept)
    return replace(chain, plugins=plugins), limits


def _with_paths(chain: Chain) -> Iterator[tuple[str, Plugin]]:
    head = chain.ours_path.partition(".plugins[")[0]
    return ((f"{head}.plugins[{index}]", one) for index, one in enumerate(chain.plugins))


def _declares(plugin: Plugin) -> bool:
    capabilities = plugin.get("capabilities")
    return isinstance(capabilities, Mapping) and capabilities.get(TYPE) is True


def _with_capability(plugin: Plugin) -> Plugin:
    capabilities = plugin.get("capabilities")
    known = capabilities if isinstance(capabilities, Mapping) else {}
    return {**plugin, "capabilities": {**known, TYPE: True}}


def _limits_of(plugin: Plugin, path: str, report: Report) -> Bandwidth:
    return Bandwidth(
        ingress=_rate(plugin, "ingressRate", path, report),
        egress=_rate(plugin, "egressRate", path, report),
    )


def _rate(plugin: Plugin, key: str, path: str, report: Report) -> int | None:
    found = plugin.get(key, 0)
    if found == 0:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or found < _LEAST_BITS_S:
        report.refuse(f"{path}.{key}", found, "must be bits per second, 1000 or more; 0 is none")
        return None
    return found // 8
