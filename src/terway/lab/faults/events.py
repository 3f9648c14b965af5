"""What can happen in a history? Pods' lives, what operators do, and what goes wrong.

`at` is seconds after the start; an event that names nothing that is there at its time does
nothing, so that any part of a schedule is a schedule, too. `pick` chooses among what is there: the
rest of a division, in the order of names.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class _Event(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="do",
    tag=str,
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """What all events have: their time, and the node they concern."""

    at: float
    node: int = 0


# What the kubelet and the runtime do.


class AddPod(_Event, frozen=True, kw_only=True, tag="add"):
    """A pod gets a sandbox; with a `pod` that has one already, a second one (bug class 24).

    With the `container` of a sandbox that is there, its ADD is repeated. A new pod asks for
    interfaces in `networks` vSwitches, if more than one, and for a limit of `megabits` per second.
    """

    container: str
    pod: str
    networks: int = 1
    megabits: int = 0


class DeletePod(_Event, frozen=True, kw_only=True, tag="del"):
    """A pod ends as it should: DEL, then its namespace goes. `times` DELs: all but one too many.

    Of a sandbox that is not there, or not any more, only the DEL is heard.
    """

    container: str
    times: int = 1


class ForceDelete(_Event, frozen=True, kw_only=True, tag="force-delete"):
    """A pod is deleted with grace 0: API object and namespace go first, DEL is `late_s` behind.

    With `late_s` None the DEL is lost.
    """

    container: str
    late_s: float | None = None


class CheckPod(_Event, frozen=True, kw_only=True, tag="check"):
    """The runtime asks whether a sandbox is as its ADD left it."""

    container: str


class CollectGarbage(_Event, frozen=True, kw_only=True, tag="gc"):
    """The runtime tells which attachments it knows."""


# What people change.


class Limit(_Event, frozen=True, kw_only=True, tag="limit"):
    """Somebody annotates a pod with another limit, in megabits per second; 0 is none."""

    pod: str
    megabits: int = 0


class Configure(_Event, frozen=True, kw_only=True, tag="configure"):
    """Somebody changes a node's pool while it runs. `prefixes` counts where it has any."""

    min_free: int = 0
    max_free: int = 5
    prefixes: int = 1
    vswitches: int = 1


# What goes wrong in the cloud.


class RefuseCalls(_Event, frozen=True, kw_only=True, tag="refuse-calls"):
    """Calls of `action` are refused; with `burns_token` their token is useless ever after."""

    action: str = "*"
    code: str = "InternalError"
    status: int = 500
    count: int = 1
    skip: int = 0
    burns_token: bool = False


class LoseReplies(_Event, frozen=True, kw_only=True, tag="lose-replies"):
    """Calls of `action` are carried out, and nobody hears of it."""

    action: str = "*"
    count: int = 1
    skip: int = 0


class SlowAnswers(_Event, frozen=True, kw_only=True, tag="slow-answers"):
    """Calls of `action` are carried out at once and answered `delay_s` later."""

    action: str = "*"
    delay_s: float = 5.0
    count: int = 1


class Throttle(_Event, frozen=True, kw_only=True, tag="throttle"):
    """The account may make `per_minute` calls of each action, for `for_s` seconds."""

    per_minute: float = 6.0
    for_s: float = 30.0


class StuckTransitions(_Event, frozen=True, kw_only=True, tag="stuck"):
    """What the cloud does on its own takes `delay_s`, if it begins within `for_s` seconds."""

    what: Literal["attach", "detach", "delete"] = "attach"
    delay_s: float = 30.0
    for_s: float = 30.0


class StaleDescribes(_Event, frozen=True, kw_only=True, tag="stale-describes"):
    """Lists of ENIs are `lag_s` behind, for `for_s` seconds."""

    lag_s: float = 3.0
    for_s: float = 30.0


class StaleMetadata(_Event, frozen=True, kw_only=True, tag="stale-metadata"):
    """The metadata service is `lag_s` behind, for `for_s` seconds."""

    lag_s: float = 30.0
    for_s: float = 60.0


