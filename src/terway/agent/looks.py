"""What is to be looked at next: what somebody asked for, and some of the pods in turn.

A look at the node sees all pods' halves there at once. Their own namespaces are looked into one by
one, so each period takes a tenth of them: netlink tells of most that happens there anyway. Of the
namespace of an ipvlan child it tells nothing, for no link of the node has its other end there:
such pods are looked into in every period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from terway.agent.ground import Ground
from terway.model.attachment import AttachmentKey

_PERIODS = 10  # in which every pod is looked into once


class Looks:
    """What others asked to be looked at, and whose turn it is."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._node = False
        self._pods: set[AttachmentKey] = set()
        self._unknown: set[int] = set()
        self._seen: set[AttachmentKey] = set()
        self._is_first = True
        self.strangers: frozenset[int] = frozenset()  # namespaces that are no pod's of ours

    def ask_node(self) -> None:
        """Have the node looked at."""
        self._node = True
        self._asked.set()

    def ask_pod(self, key: AttachmentKey) -> None:
        """Have a pod looked into."""
        self._pods.add(key)
        self._asked.set()

    def ask_namespace(self, nsid: int) -> None:
        """Have the pod looked into that the namespace with this number is, if it is one's."""
        self._unknown.add(nsid)
        self.ask_node()

    async def wait_asked(self) -> None:
        """Wait until somebody asks for something."""
        await self._asked.wait()

    @property
    def is_node_asked(self) -> bool:
        """Return whether the node itself is to be looked at, not pods alone."""
        return self._node

    def take_node(self) -> None:
        """Begin to look at the node: what is asked from now on is for the next time."""
        self._node = False
        self._clear_if_done()

    def take_pods(self) -> frozenset[AttachmentKey]:
        """Return the pods that somebody asked for, and forget it."""
        taken, self._pods = frozenset(self._pods), set()
        self._clear_if_done()
        return taken

    def _clear_if_done(self) -> None:
        if not self._node and not self._pods:
            self._asked.clear()

    def learn(self, ground: Ground) -> None:
        """Take over what a look at the node told of the namespaces."""
        unknown, self._unknown = self._unknown, set()
        for nsid in unknown:
            key = ground.pods.get(nsid)
            if key is None:
                self.strangers |= {nsid}
            else:
                self.ask_pod(key)

    def take_turn(
        self, present: Sequence[AttachmentKey], *, unheard: Iterable[AttachmentKey] = ()
    ) -> frozenset[AttachmentKey]:
        """Return the pods whose turn it is: all the first time, then a share of them.

        It is always the turn of those that are `unheard`: netlink tells nothing of them.
        A namespace's number is used again once it has ended, so strangers are asked about anew.
        """
        self.strangers = frozenset()
        if self._seen.issuperset(present):
            self._seen = set()
        waiting = [key for key in present if key not in self._seen]
        share = len(present) if self._is_first else -(-len(present) // _PERIODS)
        self._is_first = False
        taken = waiting[:share]
        self._seen.update(taken)
        self._seen &= set(present)
        return frozenset((*taken, *unheard))
