"""What can be done at the cloud for a Service? Each step may be repeated."""

from __future__ import annotations

from dataclasses import dataclass

from terway.model.address import IPNetwork
from terway.model.balancer import (
    AccessListId,
    Backend,
    Forwarding,
    InstanceWish,
    Listener,
    ListenerWish,
    LoadBalancerId,
    ServerGroupId,
    SourceRule,
)
from terway.model.ids import SecurityGroupId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateInstance:
    """Make the instance."""

    wish: InstanceWish


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """Give the instance another name."""

    balancer_id: LoadBalancerId
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSpec:
    """Give the instance another specification."""

    balancer_id: LoadBalancerId
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Protect:
    """Set what the instance is protected from."""

    balancer_id: LoadBalancerId
    from_deletion: bool
    from_console: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """Add tags to the instance."""

    balancer_id: LoadBalancerId
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAccessList:
    """Make the list of sources."""

    name: str
    version: int  # 4 or 6
    sources: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeAccessList:
    """Add sources to the list, then remove others."""

    acl_id: AccessListId
    add: tuple[IPNetwork, ...]
    remove: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAccessList:
    """Delete the list that no listener has any more."""

    acl_id: AccessListId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSourceGroup:
    """Make the security group with the sources."""

    name: str
    rules: tuple[SourceRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSourceGroup:
    """Add rules to the security group, then remove others."""

    group_id: SecurityGroupId
    add: tuple[SourceRule, ...]
    remove: tuple[SourceRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSourceGroup:
    """Delete the security group that no instance is in any more."""

    group_id: SecurityGroupId


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroups:
    """Have the instance join security groups."""

    balancer_id: LoadBalancerId
    group_ids: tuple[SecurityGroupId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveGroups:
    """Have the instance leave security groups."""

    balancer_id: LoadBalancerId
    group_ids: tuple[SecurityGroupId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateGroup:
    """Make a group of backends, empty. Protocol, forwarding and kind are NLB's."""

    name: str
    protocol: str
    forwarding: Forwarding
    of_addresses: bool
    is_dual_stack: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateGroup:
    """Give an NLB group other settings."""

    group_id: ServerGroupId
    name: str
    forwarding: Forwarding


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeBackends:
    """Add backends, set weights of others, then remove others."""

    group_id: ServerGroupId
    add: tuple[Backend, ...] = ()
    weigh: tuple[Backend, ...] = ()
    remove: tuple[Backend, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteGroup:
    """Delete a group that no listener has any more."""

    group_id: ServerGroupId


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateListener:
    """Make a listener, and have it forward."""

    balancer_id: LoadBalancerId
    wish: ListenerWish


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateListener:
    """Make a listener what is wished."""

    listener: Listener
    wish: ListenerWish


@dataclass(frozen=True, slots=True, kw_only=True)
class StartListener:
    """Have a listener forward."""

    listener: Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteListener:
    """Delete a listener."""

    listener: Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteInstance:
    """Delete the instance, which is not protected any more."""

    balancer_id: LoadBalancerId


Step = (
    CreateInstance
    | Rename
    | SetSpec
    | Protect
    | Tag
    | CreateAccessList
    | ChangeAccessList
    | DeleteAccessList
    | CreateSourceGroup
    | ChangeSourceGroup
    | DeleteSourceGroup
    | JoinGroups
    | LeaveGroups
    | CreateGroup
    | UpdateGroup
    | ChangeBackends
    | DeleteGroup
    | CreateListener
    | UpdateListener
    | StartListener
    | DeleteListener
    | DeleteInstance
)
