"""What is to be done next, so that an instance becomes what is wanted?

    instance ─► its settings ─► access list (NLB: security group) ─► groups ─► backends ─► listeners
                                        then, what is too much: listeners ─► groups ─► list

Steps of one plan may all be done in their order; what needs an id that does not exist yet is in
the next plan, after another look. Only what carries our mark is changed or removed: on an instance
that was there before, what others made stays, unless the Service says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from terway.loadbalancer import steps as to
from terway.loadbalancer.source_plan import is_guarded, plan_leaving, plan_source_group
from terway.loadbalancer.values import Observed
from terway.loadbalancer.wanted import Wanted, WantedListener
from terway.model.address import Family
from terway.model.balancer import (
    AccessListId,
    AccessRule,
    Backend,
    BalancerInstance,
    BalancerProduct,
    Listener,
    ListenerProtocol,
    ListenerWish,
    Place,
    ServerGroup,
)
from terway.model.errors import UsageError


def plan(wanted: Wanted, observed: Observed) -> tuple[to.Step, ...]:
    """Return the steps that can be done now; none when all is as wanted.

    Raises UsageError when the instance that is named does not exist, or others have its ports.
    """
    instance = observed.instance
    if instance is None:
        if wanted.balancer_id:
            raise UsageError(
                f"load balancer {wanted.balancer_id} does not exist in this region: correct the "
                "annotation, or leave it out and have one made",
                field="loadbalancer-id",
            )
        return (to.CreateInstance(wish=wanted.instance),)
    _check_ports(wanted, observed)
    return (
        *_settings(wanted, instance),
        *_access_list(wanted, observed),
        *plan_source_group(wanted, observed, instance),
        *_groups(wanted, observed),
        *_listeners(wanted, observed, instance),
        *_surplus(wanted, observed),
    )


def plan_removal(observed: Observed, *, mark: str, is_ours: bool) -> tuple[to.Step, ...]:
    """Return the steps that take away what a Service had; none when nothing is left.

    An instance that we did not make stays, without what carries `mark`.
    """
    instance = observed.instance
    own_list = observed.access_list
    if instance is not None and is_ours:
        unprotect = to.Protect(balancer_id=instance.id, from_deletion=False, from_console=False)
        is_open = not (instance.is_protected_from_deletion or instance.is_protected_from_console)
        return (*(() if is_open else (unprotect,)), to.DeleteInstance(balancer_id=instance.id))
    return (
        *(to.DeleteListener(listener=one) for one in observed.listeners if _is_marked(one, mark)),
        *(to.DeleteGroup(group_id=one.id) for one in observed.groups if _is_ours(one, mark)),
        *(() if own_list is None else (to.DeleteAccessList(acl_id=own_list.id),)),
        *plan_leaving(observed),
    )


def _is_marked(listener: Listener, mark: str) -> bool:
    return has_mark(listener.wish.description, mark)


def _is_ours(group: ServerGroup, mark: str) -> bool:
    return has_mark(group.name, mark)


def has_mark(said: str, mark: str) -> bool:
    """Return whether the name of a group, or what is said of a listener, is of a Service's."""
    # With the sign before it: "web/…" is not the end of "other-web/…".
    return said.startswith("k8s/") and said.endswith(f"/{mark}")


def may_listen(wanted: Wanted, observed: Observed) -> bool:
    """Return whether all holds that keeps others out: not a moment without it."""
    if observed.instance is None:
        return False
    needs_list = wanted.sources and wanted.product is BalancerProduct.CLB
    has_list = not needs_list or _acl_id(wanted, observed) is not None
    return has_list and is_guarded(wanted, observed, observed.instance)


