"""How is a case answered in packets? State by state: it is shown in a lab, then all connect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from terway.lab.policy.cases import LabCase, State
from terway.lab.policy.ends import Ends
from terway.lab.policy.prober import Attempt, Outcome, try_all
from terway.lab.policy.stage import Stage
from terway.model.errors import UsageError, VpcError
from terway.policy.flow import Flow
from terway.policy.reading.cases import Step, answer_step

_NOT_TRANSLATED = (
    "a pod with an ENI of its own is answered past its node, which would have to translate the "
    "service's address back: take --mode veth"
)
Decide = Callable[[Flow], bool]


async def run_case(stage: Stage, case: LabCase) -> dict[str, Any]:
    """Return the answers of a case, for JSON; what cannot be had is an error at its probe."""
    stage.begin()
    return {
        "name": case.case.name,
        "states": [await _answer(stage, state) for state in case.states],
    }


async def _answer(stage: Stage, state: State) -> dict[str, object]:
    outcomes: Mapping[Flow, Outcome] = {}
    trouble = state.step.error
    if not trouble:
        try:
            outcomes = await _try_all(stage, state)
        except VpcError as error:
            trouble = str(error)
        except ExceptionGroup as group:
            trouble = str(_cause(group))

    def decider(step: Step) -> Decide:
        return lambda flow: _verdict(outcomes[flow])

    if trouble:
        return answer_step(state.step, lambda step: _refuse(trouble))
    return answer_step(state.step, decider)


def _refuse(trouble: str) -> Decide:
    raise UsageError(trouble)


def _verdict(outcome: Outcome) -> bool:
    if outcome.error:
        raise UsageError(outcome.error)
    return outcome.is_answered


def _cause(group: BaseExceptionGroup[Exception]) -> VpcError:
    """Return what is in a group of errors that are ours; others go on."""
    ours, others = group.split(VpcError)
    if others is not None or ours is None:
        raise group
    first = ours.exceptions[0]
    return _cause(first) if isinstance(first, BaseExceptionGroup) else first


async def _try_all(stage: Stage, state: State) -> dict[Flow, Outcome]:
    ends = await stage.show(state)
    flows = tuple(dict.fromkeys(state.step.flows()))
    wanted = {flow: _attempt(stage, ends, state, flow) for flow in flows}
    attempts = [one for one in wanted.values() if isinstance(one, Attempt)]
    outcomes = iter(await asyncio.to_thread(try_all, attempts))
    return {
        flow: next(outcomes) if isinstance(one, Attempt) else one for flow, one in wanted.items()
    }


def _attempt(stage: Stage, ends: Ends, state: State, flow: Flow) -> Attempt | Outcome:
    if flow in state.troubles:
        return Outcome(error=state.troubles[flow])
    via = state.services.get(flow)
    if via and stage.is_exclusive:
        return Outcome(error=_NOT_TRANSLATED)
    try:
        return ends.attempt(flow, via)
    except UsageError as error:
        return Outcome(error=str(error))
