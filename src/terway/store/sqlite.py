"""The journal on disk, for an event loop: one thread writes, and one flush serves many writers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeAlias

from terway.store.file import JournalFile
from terway.store.records import Batch, Journal, StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    batch: Batch
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    done: asyncio.Future[Journal]


_Job: TypeAlias = _Write | _Load | None  # None ends the thread


@contextmanager
def open_store(path: Path) -> Iterator[SqliteStore]:
    """Open the journal at `path`, or create it; on the way out, write what is queued and close.

    Raises StoreError when the file is damaged, of a newer version or of another program.
    """
    file = JournalFile(path)
    store = SqliteStore(file)
    thread = threading.Thread(target=store.serve, name="store", daemon=True)
    thread.start()
    try:
        yield store
    finally:
        store.stop()
        thread.join()
        file.close()


class SqliteStore:
    """The journal. Writes become durable in the order in which `write` was called."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._jobs: SimpleQueue[_Job] = SimpleQueue()

    def write(self, batch: Batch) -> Awaitable[None]:
        """Queue `batch` at once, behind all earlier ones; done when it is on the disk.

        Fails with StoreError, and leaves the batch out, when it contradicts another record (an
        address that another attachment has) or the disk refuses it. Cancelling the wait does not
        take the batch back.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Write(batch=batch, done=done))
        return done

    async def load(self) -> Journal:
        """Return everything, with all writes that were queued before."""
        done: asyncio.Future[Journal] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Load(done=done))
        return await done

    def stop(self) -> None:
        """Let `serve` return when it has done what is queued."""
        self._jobs.put(None)

    def serve(self) -> None:
        """Do what is queued until told to stop; a thread's whole life."""
        while True:
            jobs = self._next_jobs()
            self._write_all([job for job in jobs if isinstance(job, _Write)])
            for job in jobs:
                if isinstance(job, _Load):
                    self._load(job)
            if None in jobs:
                return

    def _next_jobs(self) -> Sequence[_Job]:
        """Wait for a job, and return it with all that are queued by then, up to a load."""
        jobs = [self._jobs.get()]
        # A load ends the group, so that it sees nothing that was queued after it.
        while isinstance(jobs[-1], _Write):
            try:
                jobs.append(self._jobs.get_nowait())
            except Empty:
                break
        return jobs

    def _write_all(self, jobs: Sequence[_Write]) -> None:
        if not jobs:
            return
        try:
            verdicts = self._file.apply(job.batch for job in jobs)
        except StoreError as error:
            verdicts = [error] * len(jobs)
        # One wake-up of the loop for the whole group.
        _call(jobs[0].done, lambda: _settle_all(jobs, verdicts))

    def _load(self, job: _Load) -> None:
        try:
            journal = self._file.load()
        except StoreError as error:
            refusal = error
            _call(job.done, lambda: _fail(job.done, refusal))
        else:
            _call(job.done, lambda: _succeed(job.done, journal))


def _call(future: asyncio.Future[None] | asyncio.Future[Journal], do: Callable[[], None]) -> None:
    future.get_loop().call_soon_threadsafe(do)


def _settle_all(jobs: Sequence[_Write], verdicts: Sequence[StoreError | None]) -> None:
    for job, verdict in zip(jobs, verdicts, strict=True):
        if job.done.cancelled():
            continue
        if verdict is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(verdict)


def _fail(done: asyncio.Future[Journal], error: StoreError) -> None:
    if not done.cancelled():
        done.set_exception(error)


def _succeed(done: asyncio.Future[Journal], journal: Journal) -> None:
    if not done.cancelled():
        done.set_result(journal)
