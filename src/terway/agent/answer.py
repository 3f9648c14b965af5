"""From a request to a reply: parse, do, word the answer, write one line about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, assert_never

import msgspec
import structlog

from terway.agent.metrics import Metrics
from terway.agent.spool import Note, Spool
from terway.agent.stopwatch import Stopwatch
from terway.agent.verbs import Verbs
from terway.cni.call import Add, Call, Check, Del, Gc, Status, Version, parse_call
from terway.cni.conf import version_asked
from terway.cni.errors import code_of, error_reply
from terway.cni.protocol import Reply, Request, encode_request, parse_request
from terway.cni.result import encode_result
from terway.cni.version import SUPPORTED
from terway.model.attachment import Attachment, PodRef
from terway.model.errors import BugError, TransientError, UsageError, VpcError
from terway.model.moment import Moment

_log = structlog.get_logger("cni")
_DONE = Reply(exit_code=0, body=b"")


class AddReporter(Protocol):
    """Who tells the pod's owner how an ADD went."""

    def add_succeeded(self, attachment: Attachment, *, elapsed_s: float) -> None:
        """Hear of an ADD that was answered with addresses."""

    def add_failed(self, pod: PodRef, error: VpcError) -> None:
        """Hear of an ADD that failed."""


class Answerer:
    """Answers requests; `clock` gives moments, `now` monotonic seconds."""

    def __init__(
        self,
        verbs: Verbs,
        *,
        spool: Spool,
        metrics: Metrics,
        reporter: AddReporter | None,
        clock: Callable[[], Moment],
        now: Callable[[], float],
    ) -> None:
        self._verbs = verbs
        self._spool = spool
        self._metrics = metrics
        self._reporter = reporter
        self._clock = clock
        self._now = now

    async def answer(self, request: Request) -> Reply:
        """Do what `request` asks and return what the plugin is to print."""
        asked_at = self._clock()
        watch = Stopwatch(self._now)
        facts: dict[str, object] = {"verb": request.env.get("CNI_COMMAND", "")}
        try:
            reply = await self._do(request, asked_at, watch, facts)
        except VpcError as error:
            reply = _refuse(error, request, facts)
        except Exception as error:
            # A defect of ours in one request must not take the other pods' terwayd away.
            _log.exception("cni.defect", **facts)
            reply = _refuse(BugError(f"a defect in terwayd: {error!r}"), request, facts)
        # The runtime waits for the reply, and nobody for the line.
        asyncio.get_running_loop().call_soon(self._write_line, watch, facts, watch.elapsed_s)
        return reply

    async def work_off(self) -> None:
        """Do what the notes in the spool folder ask; a note stays until that has succeeded."""
        try:
            for note in self._spool.read(now=self._clock()):
                await self._work_off_one(note)
        except TransientError as error:
            # The folder is not as it should be: no reason to take terwayd from all pods.
            _log.warning("spool.refused", error=str(error))

    async def _work_off_one(self, note: Note) -> None:
        watch = Stopwatch(self._now)
        try:
            call = parse_note(note)
        except UsageError as error:
            _log.warning("spool.dropped", note=note.path.name, error=str(error))
            self._spool.done(note)
            return
        facts = {"verb": type(call).__name__.upper(), "note": note.path.name, **facts_of(call)}
        try:
            await self._undo(call, note.asked_at, watch, facts)
        except VpcError as error:
            facts["error"] = str(error)
        else:
            self._spool.done(note)
        self._write_line(watch, facts, watch.elapsed_s)

    async def _do(
        self, request: Request, asked_at: Moment, watch: Stopwatch, facts: dict[str, object]
    ) -> Reply:
        call = parse_call(request)
        facts |= facts_of(call)
        match call:
            case Add():
                return await self._add(call, watch, facts)
            case Check():
                await self._verbs.check(call, watch)
                return _DONE
            case Status():
                self._verbs.status()
                return _DONE
            case Version():
                return version_reply(call)
            case Del() | Gc():
                return await self._undo_or_note(call, request, asked_at, watch, facts)
            case _:
                assert_never(call)

    async def _add(self, call: Add, watch: Stopwatch, facts: dict[str, object]) -> Reply:
        if self._verbs.knows(call.key) and not self._spool.is_empty():
            # The container ran before, and the DEL of that run may be among the notes.
            await self.work_off()
        try:
            attachment, result = await self._verbs.add(call, watch)
        except VpcError as error:
            if self._reporter is not None and call.pod is not None:
                self._reporter.add_failed(call.pod, error)
            raise
        facts["addresses"] = [str(address) for address in attachment.lease.addresses]
        facts["eni_id"] = attachment.lease.eni_id
        if self._reporter is not None:
            self._reporter.add_succeeded(attachment, elapsed_s=watch.elapsed_s)
        return Reply(exit_code=0, body=encode_result(result, call.conf.version))

    async def _undo_or_note(
        self,
        call: Del | Gc,
        request: Request,
        asked_at: Moment,
        watch: Stopwatch,
        facts: dict[str, object],
    ) -> Reply:
        try:
            await self._undo(call, asked_at if isinstance(call, Gc) else None, watch, facts)
        except VpcError as error:
            if isinstance(call, Gc):
                raise  # the runtime repeats it, with a fresh list
            # DEL always succeeds: what could not be undone now is undone later.
            self._spool.leave(encode_request(request), now=self._clock())
            facts["postponed"] = str(error)
        return _DONE

    async def _undo(
        self, call: Del | Gc, asked_at: Moment | None, watch: Stopwatch, facts: dict[str, object]
    ) -> None:
        match call:
            case Del():
                gone = await self._verbs.delete(call.key, watch, asked_at=asked_at)
                facts["addresses"] = [str(one) for one in gone.lease.addresses] if gone else []
                facts["eni_id"] = gone.lease.eni_id if gone else ""
            case Gc():
                made_at = asked_at or self._clock()
                facts["undone"] = await self._verbs.collect(call, asked_at=made_at, watch=watch)
            case _:
                assert_never(call)

    def _write_line(self, watch: Stopwatch, facts: dict[str, object], elapsed_s: float) -> None:
        failed = "error" in facts
        verb = str(facts["verb"])
        self._metrics.observe_request(verb, failed=failed, elapsed_s=elapsed_s)
        self._metrics.observe_stages(verb, watch.stages)
        if isinstance(code := facts.get("code"), int):
            self._metrics.observe_refusal(verb, code)
        facts["result"] = "failed" if failed else "postponed" if "postponed" in facts else "done"
        stages = {name: round(seconds, 6) for name, seconds in watch.stages.items()}
        write = _log.warning if failed or "postponed" in facts else _log.info
        write("cni.request", **facts, elapsed_s=round(elapsed_s, 6), stages=stages)


