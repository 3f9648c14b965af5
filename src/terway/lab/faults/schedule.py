"""What is a history before it runs? A small world, and events on it: values, and their YAML."""

from __future__ import annotations

import msgspec
import yaml

from terway.lab.faults.events import WORKLOAD, Event
from terway.model.errors import UsageError


class Shape(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The world before anything happens. `pod_range` is the vSwitch that pods' ENIs are in.

    With `exclusive` each pod has an ENI of its own; with `prefixes`, pods that share ENIs have
    addresses of as many prefixes.
    """

    nodes: int = 1
    dual: bool = True
    instance_type: str = "ecs.g7.xlarge"
    max_enis: int = 3
    per_eni: int = 6
    min_free: int = 0
    max_free: int = 5
    pod_range: str = "192.168.32.0/24"
    exclusive: bool = False
    prefixes: int = 0


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One history. `seed` is that of everything in the world that is left to chance."""

    seed: int
    length_s: float
    shape: Shape = Shape()
    events: tuple[Event, ...] = ()

    @property
    def faults(self) -> tuple[Event, ...]:
        """Return the events that are nobody's work."""
        return tuple(one for one in self.events if not isinstance(one, WORKLOAD))


def dump_schedule(schedule: Schedule) -> str:
    """Return `schedule` as YAML, an event a line."""
    tree = msgspec.to_builtins(schedule)
    events = tree.pop("events")
    lines = [yaml.safe_dump(tree, sort_keys=False), "events:\n"]
    lines += (f"- {_flow(event)}\n" for event in events)
    return "".join(lines) if events else f"{lines[0]}events: []\n"


def _flow(event: object) -> str:
    text = yaml.safe_dump(event, default_flow_style=True, sort_keys=False, width=10_000)
    return str(text).strip()


def parse_schedule(text: str) -> Schedule:
    """Return the schedule in `text`. Raises UsageError with the path of what is wrong."""
    try:
        return msgspec.convert(yaml.safe_load(text), Schedule)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise UsageError(f"no schedule of faults: {error}", field="schedule") from error
