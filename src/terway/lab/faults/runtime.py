"""What do kubelet and container runtime do in a history? Sandboxes, and calls of the plugin.

The plugin's own behaviour is here, too: it waits a second for a terwayd that is away, then ADD
fails, and DEL and GC leave a note and succeed (cni/terway.c).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from terway.cni.protocol import Reply, Request, encode_request
from terway.kube.resource import ObjectKey
from terway.lab.faults.api import Cluster, merged
from terway.lab.faults.node import Node
from terway.lab.faults.record import Record
from terway.lab.faults.wishes import EGRESS
from terway.model.address import IPAddress
from terway.model.ids import VSwitchId

NETWORK = "terway"
ANSWER_S = 130.0  # more than terwayd's own budget for an ADD: later is a hang
PLUGIN_PATIENCE_S = 1.0
CONNECTION_S = 432000.0  # how long conntrack remembers an established connection
_RETRY_S = (2.0, 4.0, 8.0, 16.0)  # the kubelet's waits between sandboxes of one pod
_POLL_S = 0.05
_STOPPING_S = 5.0  # from a new sandbox of a pod to the DEL of the one before
_VERSION = "1.1.0"


@dataclass(slots=True)
class Sandbox:
    """A sandbox as the runtime knows it. `addresses` is empty until its ADD has succeeded."""

    container_id: str
    pod: str
    uid: str
    netns: str
    addresses: tuple[str, ...] = ()
    result: Any = None
    error: str = ""  # of the last ADD
    wanted: bool = True
    exists: bool = True  # its namespace is there

    @property
    def own_addresses(self) -> tuple[str, ...]:
        """Return those of the interface that the runtime asked for."""
        names = [one["name"] for one in self.result["interfaces"]]
        mine = (one for one in self.result["ips"] if names[one["interface"]] == "eth0")
        return tuple(one["address"].partition("/")[0] for one in mine)

    def is_wanted(self) -> bool:
        """Return whether it is wanted now: that changes while others are waited for."""
        return self.wanted


@dataclass(slots=True)
class Runtime:
    """The kubelet and the runtime of one node. `broken` is what no agent may do to them."""

    node: Node
    cluster: Cluster
    record: Record
    folder: Path
    elsewhere: VSwitchId  # where pods of several networks have all interfaces but the first
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)  # by the schedule's name
    broken: list[str] = field(default_factory=list)
    given: dict[str, Sandbox] = field(default_factory=dict)  # who has an address now
    traffic: dict[IPAddress, str] = field(default_factory=dict)  # whose connections conntrack has
    # One at a time makes sandboxes of a pod: the kubelet's worker.
    workers: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    coming: set[str] = field(default_factory=set)  # whose sandbox is being made
    asking: int = 0
    busy: Counter[str] = field(default_factory=Counter)  # calls about a container, not answered
    _uids: int = 0

    # Pods.

    def create_pod(self, pod: str, wishes: Mapping[str, str]) -> str:
        """Make the API's object of a pod, unless it is there; return its uid."""
        found = self.cluster.get("pods", pod, "default")
        if found is not None:
            return str(found["metadata"]["uid"])
        self._uids += 1
        uid = f"uid-{pod}-{self._uids}"
        meta = {"name": pod, "namespace": "default", "uid": uid, "annotations": wishes}
        self.cluster.put("pods", {"metadata": meta, "spec": {"nodeName": self.node.name}})
        return uid

    def forget_pod(self, pod: str, uid: str) -> None:
        """Remove the API's object of a pod, unless it is another's, or another sandbox is its."""
        found = self.cluster.get("pods", pod, "default")
        if found is None or found["metadata"]["uid"] != uid:
            return
        others = [one for one in self.sandboxes.values() if one.uid == uid and one.wanted]
        if not others:
            self.cluster.remove("pods", ObjectKey(namespace="default", name=pod))

    def open_sandbox(self, container: str, pod: str, uid: str, *, again: int = 0) -> Sandbox:
        """Make a sandbox with its namespace."""
        container_id = container if not again else f"{container}-{self.record.count(container)}"
        path = self.folder / container_id
        path.touch()
        self.node.kernel.create_netns(str(path))
        sandbox = Sandbox(container_id=container_id, pod=pod, uid=uid, netns=str(path))
        self.sandboxes[container] = sandbox
        return sandbox

    def close_sandbox(self, sandbox: Sandbox) -> None:
        """End a sandbox's namespace; its connections are remembered for a while."""
        if not sandbox.exists:
            return
        sandbox.exists = False
        self.node.kernel.delete_netns(sandbox.netns)
        Path(sandbox.netns).unlink()
        self._let_go(sandbox)
        asyncio.get_running_loop().call_later(CONNECTION_S, self._expire, sandbox.container_id)

    def _let_go(self, sandbox: Sandbox) -> None:
        for text in sandbox.addresses:
            if self.given.get(text) is sandbox:
                del self.given[text]

    def _expire(self, container_id: str) -> None:
        dead = {ip for ip, whose in self.traffic.items() if whose == container_id}
        kernel = self.node.kernel
        kernel.connections = [ends for ends in kernel.connections if not dead & {*ends}]
        for address in dead:
            del self.traffic[address]

    async def end(self, sandbox: Sandbox, *, times: int) -> None:
        """End a pod as it should be."""
        sandbox.wanted = False
        await self.delete(sandbox, times=times)
        self.close_sandbox(sandbox)
        self.forget_pod(sandbox.pod, sandbox.uid)

    async def force_end(self, sandbox: Sandbox, late_s: float | None) -> None:
        """End a pod with grace 0: DEL comes when all is gone, or never."""
        sandbox.wanted = False
        self.forget_pod(sandbox.pod, sandbox.uid)
        self.close_sandbox(sandbox)
        if late_s is not None:
            await asyncio.sleep(late_s)
            await self.delete(sandbox)

    def lose_sandboxes(self) -> None:
        """Forget all sandboxes, as a reboot does; connections are forgotten, too."""
        for sandbox in self.sandboxes.values():
            if sandbox.exists:
                sandbox.exists = sandbox.wanted = False
                Path(sandbox.netns).unlink()
                self._let_go(sandbox)
                self.forget_pod(sandbox.pod, sandbox.uid)
        self.traffic.clear()

    def limit(self, pod: str, limit: Mapping[str, str]) -> None:
        """Annotate a pod with another limit, if it is there."""
        found = self.cluster.get("pods", pod, "default")
        if found is not None:
            annotations = {EGRESS: None, **limit}
            self.cluster.put("pods", merged(found, {"metadata": {"annotations": annotations}}))

    # The verbs.

    async def bring_up(self, container: str, pod: str, wishes: Mapping[str, str]) -> None:
        """Give a pod a sandbox; when its ADD fails, another one, as long as it is wanted.

        A sandbox that the pod has is stopped; its DEL comes later than the new one's ADD.
        """
        uid = self.create_pod(pod, wishes)
        async with asyncio.TaskGroup() as tasks:
            for older in [one for one in self.sandboxes.values() if one.pod == pod and one.wanted]:
                older.wanted = False
                self._let_go(older)
                tasks.create_task(self._stop_late(older))
            await self._bring_up(container, self.open_sandbox(container, pod, uid))

    async def _stop_late(self, sandbox: Sandbox) -> None:
        await asyncio.sleep(_STOPPING_S)
        await self.delete(sandbox)
        self.close_sandbox(sandbox)

    async def add_again(self, container: str) -> None:
        """Repeat the ADD of a sandbox; if that fails, the sandbox has failed."""
        sandbox = self.sandboxes[container]
        if container in self.coming:
            # A runtime that lost patience: whether the sandbox is up is told by the first ADD.
            await self._call("ADD", sandbox)
            return
        async with self.workers[sandbox.pod]:
            is_up = not sandbox.is_wanted() or await self.add(sandbox)
        if not is_up:
            await self.delete(sandbox)
            self.close_sandbox(sandbox)
        if not is_up and sandbox.is_wanted():
            fresh = self.open_sandbox(container, sandbox.pod, sandbox.uid, again=1)
            await self._bring_up(container, fresh)

    async def _bring_up(self, container: str, sandbox: Sandbox) -> None:
        self.coming.add(container)
        try:
            await self._insist(container, sandbox)
        finally:
            self.coming.discard(container)

    async def _insist(self, container: str, sandbox: Sandbox) -> None:
        """Call ADD until a sandbox has addresses, each time with another sandbox."""
        pod, uid = sandbox.pod, sandbox.uid
        for again in range(1, 100):
            async with self.workers[pod]:
                await self._others_are_quiet(sandbox)
                if not sandbox.is_wanted() or await self.add(sandbox):
                    return
            if sandbox.is_wanted():
                await self.delete(sandbox)
                self.close_sandbox(sandbox)
                await asyncio.sleep(_RETRY_S[min(again, len(_RETRY_S)) - 1])
            if not sandbox.is_wanted():
                return
            sandbox = self.open_sandbox(container, pod, uid, again=again)

    async def _others_are_quiet(self, sandbox: Sandbox) -> None:
        """Wait until nobody works on another sandbox of the pod: its worker is one."""
        others = [one for one in self.sandboxes.values() if one.pod == sandbox.pod]
        while any(self.busy[one.container_id] for one in others):  # noqa: ASYNC110 - virtual
            await asyncio.sleep(_POLL_S)

    async def add(self, sandbox: Sandbox) -> bool:
        """Call ADD and return whether it succeeded; its answer must fit all that were before."""
        reply = await self._call("ADD", sandbox)
        if reply is None or reply.exit_code:
            sandbox.error = "terwayd is away" if reply is None else reply.body.decode()
            self._let_go(sandbox)
            sandbox.addresses = ()
            return False
        result = json.loads(reply.body)
        addresses = tuple(one["address"].partition("/")[0] for one in result["ips"])
        if not (sandbox.exists and sandbox.wanted):
            return True  # nobody waits for it any more
        if sandbox.addresses and sandbox.addresses != addresses:
            was, now = ", ".join(sandbox.addresses), ", ".join(addresses)
            self.broken.append(f"{sandbox.container_id} had {was} and got {now} from a second ADD")
        self._hold(sandbox, addresses)
        sandbox.addresses, sandbox.result = addresses, result
        return True

    def _hold(self, sandbox: Sandbox, addresses: tuple[str, ...]) -> None:
        """Note who has which address now, and begin connections with them."""
        for text in addresses:
            holder = self.given.get(text)
            if holder is not None and holder is not sandbox:
                self.broken.append(
                    f"{text} was given to {sandbox.container_id} while {holder.container_id} has it"
                )
            self.given[text] = sandbox
            address = ip_address(text)
            whose = self.traffic.get(address, sandbox.container_id)
            remembered = any(address in ends for ends in self.node.kernel.connections)
            if remembered and whose != sandbox.container_id:
                self.broken.append(
                    f"{text} was given to {sandbox.container_id} while conntrack has {whose}'s"
                )
            if whose != sandbox.container_id or not remembered:
                self.traffic[address] = sandbox.container_id
                self.node.kernel.connections.append((address, address))

    async def delete(self, sandbox: Sandbox, *, times: int = 1) -> None:
        """Call DEL; several at once, if told so."""
        self._let_go(sandbox)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(times):
                tasks.create_task(self._delete_once(sandbox))

    async def _delete_once(self, sandbox: Sandbox) -> None:
        starts, addresses = self.node.starts, self.addresses_of(sandbox)
        reply = await self._call("DEL", sandbox)
        if reply is not None and reply.exit_code:
            self.broken.append(f"DEL of {sandbox.container_id} failed: {reply.body.decode()}")
        is_postponed = any(self.node.paths.spool.iterdir()) or starts != self.node.starts
        if not is_postponed and self.busy[sandbox.container_id] == 0:
            for one in await self.node.uses_of(addresses):
                self.broken.append(f"after DEL of {sandbox.container_id} there is {one}")

    def addresses_of(self, sandbox: Sandbox) -> tuple[str, ...]:
        """Return what terwayd says that a sandbox has: its ADD may have been cut off."""
        pool = self.node.terwayd.pool if self.node.terwayd else None
        held = (
            [one for one in pool.attachments() if one.key.container_id == sandbox.container_id]
            if pool
            else []
        )
        return tuple(str(ip) for one in held for ip in one.lease.addresses)

    async def check(self, sandbox: Sandbox) -> Reply | None:
        """Call CHECK with the result of ADD."""
        return await self._call("CHECK", sandbox, prevResult=sandbox.result)

    async def collect(self) -> None:
        """Call GC with all sandboxes that the runtime knows."""
        valid = [
            {"containerID": one.container_id, "ifname": "eth0"}
            for one in self.sandboxes.values()
            if one.exists
        ]
        nobody = Sandbox(container_id="", pod="", uid="", netns="")
        await self._call("GC", nobody, **{"cni.dev/valid-attachments": valid})

    async def _call(self, verb: str, sandbox: Sandbox, **conf: object) -> Reply | None:
        request = _request(verb, sandbox, conf)
        self.asking += 1
        self.busy[sandbox.container_id] += 1
        asked_at = asyncio.get_running_loop().time()
        try:
            reply = await self._exchange(verb, request)
        finally:
            self.asking -= 1
            self.busy[sandbox.container_id] -= 1
        took_s = asyncio.get_running_loop().time() - asked_at
        said = "nobody answered" if reply is None else f"{reply.exit_code} {reply.body.decode()}"
        self.record.add(self.node.name, f"{verb} {sandbox.container_id}: {said.strip()}")
        if took_s > ANSWER_S:
            self.broken.append(f"{verb} {sandbox.container_id} was answered after {took_s:.0f} s")
        return reply

    async def _exchange(self, verb: str, request: Request) -> Reply | None:
        asked_at = self.node.moment()
        for _ in range(2):
            if await self.node.served(PLUGIN_PATIENCE_S):
                reply = await self.node.ask(request)
                if reply is not None:
                    return reply
        if verb in ("DEL", "GC"):
            name = f"{asked_at.seconds:020.9f}-{asked_at.boot_id}-{self.record.count('note')}"
            (self.node.paths.spool / name).write_bytes(encode_request(request))
            return Reply(exit_code=0, body=b"")
        return None


def _request(verb: str, sandbox: Sandbox, conf: dict[str, object]) -> Request:
    env = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": sandbox.container_id,
        "CNI_NETNS": sandbox.netns if sandbox.exists else "",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin",
        "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={sandbox.pod};"
        f"K8S_POD_UID={sandbox.uid}",
    }
    if verb == "GC":
        env = {name: env[name] for name in ("CNI_COMMAND", "CNI_PATH")}
    body = {"cniVersion": _VERSION, "name": NETWORK, "type": "terway", **conf}
    return Request(env=env, stdin=json.dumps(body).encode())
