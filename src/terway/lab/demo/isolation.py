"""What do policies do to packets, and how does one see it? Connections are tried under them.

Each is tried from the pod or node itself; beside it stands what the flow log of the destination's
node says, and that the kernel there was read back and compared.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import IO, Any

from terway.cli.flows_text import line_words
from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.kube.resource import NETWORK_POLICIES
from terway.lab.demo.measure import Place, Words, node_place, pod_place, ready_pods, tool_at
from terway.lab.demo.outside import answer_of
from terway.lab.demo.summary import align, shorten
from terway.lab.policy.inforce import wait_in_force
from terway.lab.policy.world import LabWorld, sockets_of
from terway.lab.world.client import LabClient
from terway.model.address import Family
from terway.model.errors import TransientError
from terway.policy.records.recorded import RecordedFlow, Remark, read_line

Json = Mapping[str, Any]

NAMESPACE = "shop"
_NAMES = ("default-deny", "web-from-client")
_DROPPED_S = 1  # a packet that is dropped is never answered
_ANSWERED_S = 30
_LOG_S = 60
_NAME_WIDTH = 20
_CLI = (sys.executable, "-u", "-m", "terway.cli")
# `nsenter` passes no signals on: what it starts asks to be killed when it goes.
_DYING = ("setpriv", "--pdeathsig", "KILL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A connection that is to be tried, and whether policies allow it."""

    source: Place
    target: Place
    family: Family
    is_allowed: bool

    def try_it(self, words: Words) -> bool:
        """Return whether an answer came."""
        seconds = _ANSWERED_S if self.is_allowed else _DROPPED_S
        address = self.target.address(self.family) or ""
        command = [*tool_at(self.source, words), "whoami", address, str(seconds)]
        return answer_of(command, within_s=2 * seconds) is not None


def attempts_of(status: Json, families: Sequence[Family]) -> tuple[Attempt, ...]:
    """Return whom to try: a client, another web server, a node that is not the server's. Pure."""
    target, *others = map(pod_place, ready_pods(status, "web-"))
    client = pod_place(ready_pods(status, "client-")[0])
    elsewhere = next(one for one in status["nodes"] if one["name"] != target.node)
    sources = ((client, True), (others[-1], False), (node_place(elsewhere), False))
    return tuple(
        Attempt(source=source, target=target, family=family, is_allowed=is_allowed)
        for source, is_allowed in sources
        for family in families
    )


@contextmanager
def policies_in_force(client: LabClient) -> Iterator[None]:
    """Have the demo's policies in force on all nodes for the block."""
    client.request("POST", "/apply", files("terway.lab.demo").joinpath("policies.yaml").read_text())
    asyncio.run(_in_force(client, ()))
    try:
        yield
    finally:
        asyncio.run(_in_force(client, _NAMES))


async def _in_force(client: LabClient, gone: Sequence[str]) -> None:
    """Delete the policies that are to be gone, and return when all nodes have what is left."""
    sockets = sockets_of(await LabWorld(client).all_nodes())
    async with KubeClient(Connection(server=f"unix://{client.paths.api_socket}")) as kube:
        for name in gone:
            await kube.delete(NETWORK_POLICIES, name, namespace=NAMESPACE)
        await wait_in_force(kube, sockets)


def try_all(attempts: Sequence[Attempt], words: Words) -> tuple[RecordedFlow, ...]:
    """Try all at once; return what the flow log says of each. TransientError: not as allowed."""
    target = attempts[0].target
    with _flow_log(target, words) as log, ThreadPoolExecutor(len(attempts)) as threads:
        answered = tuple(threads.map(lambda one: one.try_it(words), attempts))
        for one, was_answered in zip(attempts, answered, strict=True):
            if was_answered is not one.is_allowed:
                what = "was answered" if was_answered else "was not answered"
                raise TransientError(f"{one.source.target} to {one.target.target}: {what}")
        return tuple(_records(attempts, log))


@contextmanager
def _flow_log(target: Place, words: Words) -> Iterator[IO[str]]:
    """Follow the flow log of a pod's node; enter when nothing can be missed."""
    asked = ("flows", "--json", "--to", target.target, "--for", f"{_LOG_S}s")
    command = [*words(target.node), *_DYING, *_CLI, *asked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not isinstance(read_line(process.stdout.readline()), Remark):
                raise TransientError(f"{target.node}: the flow log does not say where it begins")
            yield process.stdout
        finally:
            process.terminate()


def _records(attempts: Sequence[Attempt], log: IO[str]) -> Iterator[RecordedFlow]:
    """Return the record of each attempt. Raises TransientError when one does not come."""
    found: dict[tuple[str, str], RecordedFlow] = {}
    wanted = [_ends(one) for one in attempts]
    while missing := [ends for ends in wanted if ends not in found]:
        text = log.readline()
        if not text:
            raise TransientError(f"the flow log does not tell of {' to '.join(missing[0])}")
        line = read_line(text)
        if isinstance(line, RecordedFlow):
            found[str(line.source.address), str(line.destination.address)] = line
    return (found[ends] for ends in wanted)


def _ends(attempt: Attempt) -> tuple[str, str]:
    family = attempt.family
    return attempt.source.address(family) or "", attempt.target.address(family) or ""


def verify(target: Place, words: Words) -> list[str]:
    """Return what `terway-cli policy verify` says on a pod's node. TransientError: a difference."""
    command = [*words(target.node), *_CLI, "policy", "verify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise TransientError(f"policy verify on {target.node}: {done.stdout}{done.stderr}")
    return done.stdout.splitlines()


def attempt_table(attempts: Sequence[Attempt], found: Sequence[RecordedFlow]) -> list[str]:
    """Return a row for each attempt: its ends, what came of it, and who decided."""
    rows = [("FROM", "TO", "FAMILY", "PACKETS", "POLICY")]
    for one, flow in zip(attempts, found, strict=True):
        deciders = (side.policy.name for side in flow.sides if side.policy is not None)
        rows.append(
            (
                shorten(one.source.target.removeprefix(f"{NAMESPACE}/"), _NAME_WIDTH),
                shorten(one.target.target.removeprefix(f"{NAMESPACE}/"), _NAME_WIDTH),
                f"IPv{one.family.value}",
                "answered" if one.is_allowed else "dropped",
                next(deciders, ""),
            )
        )
    return align(rows)


def log_lines(found: Sequence[RecordedFlow], family: Family) -> list[str]:
    """Return what `terway-cli flows` prints of the first that was allowed, and that was denied."""
    of_family = [one for one in found if one.destination.address.version == family.value]
    shown = (next(one for one in of_family if one.is_allowed is kind) for kind in (True, False))
    return [line for one in shown for line in line_words(one)]
