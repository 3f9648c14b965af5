"""How do a pool's intents survive its control plane? As text in the node's own resource.

Everything a repeated call must say is here; what was released is, too: for that, calls may be
under way that nobody may take back.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from terway.ipam.pool import Pool
from terway.ipam.values import AssignIntent, Attempt, CreateIntent, Intent
from terway.model.ids import ENIId, SecurityGroupId

_FRESH = Attempt()


class Journal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the successor must know beside what the resource shows."""

    recalls: int = 0
    creates: tuple[CreateIntent, ...] = ()
    assigns: tuple[AssignIntent, ...] = ()
    released: tuple[str, ...] = ()  # addresses and prefixes
    ours: tuple[ENIId, ...] = ()
    own_groups: dict[ENIId, tuple[SecurityGroupId, ...]] = {}

    @property
    def intents(self) -> tuple[Intent, ...]:
        """Return the calls that are to be repeated."""
        return (*self.creates, *self.assigns)

    @property
    def has_calls(self) -> bool:
        """Return whether there are calls to be made or repeated, whatever else is found out."""
        return bool(self.creates or self.assigns or self.released)


EMPTY = Journal()
_decoder = msgspec.json.Decoder(Journal)


def journal_of(pool: Pool) -> Journal:
    """Return what must be known of `pool`."""
    intents = [replace(one, attempt=_FRESH) for one in pool.intents.values()]
    singles = (str(slot.address) for slot in pool.slots.values() if slot.is_released)
    ranges = (str(one.network) for one in pool.prefixes.values() if one.is_released)
    return Journal(
        recalls=pool.recalls,
        creates=tuple(one for one in intents if isinstance(one, CreateIntent)),
        assigns=tuple(one for one in intents if isinstance(one, AssignIntent)),
        released=tuple(sorted((*singles, *ranges))),
        ours=tuple(sorted(eni.id for eni in pool.enis.values() if eni.is_ours)),
        own_groups={e.id: e.own_group_ids for e in pool.enis.values() if e.own_group_ids},
    )


def write_journal(journal: Journal) -> str:
    """Return the text; of one that says nothing, none."""
    return "" if journal == EMPTY else msgspec.json.encode(journal).decode()


def read_journal(text: str) -> Journal:
    """Return what `write_journal` wrote; what cannot be read says nothing.

    Then a call may be made twice with two tokens, and the ENI that is one too many is found by
    its tags.
    """
    try:
        return _decoder.decode(text) if text else EMPTY
    except msgspec.MsgspecError:
        return EMPTY
