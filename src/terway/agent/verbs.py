"""What terwayd does for each verb: ADD, DEL, CHECK, GC, STATUS.

The journal decides, by way of the pool: an attachment is in it before the kernel is touched, and
until the kernel is clean. So each verb can be repeated, and can be interrupted anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from terway.agent.interfaces import Interface, InterfacePolicy, interfaces_of
from terway.agent.links import AttachedLinks, result_of
from terway.agent.netns import is_own_netns, is_same_netns
from terway.agent.podeni_hold import forget_predecessors, hold
from terway.agent.pods import PodSource, require_eligible
from terway.agent.policies import Gate
from terway.agent.proof import Proof
from terway.agent.side_by_side import side_by_side
from terway.agent.stopwatch import Stopwatch
from terway.agent.turns import Turns
from terway.agent.verb_ports import Claims, Network, Pool
from terway.cni.call import Add, Check, Gc
from terway.cni.errors import CniError, Code
from terway.cni.result import Result, join
from terway.kube.types import Pod
from terway.model.attachment import Attachment, AttachmentKey, PodRef
from terway.model.errors import TransientError, VpcError
from terway.model.ids import MacAddress
from terway.model.moment import Moment

# Less than the plugin's own patience and than any runtime's, so that ours is the answer they see.
_ADD_BUDGET_S = 100.0
# SPEC.md wants CHECK to allow for convergence: what another plugin or a reconcile does just now.
_CHECK_TRIES = 5
_CHECK_WAIT_S = 0.2

_Made = tuple[Attachment, AttachedLinks]


class Verbs:
    """The verbs over one pool and one kernel. `gate` is None where policies are not enforced.

    `claims` is None where there is no API server that knows of PodENIs.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        network: Network,
        pods: PodSource | None,
        clock: Callable[[], Moment],
        policy: InterfacePolicy,
    ) -> None:
        self._policy = policy
        self._pool = pool
        self._network = network
        self._pods = pods
        self._clock = clock
        self.gate: Gate | None = None
        self.claims: Claims | None = None
        self.turns = Turns()
        self.proof = Proof(network=network, turns=self.turns, held=pool.attachment)

    def follow(self, policy: InterfacePolicy) -> None:
        """Make of pods to come what `policy` says; those that are there stay as they are."""
        self._policy = policy

    async def add(self, call: Add, watch: Stopwatch) -> tuple[Attachment, Result]:
        """Give the container's interfaces their addresses and links; return the result object.

        Of several interfaces, the attachment returned is that of the call. A repeated ADD gets
        what the first one got. On failure all is undone, in reverse.
        """
        if is_own_netns(call.netns):
            text = f"CNI_NETNS {call.netns!r} is the node's own network namespace"
            raise CniError(Code.INVALID_NETNS, text, field="CNI_NETNS")
        async with self.turns.turn(call.key):
            try:
                async with asyncio.timeout(_ADD_BUDGET_S):
                    made = await self._attach(call, watch)
            except (VpcError, TimeoutError) as error:
                failure = error if isinstance(error, VpcError) else _too_slow(watch)
                with watch.stage("rollback"):
                    await self._roll_back(call.key, failure)
                raise failure from error
        return made[0][0], join(call.conf.prev_result, result_of(made))

    async def delete(
        self, key: AttachmentKey, watch: Stopwatch, *, asked_at: Moment | None = None
    ) -> Attachment | None:
        """Undo the attachment, whatever is left of it; return what it was, None if unknown.

        With it go those that its ADD made beside it. One that was made after `asked_at` is another
        one, and stays.
        """
        async with self.turns.turn(key):
            family = self._family(key)
            if not family or not self._is_meant(family[0], asked_at):
                return None
            with watch.stage("undo"):
                await self._forget(key)
        return family[0]

    async def check(self, call: Check, watch: Stopwatch) -> None:
        """Raise CniError unless the attachment, and each beside it, is as its ADD left it."""
        async with self.turns.turn(call.key):
            family = self._family(call.key)
            if not family:
                raise CniError(Code.CHECK_FAILED, f"attachment {call.key} is not known here")
            assert call.conf.prev_result is not None  # parse_call saw to it
            _check_netns(family[0], call.netns)
            for attachment in family:
                pod_mac = _check_result(attachment, call.conf.prev_result)
                with watch.stage("kernel"):
                    found = await self._lasting_differences(attachment, pod_mac)
                if found:
                    text = f"attachment {attachment.key} is not as it was made: {'; '.join(found)}"
                    raise CniError(Code.CHECK_FAILED, text)

    async def collect(self, call: Gc, *, asked_at: Moment, watch: Stopwatch) -> int:
        """Undo the attachments of the network that are not in the list; return their number.

        `asked_at` is when the list was made: what is younger, or just being made, is not its
        business. One failure does not stop the rest; raises CniError
        with all of them.
        """
        stale = self._stale(call, asked_at)
        failures: list[VpcError] = []
        for key in stale:
            try:
                await self.delete(key, watch, asked_at=asked_at)
            except VpcError as error:
                failures.append(error)
        if failures:
            text = f"{len(failures)} of {len(stale)} stale attachments could not be undone"
            raise CniError(
                Code.TRY_AGAIN_LATER, text, details="; ".join(str(error) for error in failures)
            )
        return len(stale)

    def knows(self, key: AttachmentKey) -> bool:
        """Return whether the journal has an attachment `key`."""
        return self._pool.attachment(key) is not None

    def status(self) -> None:
        """Raise CniError unless an ADD could be served.

        With 51 where pods that are here have lost their way, too: with their address, or their
        whole ENI. A node whose pods have every address that it may ever have is full, not
        broken: a failing STATUS would have those pods evicted (decision record 6).
        """
        status = self._pool.status()
        pooled = sum(one.spec.own_eni is None for one in self._pool.attachments())
        is_full = 0 < status.capacity <= pooled and not status.missing
        if status.can_add or is_full:
            return
        text = f"no address for a pod: {status.reason}"
        if status.missing:
            lost = ", ".join(map(str, status.missing))
            text += f"; and the cloud no longer shows addresses that pods have: {lost}"
            raise CniError(Code.LIMITED_CONNECTIVITY, text)
        raise CniError(Code.NOT_AVAILABLE, text)

    async def _attach(self, call: Add, watch: Stopwatch) -> tuple[_Made, ...]:
        with watch.stage("pod"):
            pod = await self._read_pod(call.pod)
        wanted = await self._wanted(call, pod, watch)
        if not self._is_repeated(call, wanted):
            # The container was started again under its id and the DEL of the first run is lost, or
            # an ADD did not come to its end and the pod asks for other interfaces now.
            with watch.stage("stale"):
                await self._forget(call.key)
        with watch.stage("ipam"):
            attachments = await self._acquire(call, _ref_of(call.pod, pod), wanted)
        return await self._make(attachments, pod, call, watch)

    async def _wanted(self, call: Add, pod: Pod | None, watch: Stopwatch) -> tuple[Interface, ...]:
        if self.claims is None or pod is None or not self.claims.has_one(pod):
            return interfaces_of(call, pod, self._policy)
        with watch.stage("podeni"):
            wanted = await self.claims.interfaces(call, pod, self._policy)
            await forget_predecessors(
                call.key, wanted, pool=self._pool, turns=self.turns, forget=self._forget
            )
        return wanted

    async def _make(
        self, attachments: tuple[Attachment, ...], pod: Pod | None, call: Add, watch: Stopwatch
    ) -> tuple[_Made, ...]:
        """Make the attachments in the kernel; beside it, wait until policy is in force for them."""

        async def link() -> tuple[_Made, ...]:
            with watch.stage("kernel"):
                return tuple([(one, await self._link(one, call)) for one in attachments])

        async def admit(gate: Gate) -> tuple[_Made, ...]:
            with watch.stage("policy"):
                await gate.admit(attachments, pod)
            return ()

        if self.gate is None or self.gate.is_free(attachments, pod):
            return await link()
        made, _ = await side_by_side([link(), admit(self.gate)])
        return made

    def _is_repeated(self, call: Add, wanted: tuple[Interface, ...]) -> bool:
        """Return whether what is there, if anything, is what an ADD before this one made."""
        held = self._family(call.key) if self._pool.attachment(call.key) is not None else ()
        had = {one.key.ifname: one.lease for one in held}
        return not held or (
            held[0].netns == call.netns
            and had.keys() == {one.key.ifname for one in wanted}
            and all(one.lease in (None, had[one.key.ifname]) for one in wanted)
        )

    async def _acquire(
        self, call: Add, pod: PodRef | None, wanted: tuple[Interface, ...]
    ) -> tuple[Attachment, ...]:
        """Return the attachments of `wanted`, in that order.

        The first one is journalled before the others, and forgotten after them: whoever finds it
        finds all. The others wait for their ENIs side by side.
        """

        async def acquire(one: Interface) -> Attachment:
            if one.lease is not None:
                return await hold(self._pool, one, call, pod, made_at=self._clock())
            return await self._pool.acquire(
                one.key, network=call.conf.name, netns=call.netns, pod=pod, spec=one.spec
            )

        first = await acquire(wanted[0])
        return (first, *await side_by_side([acquire(one) for one in wanted[1:]]))

    async def _link(self, attachment: Attachment, call: Add) -> AttachedLinks:
        links = await self._network.attach(attachment, mtu_bytes=call.conf.mtu_bytes)
        self.proof.note(attachment)
        return links

    async def _read_pod(self, ref: PodRef | None) -> Pod | None:
        if ref is None or self._pods is None:
            return None
        return require_eligible(await self._pods.find(ref), ref)

    async def _roll_back(self, key: AttachmentKey, failure: VpcError) -> None:
        try:
            await self._forget(key)
        except VpcError as error:
            # The journal still has it: the DEL that follows a failed ADD finds it there.
            raise TransientError(f"{failure}; to undo it failed, too: {error}") from failure

    async def _forget(self, key: AttachmentKey) -> None:
        """Undo what the journal holds of the ADD of `key`, the last interface first.

        Of each, the kernel first, for the address is used there.
        """
        for attachment in reversed(self._family(key)):
            await self._network.detach(attachment)
            await self._pool.release(attachment.key)
            if self.gate is not None:
                self.gate.leave(attachment)

    def _family(self, owner: AttachmentKey) -> tuple[Attachment, ...]:
        """Return what the ADD of `owner` made: its own attachment first, then those beside it."""
        found = (one for one in self._pool.attachments() if one.owner == owner)
        return tuple(sorted(found, key=lambda one: (one.key != owner, one.key)))

    async def _lasting_differences(
        self, attachment: Attachment, pod_mac: MacAddress | None
    ) -> tuple[str, ...]:
        for _ in range(_CHECK_TRIES):
            found = await self._network.differences(attachment, pod_mac=pod_mac)
            if not found:
                return ()
            await asyncio.sleep(_CHECK_WAIT_S)
        return await self._network.differences(attachment, pod_mac=pod_mac)

    def _stale(self, call: Gc, asked_at: Moment) -> tuple[AttachmentKey, ...]:
        changing = self.turns.changing
        stale = (
            attachment.owner
            for attachment in self._pool.attachments()
            if attachment.network == call.conf.name
            and attachment.owner not in call.valid
            and attachment.owner not in changing
            and self._is_meant(attachment, asked_at)
        )
        return tuple(dict.fromkeys(stale))

    def _is_meant(self, attachment: Attachment, asked_at: Moment | None) -> bool:
        """Return whether `attachment` was there when it was asked to be undone; None is now."""
        return asked_at is None or attachment.made_at.is_before(asked_at, now=self._clock())


