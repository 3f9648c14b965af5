"""NLB: asynchronous jobs: what was asked is done at once, and said to be done later.

Source: OpenAPI NLB 2022-04-30, GetJobStatus.
"""

from __future__ import annotations

from terway.lab.cloud.action import Action, Actions, Answer
from terway.lab.cloud.balancer_records import JobRecord
from terway.lab.cloud.balancer_state import resource_not_found
from terway.lab.cloud.requests import Request
from terway.lab.cloud.world import World


def begin_job(world: World) -> JobRecord:
    """Return a new job, which is done after the cloud's delay."""
    job = JobRecord(id=world.ids.request_id().lower(), done_at=job_end(world))
    world.state.balancing.put(job)
    return job


def job_end(world: World) -> float:
    """Return when a job that begins now is done."""
    return world.now() + world.delays.job_s


class GetJobStatus(Request):
    """The parameters."""

    job_id: str
    client_token: str = ""


def get_job_status(world: World, request: GetJobStatus) -> Answer:
    """Say whether a job is done."""
    job = world.state.balancing.jobs.get(request.job_id)
    if job is None:
        raise resource_not_found("job", request.job_id)
    return {"Status": "Succeeded" if job.done_at <= world.now() else "Processing"}


ACTIONS: Actions = {"GetJobStatus": Action(request=GetJobStatus, run=get_job_status)}
