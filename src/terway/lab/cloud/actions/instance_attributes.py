"""ECS: what of a running instance can be changed. Here, the size of its frames.

Source: OpenAPI ECS 2014-05-26, ModifyInstanceAttribute; help page "Jumbo frames": 8500 bytes.
"""

from __future__ import annotations

from dataclasses import replace

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.requests import Request
from terway.lab.cloud.world import World


class ModifyInstanceAttribute(Request):
    """The parameters. One that is absent changes nothing."""

    instance_id: str
    enable_jumbo_frame: bool | None = None


def modify_instance_attribute(world: World, request: ModifyInstanceAttribute) -> Answer:
    """Change an instance. All its ENIs carry large frames, or none."""
    instance = world.state.instance(request.instance_id)
    if request.enable_jumbo_frame is not None:
        world.state.put(replace(instance, has_jumbo_frames=request.enable_jumbo_frame))
    return {}


ACTIONS: Actions = {
    "ModifyInstanceAttribute": Action(
        request=ModifyInstanceAttribute, run=modify_instance_attribute
    )
}
