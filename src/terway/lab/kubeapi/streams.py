"""How does an answer go out that takes its time? Watches and logs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

import msgspec
from aiohttp import web

from terway.lab.kubeapi.errors import expired
from terway.lab.kubeapi.faults import Effect, Fault
from terway.lab.kubeapi.listing import parse_version
from terway.lab.kubeapi.logs import LogSource, find_log, parse_log_options, read_log
from terway.lab.kubeapi.negotiation import Form, choose_form
from terway.lab.kubeapi.objects import is_pod_finished, is_terminating
from terway.lab.kubeapi.requests import ApiRequest
from terway.lab.kubeapi.resources import POD
from terway.lab.kubeapi.selectors import parse_selector
from terway.lab.kubeapi.state import ClusterState
from terway.lab.kubeapi.verbs import table_of
from terway.lab.kubeapi.watching import (
    BOOKMARK,
    ERROR,
    Closing,
    Frame,
    WatchOptions,
    error_frame,
    watch,
)

_TIMEOUT_S = 1800.0


def _watch_options(http: web.Request, request: ApiRequest) -> WatchOptions:
    query = http.query
    sends_initial = query.get("sendInitialEvents") in ("true", "1")
    since = parse_version(query.get("resourceVersion", ""))
    timeout = query.get("timeoutSeconds", "")
    return WatchOptions(
        resource=request.resource,
        since=None if sends_initial or not since else since,
        namespace=request.namespace,
        matches=parse_selector(
            request.resource,
            labels=query.get("labelSelector", ""),
            fields=query.get("fieldSelector", "") or _by_name(request),
        ),
        bookmarks=query.get("allowWatchBookmarks") in ("true", "1"),
        marks_initial_end=sends_initial,
        timeout_s=float(timeout) if timeout.isdigit() and int(timeout) else _TIMEOUT_S,
    )


def _by_name(request: ApiRequest) -> str:
    return f"metadata.name={request.name}" if request.name else ""


async def answer_watch(
    state: ClusterState,
    http: web.Request,
    request: ApiRequest,
    faults: tuple[Fault, ...],
    closing: Closing,
) -> web.StreamResponse:
    """Send a watch's events until it ends. ApiError before the first byte only."""
    options = _watch_options(http, request)
    form = choose_form(http.headers.get("Accept", ""))
    answer = web.StreamResponse(headers={"Content-Type": "application/json"})
    answer.enable_chunked_encoding()
    await answer.prepare(http)
    with suppress(ConnectionError):  # the watcher has gone: nothing is wrong here
        async with aclosing(watch(state.store, options, closing)) as frames:
            async for frame in _struck(frames, faults):
                await answer.write(_line(state, http, request, frame, form))
        await answer.write_eof()
    return answer


async def _struck(frames: AsyncIterator[Frame], faults: tuple[Fault, ...]) -> AsyncIterator[Frame]:
    if any(fault.effect is Effect.EXPIRE_EVENT for fault in faults):
        yield error_frame(expired("injected fault: too old resource version"))
        return
    cuts = [fault.events for fault in faults if fault.effect is Effect.CUT_WATCH]
    left = min(cuts) if cuts else None
    if left == 0:
        return
    async for frame in frames:
        yield frame
        if left is not None:
            left -= 1
            if left == 0:
                return


def _line(
    state: ClusterState, http: web.Request, request: ApiRequest, frame: Frame, form: Form
) -> bytes:
    body = frame.stored.json
    if form.table_version and frame.type not in (BOOKMARK, ERROR):
        meta = {"resourceVersion": frame.stored.object["metadata"]["resourceVersion"]}
        objects = [frame.stored.object]
        body = msgspec.json.encode(table_of(state, http, request, objects, form=form, meta=meta))
    return b'{"type":"' + frame.type.encode() + b'","object":' + body + b"}\n"


async def answer_log(
    state: ClusterState, http: web.Request, request: ApiRequest, source: LogSource
) -> web.StreamResponse:
    """Send a container's log. ApiError 400 or 404 where there is none."""
    options = parse_log_options(http.query)
    pod = state.get(POD, request.name, request.namespace).object
    path = find_log(source, pod, options)
    answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await answer.prepare(http)

    def is_over() -> bool:
        now = state.find(POD, request.name, request.namespace)
        return now is None or is_pod_finished(now) or is_terminating(now)

    with suppress(ConnectionError):  # as above
        async with aclosing(read_log(path, options, is_over=is_over)) as chunks:
            async for chunk in chunks:
                await answer.write(chunk)
        await answer.write_eof()
    return answer
