"""The oracle can fail: an agent with a mistake in it is found out, and the history shrunk.

Each mistake is one that somebody could make; it is put into the real agent for the test. Where
terwayd has two lines of defence, both must be down before anything is lost: these are pairs.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import terway.agent.limits
import terway.agent.pool
import terway.agent.pool_calls
import terway.agent.reporter
import terway.agent.verbs
import terway.ipam.leases
import terway.ipam.pool
import terway.ipam.reconcile
import terway.ipam.setbacks
import terway.ipam.step
from terway.datapath.plan import plan_detach
from terway.lab.faults.batch import run_safely
from terway.lab.faults.generate import generate
from terway.lab.faults.shrink import shrink
from terway.model.attachment import Attachment
from terway.model.ids import ClientToken
from terway.model.network import Remove, RoutingRule

WITHIN = 240  # histories: the fixed sample


@pytest.fixture
def forgets_to_release(monkeypatch):
    async def release(self, key):
        await self._flushed()

    monkeypatch.setattr(terway.agent.pool.PoolService, "release", release)


@pytest.fixture
def lets_nothing_rest(monkeypatch):
    def release(pool, owner, now):
        return terway.ipam.leases.free(pool, pool.held_by(owner))

    monkeypatch.setattr(terway.ipam.step, "release", release)


@pytest.fixture
def uses_a_token_again(monkeypatch):
    new_token = terway.ipam.pool.Pool.new_token

    def same_token(pool):
        return new_token(pool)[0], ClientToken("always-this-one")

    monkeypatch.setattr(terway.ipam.pool.Pool, "new_token", same_token)


@pytest.fixture
def takes_a_lost_reply_for_a_refusal_and_leaves_orphans(monkeypatch):
    monkeypatch.setattr(terway.ipam.setbacks, "_UNDECIDED", ())
    monkeypatch.setattr(terway.ipam.reconcile, "_collect", lambda pool, detached, now: pool)


@pytest.fixture
def journals_no_attachment(monkeypatch):
    whole = terway.agent.pool.PoolService._with_attachments

    def half(self, batch, event, commands):
        batch = whole(self, batch, event, commands)
        return replace(batch, put=tuple(p for p in batch.put if not isinstance(p, Attachment)))

    monkeypatch.setattr(terway.agent.pool.PoolService, "_with_attachments", half)


@pytest.fixture
def leaves_rules_behind(monkeypatch):
    whole = plan_detach

    def half(desired, actual):
        plan = whole(desired, actual)
        return tuple(
            one
            for one in plan
            if not (isinstance(one, Remove) and isinstance(one.object, RoutingRule))
        )

    monkeypatch.setattr("terway.agent.network.plan_detach", half)


@pytest.fixture
def gives_an_address_twice(monkeypatch):
    acquire = terway.agent.pool.PoolService.acquire

    async def first_lease(self, key, **asked):
        attachment = await acquire(self, key, **asked)
        return replace(attachment, lease=self.attachments()[0].lease)

    monkeypatch.setattr(terway.agent.pool.PoolService, "acquire", first_lease)


@pytest.fixture
def fails_a_second_del(monkeypatch):
    delete = terway.agent.verbs.Verbs.delete

    async def strict(self, key, watch, *, asked_at=None):
        gone = await delete(self, key, watch, asked_at=asked_at)
        assert gone is not None, "nothing to delete"
        return gone

    monkeypatch.setattr(terway.agent.verbs.Verbs, "delete", strict)


@pytest.fixture
def tells_no_pod_its_addresses(monkeypatch):
    async def patch(self, pod, addresses):
        return None

    monkeypatch.setattr(terway.agent.reporter.PodReporter, "_patch", patch)


@pytest.fixture
def follows_no_limits(monkeypatch):
    async def change(self, attachment):
        return None

    monkeypatch.setattr(terway.agent.limits.Limits, "_change", change)


@pytest.fixture
def forgets_other_networks(monkeypatch):
    whole = terway.agent.verbs.Verbs._family
    monkeypatch.setattr(
        terway.agent.verbs.Verbs, "_family", lambda self, owner: whole(self, owner)[:1]
    )


@pytest.mark.parametrize(
    "mistake",
    [
        "forgets_to_release",
        "lets_nothing_rest",
        "uses_a_token_again",
        "takes_a_lost_reply_for_a_refusal_and_leaves_orphans",
        "journals_no_attachment",
        "leaves_rules_behind",
        "gives_an_address_twice",
        "fails_a_second_del",
        "tells_no_pod_its_addresses",
        "follows_no_limits",
        "forgets_other_networks",
    ],
)
def test_a_mistake_in_the_agent_is_found_and_shrunk(mistake, request):
    request.getfixturevalue(mistake)

    found = next((s for s in map(generate, range(WITHIN)) if run_safely(s).failures), None)
    assert found is not None, f"{WITHIN} histories show nothing"
    short = shrink(found, lambda one: bool(run_safely(one).failures), tries=15)

    assert run_safely(short).failures
    assert len(short.events) <= max(8, len(found.events) // 2)