def _check_ports(wanted: Wanted, observed: Observed) -> None:
    if not wanted.balancer_id or wanted.overrides_listeners:
        return
    places = {one.place for one in wanted.listeners}
    for one in observed.listeners:
        if one.wish.place in places and not _is_marked(one, wanted.mark):
            raise UsageError(
                f"{wanted.balancer_id} has a listener at {one.wish.protocol.value} "
                f"{one.wish.port} that is not this Service's: take another port, or set "
                "force-override-listeners to true",
                field="spec.ports",
            )


def _settings(wanted: Wanted, instance: BalancerInstance) -> Iterator[to.Step]:
    if wanted.balancer_id:
        return  # it is somebody's: how it is, is theirs to say
    wish = wanted.instance
    if instance.name != wish.name:
        yield to.Rename(balancer_id=instance.id, name=wish.name)
    if wish.spec and instance.spec != wish.spec and wanted.product is BalancerProduct.CLB:
        yield to.SetSpec(balancer_id=instance.id, spec=wish.spec)
    protection = (instance.is_protected_from_deletion, instance.is_protected_from_console)
    if protection != (wish.is_protected_from_deletion, wish.is_protected_from_console):
        yield to.Protect(
            balancer_id=instance.id,
            from_deletion=wish.is_protected_from_deletion,
            from_console=wish.is_protected_from_console,
        )
    if missing := tuple(one for one in wish.tags if one not in instance.tags):
        yield to.Tag(balancer_id=instance.id, tags=missing)


def _access_list(wanted: Wanted, observed: Observed) -> Iterator[to.Step]:
    if not wanted.sources or wanted.product is not BalancerProduct.CLB:
        return
    found = observed.access_list
    if found is None:
        version = wanted.families[0].value
        yield to.CreateAccessList(name=wanted.acl_name, version=version, sources=wanted.sources)
        return
    there = [network for network, _ in found.entries]
    add = tuple(one for one in wanted.sources if one not in there)
    remove = tuple(one for one in there if one not in wanted.sources)
    if add or remove:
        yield to.ChangeAccessList(acl_id=found.id, add=add, remove=remove)


def _groups(wanted: Wanted, observed: Observed) -> Iterator[to.Step]:
    groups = {one.name: one for one in observed.groups}
    for listener in wanted.listeners:
        group = groups.get(listener.group_name)
        if group is None:
            yield _create_group(wanted, listener)
        elif group.is_ready:
            yield from _change_group(wanted, listener, group)


def _create_group(wanted: Wanted, listener: WantedListener) -> to.CreateGroup:
    return to.CreateGroup(
        name=listener.group_name,
        protocol=listener.protocol.value,
        forwarding=listener.forwarding,
        of_addresses=wanted.groups_are_of_addresses,
        is_dual_stack=Family.V6 in wanted.families,
    )


def _change_group(
    wanted: Wanted, listener: WantedListener, group: ServerGroup
) -> Iterator[to.Step]:
    is_nlb = wanted.product is BalancerProduct.NLB
    if is_nlb and group.forwarding != listener.forwarding:
        yield to.UpdateGroup(group_id=group.id, name=group.name, forwarding=listener.forwarding)
    yield from change_backends(group, listener.backends)


def change_backends(group: ServerGroup, backends: Iterable[Backend]) -> Iterator[to.ChangeBackends]:
    """Yield what makes these the backends of a group; nothing where they are."""
    there = {one.identity: one for one in group.backends}
    wished = {one.identity: one for one in backends}
    add = tuple(one for name, one in wished.items() if name not in there)
    remove = tuple(one for name, one in there.items() if name not in wished)
    weigh = tuple(
        one for name, one in wished.items() if name in there and one.weight != there[name].weight
    )
    if add or remove or weigh:
        yield to.ChangeBackends(group_id=group.id, add=add, weigh=weigh, remove=remove)


