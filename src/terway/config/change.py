"""What of a changed configuration can a running terwayd follow, and what needs a restart?

Nothing is half applied: what takes hold now is a configuration of its own, checked as any other:
the new values of the keys that can change, the old ones of those that cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from terway.config.agent_config import AgentConfig
from terway.config.declare import Reload, Values, read_object
from terway.config.eni_conf import KEYS, read_eni_conf_into
from terway.config.findings import Report
from terway.config.keys_map import DISABLE_NETWORK_POLICY, ENI_CONF

_LIVE = (Reload.AT_ONCE, Reload.NEW_ENIS, Reload.NEW_PODS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """`effective` is what runs from now on. The others are paths of keys, as users know them."""

    effective: AgentConfig
    applied: tuple[str, ...]  # changed against what ran until now
    pending: tuple[str, ...]  # differ from what runs, until terwayd starts again


def plan_change(running: AgentConfig, new: AgentConfig) -> ConfigChange:
    """Return what becomes of `running` when `new` is what is wanted.

    Both are right by themselves. Where the new values of some keys contradict the old ones of
    others, which cannot change now, all waits for the restart.
    """
    old, wanted = _values(running), _values(new)
    changed = [key for key in KEYS if old[key] != wanted[key]]
    live = {key.name for key in changed if key.reload in _LIVE}
    held = {key.name for key in changed if key.reload is Reload.RESTART}
    raw = {name: value for name, value in new.eni_raw.items() if name not in held}
    raw |= {name: running.eni_raw[name] for name in held if name in running.eni_raw}
    report = Report()
    eni = read_eni_conf_into(report, raw)
    others = _others(running, new)
    if report.refusals:
        return ConfigChange(
            effective=running,
            applied=(),
            pending=(*(f"{ENI_CONF}.{name}" for name in sorted(live | held)), *others),
        )
    return ConfigChange(
        effective=replace(running, eni=eni, eni_raw=raw, warnings=new.warnings),
        applied=tuple(f"{ENI_CONF}.{name}" for name in sorted(live)),
        pending=(*(f"{ENI_CONF}.{name}" for name in sorted(held)), *others),
    )


def _others(running: AgentConfig, new: AgentConfig) -> tuple[str, ...]:
    """Return which keys of eni-config beside eni_conf have changed; all wait for a restart."""
    changed = []
    if running.cni != new.cni:
        changed.append(new.cni.path)
    if running.wants_policy != new.wants_policy:
        changed.append(DISABLE_NETWORK_POLICY.name)
    return tuple(changed)


def _values(config: AgentConfig) -> Values:
    """Return what `config` says, so that a default that is spelt out is no change."""
    return read_object(KEYS, config.eni_raw, ENI_CONF, Report())
