"""Can this instance be what eni-config asks for, by its type's limits and the node's mode?"""

from __future__ import annotations

from terway.capacity.modes import Wish, capacities
from terway.capacity.pods import Tuning, eni_slots, shared_pods
from terway.config import keys_pods as pods
from terway.config import keys_pool as pool
from terway.config.declare import Key
from terway.config.eni_conf import EniConf
from terway.config.findings import Caution, Report
from terway.config.keys_map import ENI_CONF
from terway.model.eni import InstanceLimits
from terway.model.interface import Mode


def check_possible(conf: EniConf, limits: InstanceLimits, mode: Mode) -> tuple[Caution, ...]:
    """Return what will be less than was asked for. Raises ConfigError for what cannot be."""
    report = Report()
    _prefixes(conf, limits, mode, report)
    _enis(conf, limits, report)
    if conf.uses_erdma and not limits.eri_quantity:
        text = f"has no effect: {limits.instance_type} has no ERDMA interfaces"
        report.caution(_path(pods.ENABLE_ERDMA), text)
    _trunk(conf, limits, mode, report)
    report.raise_refusals()
    return tuple(report.cautions)


def _trunk(conf: EniConf, limits: InstanceLimits, mode: Mode, report: Report) -> None:
    if not conf.uses_trunk:
        return
    path = _path(pods.ENABLE_ENI_TRUNKING)
    if mode is Mode.EXCLUSIVE:
        report.caution(path, "has no effect: pods of this node have an ENI each")
    elif not limits.eni_trunk_supported:
        report.caution(path, f"has no effect: {limits.instance_type} has no trunk ENIs")


def _prefixes(conf: EniConf, limits: InstanceLimits, mode: Mode, report: Report) -> None:
    if not conf.uses_prefixes:
        return
    if mode is Mode.EXCLUSIVE:
        rule = "pods of this node have an ENI each, which needs no prefix: remove it"
        report.refuse(_path(pool.ENABLE_IP_PREFIX), True, rule)
        return
    tuning = Tuning(ratio=conf.eni_cap_ratio, shift=conf.eni_cap_shift, max_enis=conf.max_eni)
    wish = Wish(
        stack=conf.ip_stack,
        tuning=tuning,
        uses_erdma=conf.uses_erdma,
        uses_prefixes=True,
        prefix_count=conf.ipv4_prefix_count,
    )
    found = next(one for one in capacities(limits, wish) if "prefix" in one.mode)
    if found.why_not:
        rule = f"{found.why_not} on {limits.instance_type}: lower it"
        report.refuse(_path(pool.IPV4_PREFIX_COUNT), conf.ipv4_prefix_count, rule)
        return
    without = shared_pods(limits, conf.ip_stack, tuning)
    if found.pods < without:
        text = (
            f"the node holds {found.pods} pods, {found.formula}; with single addresses it would "
            f"hold {without}: see that the kubelet's maxPods is not more"
        )
        report.caution(_path(pool.IPV4_PREFIX_COUNT), text)


def _enis(conf: EniConf, limits: InstanceLimits, report: Report) -> None:
    slots = eni_slots(limits)
    asked = ((pool.MIN_ENI, conf.min_eni), (pool.MAX_ENI, conf.max_eni))
    for key, value in asked:
        if value > slots:
            text = f"{value} is more than {limits.instance_type} has for pods: it is {slots}"
            report.caution(_path(key), text)


def _path(key: Key[object]) -> str:
    return f"{ENI_CONF}.{key.name}"
