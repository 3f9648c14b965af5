"""A pool under load beside a kernel's table of connections: who gets whose packets?

Pods come and go on a virtual clock faster than addresses can rest. Each leaves connections behind
that the kernel goes on knowing: some end soon, some are remembered for days, some are kept alive
by peers that go on sending. An address that is given to a new pod while an entry of an older one
lives is a misdelivery: packets of that connection reach the wrong pod.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random
from typing import Any

from terway.ipam.commands import Bind, FlushConntrack
from terway.ipam.events import ConntrackCleared, Event, Failed, Tick
from terway.ipam.fit import ORDINARY
from terway.ipam.leases import acquire, release
from terway.ipam.step import step
from terway.model.address import IPAddress
from terway.model.attachment import AttachmentKey
from tests.support.model_cloud import ModelCloud
from tests.support.pool_world import TRANSIENT, World, owner

# How long the kernel remembers a connection that nobody uses: UDP, a closed and an open TCP one.
# Source: net.netfilter.nf_conntrack_udp_timeout, …_tcp_timeout_time_wait, …_established.
MEMORIES_S = (30.0, 120.0, 432_000.0)
STUBBORN_S = (0.0, 0.0, 5.0, 600.0)  # how long a peer goes on sending to a pod that has gone


class Recycler(World):
    """One node, full of pods that live for moments. `misdelivered` should stay 0."""

    def __init__(self, *, seed: int, pods: int = 16, **changes: Any) -> None:
        self.random = Random(seed)
        self.known: dict[IPAddress, list[tuple[AttachmentKey, float]]] = {}  # until when
        self.recycled = 0
        self.misdelivered = 0
        self.had: set[IPAddress] = set()
        self.alive: deque[AttachmentKey] = deque()
        self.numbers = 0
        self.turn_pods = pods
        super().__init__(ModelCloud(eni_slots=3, per_eni=10), **changes)
        self.sleep(0)
        self.work(10)

    def happen(self, event: Event) -> None:
        """Step the pool, without a journal."""
        self.pool, commands = step(self.pool, event, now=self.now)
        for command in commands:
            self._take(command)

    def _granted(self, bind: Bind) -> None:
        for address in bind.lease.addresses:
            self.recycled += address in self.had
            self.misdelivered += any(
                whose != bind.owner and until > self.now
                for whose, until in self.known.get(address, ())
            )
            self.had.add(address)
        self.leases[bind.owner] = bind.lease
        self.alive.append(bind.owner)

    def turn(self) -> None:
        """Let some pods go and as many come, all at once; then let the kernel do what it must."""
        self.now += self.random.choice((0.01, 0.05, 0.2))
        self._let_go(min(len(self.alive), self.random.randint(1, self.turn_pods)))
        for _ in range(self.random.randint(1, self.turn_pods)):
            self.numbers += 1
            self.pool, _ = acquire(self.pool, owner(self.numbers), ORDINARY, self.now)
        self.happen(Tick())
        self._carry_out()

    def _let_go(self, count: int) -> None:
        for _ in range(count):
            key = self.alive.popleft()
            lease = self.leases.pop(key)
            for address in lease.addresses:
                self._remember(address, key)
            self.pool = release(self.pool, key, self.now)

    def _remember(self, address: IPAddress, key: AttachmentKey) -> None:
        """Note the connections that a pod had when it went; packets of peers prolong them."""
        until = self.now + self.random.choice(STUBBORN_S) + self.random.choice(MEMORIES_S)
        self.known.setdefault(address, []).append((key, until))

    def _carry_out(self) -> None:
        for _ in range(len(self.pending)):
            command = self.pending.pop(0)
            if isinstance(command, FlushConntrack):
                self.now += 0.002
                self.happen(self._flushed(command))
            else:
                self.happen(self._outcome(command))

    def _flushed(self, command: FlushConntrack) -> Event:
        """Delete entries; now and then the kernel refuses half-way."""
        if self.random.random() < 0.001:
            self._forget(command.addresses[: len(command.addresses) // 2])
            return Failed(command=command, failure=TRANSIENT)
        self._forget(command.addresses)
        return ConntrackCleared(addresses=command.addresses)

    def _forget(self, addresses: Iterable[IPAddress]) -> None:
        for address in addresses:
            self.known.pop(address, None)


def recycle(count: int, *, seed: int, **changes: Any) -> Recycler:
    """Return a node on which `count` addresses were given to a second owner, or a later one."""
    node = Recycler(seed=seed, **changes)
    turns = 0
    while node.recycled < count:
        node.turn()
        turns += 1
        if turns > 1000 + count:
            raise AssertionError(f"only {node.recycled} addresses after {turns} turns")
    return node
