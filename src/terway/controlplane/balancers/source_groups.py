"""How does a security group of a Service come and go? By ECS, as any other."""

from __future__ import annotations

from terway.cloud.source_groups import SourceGroupClient
from terway.controlplane.balancers.finding import owner_tags
from terway.controlplane.balancers.job import Job
from terway.loadbalancer import steps as to

SourceStep = to.CreateSourceGroup | to.ChangeSourceGroup | to.DeleteSourceGroup


class SourceGroupDoer:
    """Does steps at ECS."""

    def __init__(self, client: SourceGroupClient) -> None:
        self._client = client

    async def do(self, step: SourceStep, job: Job) -> None:
        """Do a step. Raises as the client does."""
        match step:
            case to.CreateSourceGroup(name=name, rules=rules):
                tags = owner_tags(job.wanted)
                with job.token("sources") as token:
                    made = await self._client.create(job.vpc_id, name=name, tags=tags, token=token)
                await self._client.add_rules(made, rules)
            case to.ChangeSourceGroup(group_id=group_id):
                await self._client.add_rules(group_id, step.add)
                await self._client.remove_rules(group_id, step.remove)
            case to.DeleteSourceGroup(group_id=group_id):
                await self._client.delete(group_id)
