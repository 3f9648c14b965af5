"""What did a container write? The log subresource of pods.

The files belong to the kubelets; where they are is asked of a `LogSource`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from terway.lab.kubeapi.errors import ApiError, bad_request
from terway.lab.kubeapi.objects import Object, name_of, namespace_of, read_path, uid_of

_CHUNK_BYTES = 64 * 1024
_POLL_S = 0.1  # a log file has no other way to say that it grew


class LogSource(Protocol):
    """Knows where the containers of the lab's nodes log to."""

    def log_path(
        self, *, node: str, namespace: str, pod: str, uid: str, container: str, previous: bool
    ) -> Path | None:
        """Return the file with the container's output as it wrote it, None where there is none.

        `previous` asks for that of the container's run before the present one.
        """
        ...


class NoLogs:
    """The LogSource of a cluster without nodes."""

    def log_path(
        self, *, node: str, namespace: str, pod: str, uid: str, container: str, previous: bool
    ) -> Path | None:
        """Return None: nothing ever ran."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What part of a log is wanted."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None


def parse_log_options(query: Mapping[str, str]) -> LogOptions:
    """Return the options in a query. ApiError 400 for nonsense."""

    def number(name: str) -> int | None:
        text = query.get(name, "")
        if text and not text.isdigit():
            raise bad_request(f'invalid {name}: "{text}"')
        return int(text) if text else None

    return LogOptions(
        container=query.get("container", ""),
        follow=query.get("follow") in ("true", "1"),
        previous=query.get("previous") in ("true", "1"),
        tail_lines=number("tailLines"),
        limit_bytes=number("limitBytes"),
    )


def choose_container(pod: Object, wanted: str) -> str:
    """Return the container whose log is meant. ApiError 400 if that is not clear."""
    names = [one["name"] for one in read_path(pod, "spec.containers", ())]
    init = [one["name"] for one in read_path(pod, "spec.initContainers", ())]
    if not wanted:
        if len(names) == 1:
            return str(names[0])
        raise bad_request(
            f"a container name must be specified for pod {name_of(pod)}, choose one of: "
            f"[{' '.join(names)}]"
            + (f" or one of the init containers: [{' '.join(init)}]" * bool(init))
        )
    if wanted not in (*names, *init):
        raise bad_request(f"container {wanted} is not valid for pod {name_of(pod)}")
    return wanted


def find_log(source: LogSource, pod: Object, options: LogOptions) -> Path:
    """Return the log file. ApiError 400 while there is none, with what the container waits for."""
    container = choose_container(pod, options.container)
    node = read_path(pod, "spec.nodeName", "")
    path = source.log_path(
        node=node,
        namespace=namespace_of(pod),
        pod=name_of(pod),
        uid=uid_of(pod),
        container=container,
        previous=options.previous,
    )
    if path is not None and path.exists():
        return path
    if options.previous:
        raise bad_request(
            f'previous terminated container "{container}" in pod "{name_of(pod)}" not found'
        )
    if not node:
        raise bad_request(f'pod "{name_of(pod)}" is not assigned to a node yet')
    why = _waiting_reason(pod, container)
    raise ApiError(
        400,
        "BadRequest",
        f'container "{container}" in pod "{name_of(pod)}" is waiting to start: {why}',
    )


def _waiting_reason(pod: Object, container: str) -> str:
    for held in read_path(pod, "status.containerStatuses", ()):
        if held.get("name") == container:
            return str(read_path(held, "state.waiting.reason", "ContainerCreating"))
    return "ContainerCreating"


async def read_log(
    path: Path, options: LogOptions, *, is_over: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Yield the log; when following, until `is_over` says that nobody writes any more."""
    left = options.limit_bytes
    with path.open("rb") as file:
        if options.tail_lines is not None:
            file.seek(_tail_offset(path, options.tail_lines))
        while left is None or left > 0:
            over = is_over()  # asked before reading: what was written until then is read
            chunk = file.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
            if chunk:
                left = None if left is None else left - len(chunk)
                yield chunk
            elif not options.follow or over:
                return
            else:
                await asyncio.sleep(_POLL_S)


def _tail_offset(path: Path, lines: int) -> int:
    if lines == 0:
        return path.stat().st_size
    starts: deque[int] = deque(maxlen=lines)
    offset = 0
    with path.open("rb") as file:
        for line in file:
            starts.append(offset)
            offset += len(line)
    return starts[0] if starts else 0
