"""Do two sets of policies say the same? Yes, or a packet that they judge differently."""

from __future__ import annotations

from collections.abc import Iterable

from terway.policy.asking.difference import Packet, changes, packet_of
from terway.policy.asking.representatives import Holder
from terway.policy.policies import Policy


def counter_example(
    holders: Iterable[Holder],
    before: Iterable[Policy],
    after: Iterable[Policy],
    *,
    is_any: bool = False,
) -> Packet | None:
    """Return a packet that one set allows and the other denies; None if there is none."""
    for change in changes(holders, before, after, is_any=is_any):
        return packet_of(change.pair, change.allowed or change.denied)
    return None
