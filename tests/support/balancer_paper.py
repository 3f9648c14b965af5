"""A load balancer on paper: what `loadbalancer.plan` plans is done to values, at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

from terway.loadbalancer import steps as to
from terway.loadbalancer.values import Observed
from terway.loadbalancer.wanted import Wanted
from terway.model.balancer import (
    AccessList,
    AccessListId,
    AccessRule,
    BalancerInstance,
    BalancerProduct,
    Listener,
    ListenerId,
    ListenerWish,
    LoadBalancerId,
    ServerGroup,
    ServerGroupId,
    SourceGroup,
)
from terway.model.ids import SecurityGroupId


class RefusedError(Exception):
    """The cloud does not do this now."""


@dataclass
class Paper:
    """One instance, with its groups and lists. A refusal is what the cloud would refuse."""

    seen: Observed
    product: BalancerProduct

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self.done: list[to.Step] = []
        self.bare_moments = 0  # listeners that were made without a list

    def do(self, step: to.Step) -> None:
        """Do a step."""
        self.done.append(step)
        match step:
            case to.CreateInstance() | to.Rename() | to.SetSpec() | to.Protect() | to.Tag():
                self._set_instance(step)
            case to.CreateAccessList() | to.ChangeAccessList() | to.DeleteAccessList():
                self._set_list(step)
            case (
                to.CreateSourceGroup()
                | to.ChangeSourceGroup()
                | to.DeleteSourceGroup()
                | to.JoinGroups()
                | to.LeaveGroups()
            ):
                self._set_sources(step)
            case to.CreateGroup() | to.UpdateGroup() | to.ChangeBackends() | to.DeleteGroup():
                self._set_groups(step)
            case to.DeleteInstance():
                self._delete_instance()
            case _:
                self._set_listeners(step)

    def _id(self, kind: str) -> str:
        return f"{kind}-new-{next(self._numbers)}"

    def _set_instance(
        self, step: to.CreateInstance | to.Rename | to.SetSpec | to.Protect | to.Tag
    ) -> None:
        if isinstance(step, to.CreateInstance):
            wish = step.wish
            made = BalancerInstance(
                id=LoadBalancerId(self._id("lb")),
                product=self.product,
                name=wish.name,
                addresses=(),
                is_internet=wish.is_internet,
                spec=wish.spec,
                is_protected_from_deletion=wish.is_protected_from_deletion,
                is_protected_from_console=wish.is_protected_from_console,
                tags=wish.tags,
            )
            self.seen = replace(self.seen, instance=made)
            return
        instance = self.seen.instance
        assert instance is not None
        match step:
            case to.Rename(name=name):
                instance = replace(instance, name=name)
            case to.SetSpec(spec=spec):
                instance = replace(instance, spec=spec)
            case to.Protect(from_deletion=deletion, from_console=console):
                instance = replace(
                    instance,
                    is_protected_from_deletion=deletion,
                    is_protected_from_console=console,
                )
            case to.Tag(tags=tags):
                instance = replace(instance, tags=(*instance.tags, *tags))
        self.seen = replace(self.seen, instance=instance)

    def _set_list(
        self, step: to.CreateAccessList | to.ChangeAccessList | to.DeleteAccessList
    ) -> None:
        held = self.seen.access_list
        match step:
            case to.CreateAccessList(name=name, version=version, sources=sources):
                held = AccessList(
                    id=AccessListId(self._id("acl")),
                    name=name,
                    version=version,
                    entries=tuple((one, "") for one in sources),
                )
            case to.ChangeAccessList(add=add, remove=remove):
                assert held is not None
                kept = tuple(one for one in held.entries if one[0] not in remove)
                held = replace(held, entries=(*kept, *((one, "") for one in add)))
            case to.DeleteAccessList(acl_id=acl_id):
                rules = (one.wish.access for one in self.seen.listeners)
                if any(rule is not None and rule.acl_id == acl_id for rule in rules):
                    raise RefusedError("a listener has the list")
                held = None
        self.seen = replace(self.seen, access_list=held)

    def _set_sources(
        self,
        step: to.CreateSourceGroup
        | to.ChangeSourceGroup
        | to.DeleteSourceGroup
        | to.JoinGroups
        | to.LeaveGroups,
    ) -> None:
        held, instance = self.seen.source_group, self.seen.instance
        match step:
            case to.CreateSourceGroup(rules=rules):
                held = SourceGroup(id=SecurityGroupId(self._id("sg")), rules=rules)
            case to.ChangeSourceGroup(add=add, remove=remove):
                assert held is not None
                held = replace(
                    held, rules=(*(one for one in held.rules if one not in remove), *add)
                )
            case to.DeleteSourceGroup(group_id=group_id):
                if instance is not None and group_id in instance.security_group_ids:
                    raise RefusedError("an instance is in the group")
                held = None
            case to.JoinGroups(group_ids=group_ids):
                assert instance is not None
                joined = (*instance.security_group_ids, *group_ids)
                instance = replace(instance, security_group_ids=joined)
            case to.LeaveGroups(group_ids=group_ids):
                assert instance is not None
                kept = tuple(one for one in instance.security_group_ids if one not in group_ids)
                instance = replace(instance, security_group_ids=kept)
        self.seen = replace(self.seen, source_group=held, instance=instance)

    def _is_bare(self, access: AccessRule | None) -> bool:
        """Say whether a listener is open to all now."""
        if self.product is BalancerProduct.CLB:
            return access is None
        held, instance = self.seen.source_group, self.seen.instance
        joined = instance.security_group_ids if instance is not None else ()
        return held is None or held.id not in joined or all(one.is_allowed for one in held.rules)

    def _set_groups(
        self, step: to.CreateGroup | to.UpdateGroup | to.ChangeBackends | to.DeleteGroup
    ) -> None:
        groups = {one.id: one for one in self.seen.groups}
        match step:
            case to.CreateGroup(name=name, forwarding=forwarding):
                is_nlb = self.product is BalancerProduct.NLB
                made = ServerGroup(
                    id=ServerGroupId(self._id("rsp")),
                    name=name,
                    forwarding=forwarding if is_nlb else None,
                )
                groups[made.id] = made
            case to.UpdateGroup(group_id=group_id, forwarding=forwarding):
                groups[group_id] = replace(groups[group_id], forwarding=forwarding)
            case to.ChangeBackends(group_id=group_id, add=add, weigh=weigh, remove=remove):
                gone = {one.identity for one in (*remove, *weigh)}
                kept = [one for one in groups[group_id].backends if one.identity not in gone]
                backends = (*kept, *weigh, *add)
                groups[group_id] = replace(groups[group_id], backends=backends)
            case to.DeleteGroup(group_id=group_id):
                if any(one.wish.group_id == group_id for one in self.seen.listeners):
                    raise RefusedError("a listener has the group")
                del groups[group_id]
        self.seen = replace(self.seen, groups=tuple(groups.values()))

    def _set_listeners(
        self, step: to.CreateListener | to.UpdateListener | to.StartListener | to.DeleteListener
    ) -> None:
        held = {one.wish.place: one for one in self.seen.listeners}
        match step:
            case to.CreateListener(balancer_id=balancer_id, wish=wish):
                if wish.place in held:
                    raise RefusedError("the port is taken")
                made = Listener(
                    id=ListenerId(self._id("lsn")),
                    balancer_id=balancer_id,
                    is_running=True,
                    wish=wish,
                )
                held[wish.place] = made
                self.bare_moments += self._is_bare(wish.access)
            case to.UpdateListener(listener=found, wish=wish):
                assert _fixed(held[wish.place].wish) == _fixed(wish)
                held[wish.place] = replace(found, wish=wish)
                self.bare_moments += self._is_bare(wish.access)
            case to.StartListener(listener=found):
                held[found.wish.place] = replace(found, is_running=True)
            case to.DeleteListener(listener=found):
                del held[found.wish.place]
        self.seen = replace(self.seen, listeners=tuple(held.values()))

    def _delete_instance(self) -> None:
        instance = self.seen.instance
        assert instance is not None
        if instance.is_protected_from_deletion:
            raise RefusedError("it is protected")
        # CLB's groups are of the instance; those of NLB stand for themselves.
        groups = self.seen.groups if self.product is BalancerProduct.NLB else ()
        self.seen = replace(self.seen, instance=None, listeners=(), groups=groups)


def _fixed(wish: ListenerWish) -> tuple[object, ...]:
    """What of a listener cannot be changed."""
    return wish.protocol, 0 if wish.http is None else wish.http.redirect_port


def foreign(seen: Observed, wanted: Wanted) -> tuple[object, ...]:
    """Return what is not a Service's: by names and descriptions."""
    listeners = (one for one in seen.listeners if not is_marked(one.wish.description, wanted))
    groups = (one for one in seen.groups if not is_marked(one.name, wanted))
    return (tuple(listeners), tuple(groups))


def is_marked(said: str, wanted: Wanted) -> bool:
    """Say whether a name is one that only this Service gives."""
    return said.startswith("k8s/") and said.split("/", 2)[2:] == [wanted.mark]
