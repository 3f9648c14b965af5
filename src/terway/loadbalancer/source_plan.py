"""How do the source ranges of a Service hold at an NLB, which has no access lists?

By a security group of our own that the instance joins: ranges are let in, all others kept out.
(Who is named by no rule is let in by each NLB, whatever groups it is in.) At an instance that
others use too, our rules are of our ports alone.

    group ─► its rules ─► the instance joins ─► listeners         left, then deleted, the other way

Source: product documentation, "Add an NLB instance to a security group".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from terway.loadbalancer import steps as to
from terway.loadbalancer.values import Observed
from terway.loadbalancer.wanted import Wanted
from terway.model.balancer import BalancerInstance, BalancerProduct, SourceRule
from terway.model.ids import SecurityGroupId

# The lowest decides. NLB's own rule, which lets in everybody, has 100.
_IN, _OUT = 1, 99
_ALL_PORTS = ("ALL", "-1/-1")
_EVERYBODY = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def rules_of(wanted: Wanted) -> tuple[SourceRule, ...]:
    """Return what the security group is to say; nothing without source ranges."""
    if not wanted.sources:
        return ()
    ports = [_ALL_PORTS]
    if wanted.balancer_id:
        ports = [(one.protocol.value, f"{one.port}/{one.port}") for one in wanted.listeners]
    everybody = [_EVERYBODY[family.value] for family in wanted.families]
    return tuple(
        SourceRule(
            protocol=protocol,
            port_range=port_range,
            source=source,
            is_allowed=is_allowed,
            priority=_IN if is_allowed else _OUT,
        )
        for protocol, port_range in ports
        for is_allowed, sources in ((True, wanted.sources), (False, everybody))
        for source in sources
    )


def plan_source_group(
    wanted: Wanted, observed: Observed, instance: BalancerInstance
) -> Iterator[to.Step]:
    """Yield what brings group and instance together; nothing for a CLB."""
    if wanted.product is not BalancerProduct.NLB:
        return
    found = observed.source_group
    rules = rules_of(wanted)
    if found is None and rules:
        yield to.CreateSourceGroup(name=group_name(wanted), rules=rules)
    elif found is not None and rules and set(found.rules) != set(rules):
        yield to.ChangeSourceGroup(
            group_id=found.id,
            add=tuple(one for one in rules if one not in found.rules),
            remove=tuple(one for one in found.rules if one not in rules),
        )
    if instance.is_ready:
        yield from _membership(wanted, observed, instance)


def _membership(
    wanted: Wanted, observed: Observed, instance: BalancerInstance
) -> Iterator[to.Step]:
    own = observed.source_group
    wished = _asked(wanted)
    if own is not None and wanted.sources and set(own.rules) == set(rules_of(wanted)):
        wished = (*wished, own.id)
    held = instance.security_group_ids
    if missing := tuple(one for one in wished if one not in held):
        yield to.JoinGroups(balancer_id=instance.id, group_ids=missing)
    elif surplus := tuple(_surplus(wanted, observed, held)):
        yield to.LeaveGroups(balancer_id=instance.id, group_ids=surplus)
    elif own is not None and not wanted.sources:
        yield to.DeleteSourceGroup(group_id=own.id)


def _asked(wanted: Wanted) -> tuple[SecurityGroupId, ...]:
    """Return the groups that the Service names; how a named instance is, is its owner's to say."""
    return () if wanted.balancer_id else wanted.security_group_ids


def _surplus(
    wanted: Wanted, observed: Observed, held: Iterable[SecurityGroupId]
) -> Iterator[SecurityGroupId]:
    """Yield groups to leave: ours without sources, and with a list of groups those not in it.

    Without a list, those that somebody has had the instance join by hand stay.
    """
    own = None if observed.source_group is None else observed.source_group.id
    asked = _asked(wanted)
    for one in held:
        if not wanted.sources if one == own else asked and one not in asked:
            yield one


def is_guarded(wanted: Wanted, observed: Observed, instance: BalancerInstance) -> bool:
    """Return whether listeners may be made: groups and sources that are wanted hold already."""
    if not set(_asked(wanted)) <= set(instance.security_group_ids):
        return False
    if wanted.product is not BalancerProduct.NLB or not wanted.sources:
        return True
    found = observed.source_group
    return (
        found is not None
        and found.id in instance.security_group_ids
        and set(rules_of(wanted)) <= set(found.rules)
    )


def plan_leaving(observed: Observed) -> Iterator[to.Step]:
    """Yield what takes away our security group: an instance that stays leaves it first."""
    found, instance = observed.source_group, observed.instance
    if found is None:
        return
    if instance is not None and found.id in instance.security_group_ids:
        yield to.LeaveGroups(balancer_id=instance.id, group_ids=(found.id,))
    else:
        yield to.DeleteSourceGroup(group_id=found.id)


def group_name(wanted: Wanted) -> str:
    """Return the security group's name, of the signs that the cloud takes (no slash)."""
    return f"k8s-{wanted.owner}"
