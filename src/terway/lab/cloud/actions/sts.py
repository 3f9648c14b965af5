"""STS: temporary keys of a role.

Source: OpenAPI STS 2015-04-01, AssumeRole.
"""

from __future__ import annotations

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.refusal import invalid
from terway.lab.cloud.requests import Request
from terway.lab.cloud.world import World, utc_seconds

DURATIONS_S = (900, 43200)


class AssumeRole(Request):
    """The parameters. A policy that narrows the role is not emulated."""

    role_arn: str
    role_session_name: str
    duration_seconds: int = 3600


def assume_role(world: World, request: AssumeRole) -> Answer:
    """Hand out temporary keys of a role."""
    least, most = DURATIONS_S
    if not least <= request.duration_seconds <= most:
        raise invalid("DurationSeconds", f"it is not in {least} to {most}")
    role = request.role_arn.rpartition(":role/")[2]
    key = world.keyring.assume(role, life_s=request.duration_seconds)
    session = f"{request.role_arn}/{request.role_session_name}"
    return {
        "Credentials": {
            "AccessKeyId": key.id,
            "AccessKeySecret": key.secret,
            "SecurityToken": key.security_token,
            "Expiration": utc_seconds(key.expires_at or 0.0),
        },
        "AssumedRoleUser": {
            "Arn": session.replace(":ram:", ":sts:").replace(":role/", ":assumed-role/"),
            "AssumedRoleId": f"{world.place.account_id}:{request.role_session_name}",
        },
    }


ACTIONS: Actions = {"AssumeRole": Action(request=AssumeRole, run=assume_role)}
