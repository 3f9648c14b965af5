"""Blocking work runs in threads, and is finished whatever happens to its caller."""

import asyncio
import threading

import pytest

from terway.linux.workers import Workers


@pytest.fixture
def workers():
    made = Workers(threads=1)
    yield made
    made.close()


async def test_work_runs_in_another_thread_and_its_result_comes_back(workers):
    assert await workers.run(threading.get_ident) != threading.get_ident()


async def test_an_error_of_the_work_is_the_callers_error(workers):
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits_until_its_work_is_done(workers, fails):
    begun, may_end = asyncio.Event(), threading.Event()
    loop, done = asyncio.get_running_loop(), []

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait()
        done.append(True)
        if fails:
            raise ValueError("nobody will see this")

    caller = asyncio.create_task(workers.run(work))
    await begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()

    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == [True]