def _refuse(error: VpcError, request: Request, facts: dict[str, object]) -> Reply:
    facts["error"] = str(error)
    facts["code"] = int(code_of(error))
    facts["reason"] = error.code  # the cloud's word for it, or the kernel's, where there is one
    return error_reply(error, version_asked(request.stdin))


def parse_note(note: Note) -> Del | Gc:
    """Return what `note` asks for. Raises UsageError when it is no note of the plugin's."""
    call = parse_call(parse_request(note.body))
    if not isinstance(call, Del | Gc):
        raise UsageError(f"note {note.path.name} asks for neither DEL nor GC")
    return call


def facts_of(call: Call) -> dict[str, object]:
    """Return what the log line says about `call` from the start."""
    match call:
        case Add(key=key, pod=pod):
            return {"attachment": str(key), "pod": str(pod) if pod else ""}
        case Del(key=key) | Check(key=key):
            return {"attachment": str(key)}
        case Gc(conf=conf, valid=valid):
            return {"network": conf.name, "valid": len(valid)}
        case Status() | Version():
            return {}
        case _:
            assert_never(call)


def version_reply(call: Version) -> Reply:
    """Return the answer to VERSION."""
    wire = {"cniVersion": call.version, "supportedVersions": SUPPORTED}
    return Reply(exit_code=0, body=msgspec.json.encode(wire) + b"\n")
