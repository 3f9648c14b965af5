"""How does a write go through the webhooks?

mutating    one after another, each sees what those before it made; once more those with
            reinvocationPolicy IfNeeded after which another changed the object
validating  all at once, of the object as it would be stored
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from terway.lab.kubeapi.errors import ApiError, bad_request
from terway.lab.kubeapi.names import new_uid
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.patch import json_patch
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.webhooks.calling import call_webhook
from terway.lab.kubeapi.webhooks.conditions import meets_conditions
from terway.lab.kubeapi.webhooks.hooks import Hook, Match, has_hooks, matches_of
from terway.lab.kubeapi.webhooks.messages import (
    CallFailedError,
    Verdict,
    admission_review,
    failure_of,
    read_verdict,
    refusal_of,
)
from terway.lab.kubeapi.webhooks.reviews import NeedsReviewError, Phase, Review, Trial
from terway.lab.kubeapi.webhooks.targets import target_of

if TYPE_CHECKING:
    from terway.lab.kubeapi.state import ClusterState

Result = TypeVar("Result")
_ATTEMPTS = 20  # of a write that others keep changing under the webhooks' hands
_ALLOWED = Verdict(patch=[], refusal=None, warnings=())


async def write_reviewed(
    state: ClusterState,
    write: Callable[[Trial | None], Result],
    *,
    user: Identity,
    warnings: list[str] | None = None,
) -> Result:
    """Carry out a write as the webhooks let it. ApiError when one refuses, or must be and cannot.

    `write` is a verb of the state with the trial in its options; it is called until nothing is
    left to ask. Cancelling leaves nothing written. `warnings` collects what webhooks warn of.
    """
    if not has_hooks(state.store):
        return write(None)
    trial = Trial(user=user, now=state.now_text(), seed=state.rng.getrandbits(64))
    for _ in range(_ATTEMPTS):
        try:
            result = write(trial)
        except NeedsReviewError as needed:
            review = needed.review
            trial.answers[review.key] = await _answer(state, review, trial)
            continue
        if warnings is not None:
            warnings.extend(trial.warnings)
        return result
    raise ApiError(409, "Conflict", "the object keeps changing while webhooks look at it")


async def _answer(state: ClusterState, review: Review, trial: Trial) -> Object | None:
    matches = tuple(matches_of(state.store, state.table, review))
    if review.phase is Phase.MUTATE:
        return await _mutate(state, review, matches, trial)
    await _judge(state, review, matches, trial)
    return review.object


async def _judge(
    state: ClusterState, review: Review, matches: tuple[Match, ...], trial: Trial
) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            for match in matches:
                tasks.create_task(_ask(state, review, match, trial))
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # one refusal is enough for the client


async def _mutate(
    state: ClusterState, review: Review, matches: tuple[Match, ...], trial: Trial
) -> Object | None:
    changed_by = -1  # the last webhook that changed anything
    for index, match in enumerate(matches):
        after = await _ask(state, review, match, trial)
        if after.object != review.object:
            changed_by, review = index, after
    for index, match in enumerate(matches):
        if match.hook.can_run_again and index < changed_by:
            review = await _ask(state, review, match, trial)
    return review.object


async def _ask(state: ClusterState, review: Review, match: Match, trial: Trial) -> Review:
    """Return the review after one webhook; ApiError when it refuses."""
    hook = match.hook
    if not meets_conditions(review, match, trial.user):
        return review
    if review.dry_run and hook.spec["sideEffects"] not in ("None", "NoneOnDryRun"):
        raise bad_request(f'admission webhook "{hook.name}" does not support dry run')
    verdict = await _call(state, review, match, trial)
    trial.warnings.extend(one for one in verdict.warnings if one not in trial.warnings)
    if verdict.refusal is not None:
        raise refusal_of(hook.name, verdict.refusal)
    if not verdict.patch or review.phase is Phase.VALIDATE or review.object is None:
        return review
    return replace(review, object=_patched(hook, review.object, verdict))


async def _call(state: ClusterState, review: Review, match: Match, trial: Trial) -> Verdict:
    hook = match.hook
    uid = new_uid(state.rng)
    timeout_s = int(hook.spec["timeoutSeconds"])
    try:
        target = target_of(state.store, hook.spec["clientConfig"], timeout_s=timeout_s)
        body = admission_review(review, match, trial.user, uid)
        answer = await call_webhook(target, body, dial=state.dial_webhook, timeout_s=timeout_s)
        return read_verdict(answer, uid)
    except CallFailedError as error:
        if hook.is_ignorable:
            return _ALLOWED
        raise failure_of(hook.name, str(error)) from error


def _patched(hook: Hook, obj: Object, verdict: Verdict) -> Object:
    try:
        patched: Object = json_patch(obj, verdict.patch)
    except ApiError as error:
        if hook.is_ignorable:
            return obj
        raise failure_of(hook.name, error.message) from error
    # A rule may name another version of the kind: what comes back is the one that was written.
    return {**patched, "apiVersion": obj.get("apiVersion", ""), "kind": obj.get("kind", "")}