def _ref_of(ref: PodRef | None, pod: Pod | None) -> PodRef | None:
    if ref is None or pod is None:
        return ref
    return PodRef(namespace=ref.namespace, name=ref.name, uid=ref.uid or pod.metadata.uid)


def _too_slow(watch: Stopwatch) -> TransientError:
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in watch.stages.items())
    return TransientError(f"ADD took longer than {_ADD_BUDGET_S:.0f} s: {spent}", code="Timeout")


def _check_netns(attachment: Attachment, netns: str) -> None:
    """Raise CniError unless `netns` is where the attachment was made, by whatever path."""
    if not is_same_netns(attachment.netns, netns):
        text = f"CNI_NETNS {netns!r} is another than that of {attachment.key}, {attachment.netns!r}"
        raise CniError(Code.CHECK_FAILED, text, field="CNI_NETNS")


def _check_result(attachment: Attachment, result: Result) -> MacAddress | None:
    """Raise CniError unless `result` has the attachment's interface and addresses.

    Others of the chain may have added to it: more is fine. Return the interface's MAC, as the
    last of the chain left it, or None where the result has none.
    """
    macs = {one.name: one.mac for one in result.interfaces if one.sandbox}
    if attachment.key.ifname not in macs:
        text = f"prevResult has no interface {attachment.key.ifname} in the container"
        raise CniError(Code.CHECK_FAILED, text, field="prevResult.interfaces")
    listed = {ip.address.partition("/")[0] for ip in result.ips}
    for address in attachment.lease.addresses:
        if str(address) not in listed:
            text = f"prevResult lacks {address}, the address of {attachment.key}"
            raise CniError(Code.CHECK_FAILED, text, field="prevResult.ips")
    mac = macs[attachment.key.ifname]
    return MacAddress(mac.lower()) if mac else None
