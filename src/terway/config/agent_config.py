"""What is terwayd told by the ConfigMap eni-config, with its node's own part merged in?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from terway.config.cni_conf import CONF, CONFLIST, CniConf, parse_cni_conf
from terway.config.eni_conf import PATH, EniConf, read_eni_conf
from terway.config.fields import Caution, decode_object, refuse
from terway.config.merge import merge_patch

# The files that the kubelet projects from the ConfigMap; everything else in the folder is its own.
_POLICY_OFF, _LOADBALANCE = "disable_network_policy", "in_cluster_loadbalance"
FILES = (PATH, CONF, CONFLIST, _POLICY_OFF, _LOADBALANCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Everything that eni-config says. `warnings` are for the log and an event on the node."""

    eni: EniConf
    cni: CniConf
    warnings: tuple[Caution, ...]


def parse_agent_config(files: Mapping[str, str], *, patch: str | None = None) -> AgentConfig:
    """Return what `files` ask for; `patch` is the `eni_conf` of the node's own ConfigMap.

    That one is named by the node label `terway-config`. Raises UsageError with the field's path.
    """
    if PATH not in files:
        refuse(PATH, "", "eni-config needs this key: a JSON object with vswitches and so on")
    base = decode_object(files[PATH], PATH)
    if patch is not None:
        merged = merge_patch(base, decode_object(patch, f"{PATH} of the node's own ConfigMap"))
        assert isinstance(merged, dict)  # two objects merge to an object
        base = merged
    eni, eni_warnings = read_eni_conf(base)
    cni, cni_warnings = parse_cni_conf(files)
    return AgentConfig(
        eni=eni,
        cni=cni,
        warnings=(*eni_warnings, *cni_warnings, *_switches(files)),
    )


def _switches(files: Mapping[str, str]) -> Iterator[Caution]:
    """Yield what the keys that are no JSON ask for, and do not get."""
    if _is_off(files.get(_POLICY_OFF, "")):
        text = (
            "NetworkPolicy is on unless this key is true, and this release does not enforce it "
            'yet: every pod reaches every pod. Set it to "true" to say that you know'
        )
        yield Caution(field=_POLICY_OFF, text=text)
    if not _is_off(files.get(_LOADBALANCE, "")):
        text = "has no effect: kube-proxy leads pods to services, here and outside"
        yield Caution(field=_LOADBALANCE, text=text)


def _is_off(text: str) -> bool:
    """Return whether a switch of eni-config is off: absent, empty, "false" or "0"."""
    return text.strip() in ("", "false", "0")