class LateAddresses(_Event, frozen=True, kw_only=True, tag="late-addresses"):
    """Addresses are shown and carried `delay_s` after they were assigned, for `for_s` seconds."""

    delay_s: float = 3.0
    for_s: float = 30.0


class TakeAddress(_Event, frozen=True, kw_only=True, tag="take-address"):
    """Somebody unassigns a secondary address of the node."""

    pick: int = 0


class DetachENI(_Event, frozen=True, kw_only=True, tag="detach-eni"):
    """An operator detaches an ENI of the node, and deletes it if he `deletes`."""

    pick: int = 0
    deletes: bool = False


# What goes wrong at the Kubernetes API.


class ApiOutage(_Event, frozen=True, kw_only=True, tag="api-outage"):
    """The API server does not answer for `for_s` seconds; watches end."""

    for_s: float = 20.0


class ApiErrors(_Event, frozen=True, kw_only=True, tag="api-errors"):
    """The next `count` requests are refused with `code`."""

    code: int = 503
    count: int = 3


class CutWatches(_Event, frozen=True, kw_only=True, tag="cut-watches"):
    """All watches end; with `expires`, resuming them is 410 Gone."""

    expires: bool = False


class StallWatches(_Event, frozen=True, kw_only=True, tag="stall-watches"):
    """Watches stay open and say nothing for `for_s` seconds, then end."""

    for_s: float = 20.0


# What goes wrong between a node and all others.


class Partition(_Event, frozen=True, kw_only=True, tag="partition"):
    """A node reaches neither the cloud nor the API server, for `for_s` seconds."""

    for_s: float = 20.0


# What goes wrong on the node.


class SlowDisk(_Event, frozen=True, kw_only=True, tag="slow-disk"):
    """A write of the journal takes `delay_s`, for `for_s` seconds."""

    delay_s: float = 2.0
    for_s: float = 20.0


class FailDisk(_Event, frozen=True, kw_only=True, tag="fail-disk"):
    """The next `count` writes of the journal fail."""

    count: int = 1


class JumpClock(_Event, frozen=True, kw_only=True, tag="jump-clock"):
    """Somebody sets the node's clock."""

    by_s: float = 3600.0


class Kill(_Event, frozen=True, kw_only=True, tag="kill"):
    """terwayd is killed at its `after_calls`-th call to the outside from now on.

    `when` it has not been heard, when half of its operations are done, or when it is done and the
    answer is on its way. It is started again by its supervisor.
    """

    after_calls: int = 0
    when: Literal["before", "during", "after"] = "before"


class Reboot(_Event, frozen=True, kw_only=True, tag="reboot"):
    """The node starts anew: kernel and sandboxes are gone, disk and spool are there."""


class UnplugLink(_Event, frozen=True, kw_only=True, tag="unplug-link"):
    """The link of an ENI goes, and comes back as another one after `for_s` seconds."""

    pick: int = 0
    for_s: float = 10.0


class Tamper(_Event, frozen=True, kw_only=True, tag="tamper"):
    """Somebody removes what terwayd put into the node's kernel."""

    what: Literal["rule", "route", "address"] = "rule"
    pick: int = 0


class Impair(_Event, frozen=True, kw_only=True, tag="impair-link"):
    """Packets of ENIs that pods have are lost, late, or too big. Only where packets are real."""

    loss_percent: float = 0.0
    delay_ms: float = 0.0
    mtu_bytes: int = 0
    for_s: float = 10.0


Event = (
    AddPod
    | DeletePod
    | ForceDelete
    | CheckPod
    | CollectGarbage
    | Limit
    | Configure
    | RefuseCalls
    | LoseReplies
    | SlowAnswers
    | Throttle
    | StuckTransitions
    | StaleDescribes
    | StaleMetadata
    | LateAddresses
    | TakeAddress
    | DetachENI
    | ApiOutage
    | ApiErrors
    | CutWatches
    | StallWatches
    | Partition
    | SlowDisk
    | FailDisk
    | JumpClock
    | Kill
    | Reboot
    | UnplugLink
    | Tamper
    | Impair
)
WORKLOAD = (AddPod, DeletePod, ForceDelete, CheckPod, CollectGarbage, Limit, Configure)
