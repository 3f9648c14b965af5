"""What is terwayd told by the ConfigMap eni-config, with its node's own part merged in?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from terway.config.cni_conf import CniConf, read_cni_conf_into
from terway.config.document import decode_object
from terway.config.eni_conf import EniConf, read_eni_conf_into
from terway.config.findings import Caution, Report
from terway.config.keys_map import (
    DISABLE_NETWORK_POLICY,
    ENI_CONF,
    FELIX_RELAY_SERVICE,
    FILES,
    IN_CLUSTER_LOADBALANCE,
)
from terway.config.merge import merge_patch

__all__ = ["FILES", "AgentConfig", "parse_agent_config", "read_agent_config_into"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything that eni-config says. `warnings` are for the log and an event on the node."""

    eni: EniConf
    cni: CniConf
    wants_policy: bool
    wants_inner_loadbalance: bool
    warnings: tuple[Caution, ...]
    eni_raw: Mapping[str, object] = field(repr=False)  # as written, a node's own part merged in


def parse_agent_config(files: Mapping[str, str], *, patch: str | None = None) -> AgentConfig:
    """Return what `files` ask for; `patch` is the `eni_conf` of the node's own ConfigMap.

    That one is named by the node label `terway-config`. Raises ConfigError with everything that
    cannot be right in any of them.
    """
    report = Report()
    config = read_agent_config_into(report, files, patch=patch)
    report.raise_refusals()
    return config


def read_agent_config_into(
    report: Report, files: Mapping[str, str], *, patch: str | None = None
) -> AgentConfig:
    """Return what `files` ask for, with defaults where `report` has a refusal."""
    _look_for_misspelt(report, files)
    raw = _merged(report, files, patch)
    eni = read_eni_conf_into(report, raw)
    cni = read_cni_conf_into(report, files)
    switches = _switches(report, files)
    return AgentConfig(
        eni=eni,
        cni=cni,
        wants_policy=not switches[DISABLE_NETWORK_POLICY.name],
        wants_inner_loadbalance=switches[IN_CLUSTER_LOADBALANCE.name],
        warnings=tuple(report.cautions),
        eni_raw=raw,
    )


def _look_for_misspelt(report: Report, files: Mapping[str, str]) -> None:
    """Say which keys look like ours. Others may belong to other components."""
    for name in files:
        near = get_close_matches(name, FILES, n=1, cutoff=0.8) if name not in FILES else ()
        if near:
            report.caution(name, f"is not a key of eni-config: did you mean {near[0]}?")


def _merged(report: Report, files: Mapping[str, str], patch: str | None) -> dict[str, object]:
    if ENI_CONF not in files:
        rule = "eni-config needs this key: a JSON object with vswitches and so on"
        report.refuse(ENI_CONF, "", rule)
        return {}
    base = decode_object(files[ENI_CONF], ENI_CONF, report) or {}
    if patch is None:
        return base
    own = decode_object(patch, f"{ENI_CONF} of the node's own ConfigMap", report) or {}
    merged = merge_patch(base, own)
    assert isinstance(merged, dict)  # two objects merge to an object
    return merged


def _switches(report: Report, files: Mapping[str, str]) -> dict[str, bool]:
    """Return what the keys that are no JSON ask for; say what they do not get."""
    policy, balance = DISABLE_NETWORK_POLICY, IN_CLUSTER_LOADBALANCE
    asked = {key.name: not _is_off(files.get(key.name, "")) for key in (policy, balance)}
    if asked[balance.name]:
        report.caution(balance.name, f"has no effect: {balance.why}")
    if files.get(FELIX_RELAY_SERVICE.name, "").strip():
        report.caution(FELIX_RELAY_SERVICE.name, f"has no effect: {FELIX_RELAY_SERVICE.why}")
    return asked


def _is_off(text: str) -> bool:
    """Return whether a switch of eni-config is off: absent, empty, "false" or "0"."""
    return text.strip() in ("", "false", "0")
