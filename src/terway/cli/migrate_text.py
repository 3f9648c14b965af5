"""How is a plan of migration shown: steps in their order, each with change, risk and command?"""

from __future__ import annotations

from collections.abc import Iterator

from terway.cli.migrate_plan import MigrationPlan, State, Step
from terway.cli.table import counted, wrapped

_SIGNS = {State.TODO: " ", State.DONE: "x", State.BLOCKED: "!"}


def plan_lines(plan: MigrationPlan) -> Iterator[str]:
    """Yield the lines of a plan, 80 columns wide."""
    for number, step in enumerate(plan.steps, start=1):
        yield from _step_lines(number, step)
    for text in plan.unread:
        yield from wrapped(f"not read: {text}")
    if plan.unread and not plan.steps:
        yield "no plan without it; nothing was changed"
        return
    todo = sum(one.state is State.TODO for one in plan.steps)
    blocked = sum(one.state is State.BLOCKED for one in plan.steps)
    yield f"{counted(todo, 'step')} to do, {blocked} blocked; nothing was changed"


def _step_lines(number: int, step: Step) -> Iterator[str]:
    yield from wrapped(f"{number} [{_SIGNS[step.state]}] {step.title}")
    for text in step.changes:
        yield from wrapped(text, indent=6)
    if step.risk:
        yield from wrapped(f"risk: {step.risk}", indent=6)
    if step.command:
        yield from wrapped(f"$ {step.command}", indent=6)
