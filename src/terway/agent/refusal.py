"""Why did terwayd not start? Said at the node, and left in a file for tools that find it down.

error ──► event ConfigError at the Node     (what a person must mend)
   └────► <run dir>/last_error              (whatever ended it; gone once terwayd serves)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import structlog

from terway.kube.client import KubeClient
from terway.kube.events import WARNING, EventRecorder, node_reference
from terway.model.errors import UsageError, VpcError
from terway.model.ids import NodeName

# The end does not wait longer for the API server: it is the next start that may mend things.
_PATIENCE_S = 0.5

_log = structlog.get_logger("terwayd")


class LastError:
    """The file with what ended terwayd. It never stands in the way of ending, or of serving."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write down the error that ends the block; it goes on its way."""
        try:
            yield
        except Exception as error:
            found = known_errors(error) or (f"{type(error).__name__}: {error}",)
            self._write("; ".join(map(str, found)))
            raise

    def forget(self) -> None:
        """Remove what an earlier terwayd left: this one serves."""
        with suppress(OSError):
            self._path.unlink()

    def _write(self, text: str) -> None:
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text(f"{text}\n")
            draft.rename(self._path)
        except OSError as error:
            _log.warning("terwayd.last_error_not_kept", path=str(self._path), error=str(error))


@asynccontextmanager
async def told_at_node(client: KubeClient | None, node: NodeName) -> AsyncIterator[None]:
    """Tell the node's readers what a person must mend, when that ends the block."""
    try:
        yield
    except (UsageError, BaseExceptionGroup) as error:
        found = [one for one in known_errors(error) if isinstance(one, UsageError)]
        if client is not None and found:
            await _tell(client, node, "; ".join(map(str, found)))
        raise


def known_errors(error: BaseException) -> tuple[VpcError, ...]:
    """Return the errors of the known kind, however deep task groups have nested them."""
    if isinstance(error, BaseExceptionGroup):
        return tuple(one for inner in error.exceptions for one in known_errors(inner))
    return (error,) if isinstance(error, VpcError) else ()


async def _tell(client: KubeClient, node: NodeName, text: str) -> None:
    """Record the event, if the API server is there to hear it."""
    events = EventRecorder(client, component="terwayd", host=node, clock=time.time)
    message = f"terwayd cannot start: {text}"
    events.record(node_reference(node, node), WARNING, "ConfigError", message)
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            await events.flush()