def _listeners(wanted: Wanted, observed: Observed, instance: BalancerInstance) -> Iterator[to.Step]:
    if not instance.is_ready or not may_listen(wanted, observed):
        return
    there = {one.wish.place: one for one in observed.listeners}
    groups = {one.name: one for one in observed.groups}
    acl_id = _acl_id(wanted, observed)
    for listener in wanted.listeners:
        group = groups.get(listener.group_name)
        if group is None:
            continue
        wish = _listener_wish(wanted, listener, group, acl_id)
        found = there.get(listener.place)
        if found is not None and _can_become(found.wish, wish):
            yield from _change_listener(found, wish)
        elif _has_target(wish, wanted, there):
            yield from () if found is None else (to.DeleteListener(listener=found),)
            yield to.CreateListener(balancer_id=instance.id, wish=wish)


def _has_target(wish: ListenerWish, wanted: Wanted, there: Mapping[Place, Listener]) -> bool:
    """Return whether one of HTTPS is where it leads on to, as the cloud wants; else it waits.

    What is at its port until then goes on, should the cloud refuse the other. Of a port that the
    Service has not, at an instance of others, only the cloud knows.
    """
    target = (ListenerProtocol.TCP, _redirect_of(wish))
    if all(one.place != target for one in wanted.listeners):
        return True
    return target in there and there[target].wish.protocol is ListenerProtocol.HTTPS


def _change_listener(found: Listener, wish: ListenerWish) -> Iterator[to.Step]:
    if not _is_as_wished(found.wish, wish):
        yield to.UpdateListener(listener=found, wish=wish)
    elif not found.is_running:
        yield to.StartListener(listener=found)


def _can_become(there: ListenerWish, wish: ListenerWish) -> bool:
    """Return whether a listener can be changed so: its protocol and where it leads on cannot."""
    return (there.protocol, _redirect_of(there)) == (wish.protocol, _redirect_of(wish))


def _is_as_wished(there: ListenerWish, wish: ListenerWish) -> bool:
    if _redirect_of(wish):  # of whom it would ask, and how, says nothing
        there = replace(there, group_id=wish.group_id, forwarding=wish.forwarding, http=wish.http)
    return there == wish


def _redirect_of(wish: ListenerWish | WantedListener) -> int:
    return 0 if wish.http is None else wish.http.redirect_port


def _acl_id(wanted: Wanted, observed: Observed) -> AccessListId | None:
    if wanted.sources and wanted.product is BalancerProduct.CLB:
        return None if observed.access_list is None else observed.access_list.id
    return AccessListId(wanted.acl_id) if wanted.acl_id else None


def _listener_wish(
    wanted: Wanted, listener: WantedListener, group: ServerGroup, acl_id: AccessListId | None
) -> ListenerWish:
    is_clb = wanted.product is BalancerProduct.CLB
    is_allowed = bool(wanted.sources) or wanted.acl_is_allowed
    access = None if acl_id is None else AccessRule(acl_id=acl_id, is_allowed=is_allowed)
    return ListenerWish(
        protocol=listener.protocol,
        port=listener.port,
        group_id=group.id,
        description=listener.description,
        forwarding=listener.forwarding if is_clb else None,
        access=access if is_clb else None,
        http=listener.http,
    )


def _surplus(wanted: Wanted, observed: Observed) -> Iterator[to.Step]:
    """Yield the removal of what is ours and not wanted, each after what stands on it."""
    places = {one.place for one in wanted.listeners}
    names = {one.group_name for one in wanted.listeners}
    for one in observed.listeners:
        mine = _is_marked(one, wanted.mark) or not wanted.balancer_id
        if mine and one.wish.place not in places:
            yield to.DeleteListener(listener=one)
    kept = {one.wish.group_id for one in observed.listeners}
    for group in observed.groups:
        is_wanted = group.name in names or group.id in kept
        if _is_ours(group, wanted.mark) and not is_wanted:
            yield to.DeleteGroup(group_id=group.id)
    uses_list = any(one.wish.access is not None for one in observed.listeners)
    if observed.access_list is not None and not wanted.sources and not uses_list:
        yield to.DeleteAccessList(acl_id=observed.access_list.id)
