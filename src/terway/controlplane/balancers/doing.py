"""How is a step done? By the calls of its product."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terway.cloud.nlb import NlbClient
from terway.cloud.nlb_groups import SERVERS_PER_CALL
from terway.cloud.slb import SlbClient
from terway.controlplane.balancers.finding import owner_tags
from terway.controlplane.balancers.job import Job
from terway.controlplane.balancers.source_groups import SourceGroupDoer
from terway.loadbalancer import steps as to
from terway.model.address import IPNetwork
from terway.model.balancer import AccessListId, Backend, JobId
from terway.model.errors import BugError


class ClbDoer:
    """Does steps at CLB."""

    def __init__(self, client: SlbClient) -> None:
        self._client = client

    async def do(self, step: to.Step, job: Job) -> None:
        """Do a step. Raises as the client does."""
        client = self._client
        match step:
            case to.CreateInstance(wish=wish):
                with job.token("clb") as token:
                    await client.create_instance(wish, token=token)
            case to.Rename(balancer_id=balancer_id, name=name):
                await client.rename(balancer_id, name)
            case to.SetSpec(balancer_id=balancer_id, spec=spec):
                await client.set_spec(balancer_id, spec)
            case to.Protect(balancer_id=balancer_id):
                await client.protect(
                    balancer_id, from_deletion=step.from_deletion, from_console=step.from_console
                )
            case to.Tag(balancer_id=balancer_id, tags=tags):
                await client.tag(balancer_id, tags)
            case to.CreateAccessList() | to.ChangeAccessList() | to.DeleteAccessList():
                await self._access(step)
            case to.DeleteInstance(balancer_id=balancer_id):
                await client.delete_instance(balancer_id)
            case to.CreateGroup() | to.ChangeBackends() | to.DeleteGroup():
                await self._group(step, job)
            case to.CreateListener() | to.UpdateListener():
                await self._listener(step)
            case to.StartListener() | to.DeleteListener():
                await self._end(step)
            case _:
                raise BugError(f"CLB has no {type(step).__name__}")

    async def _access(
        self, step: to.CreateAccessList | to.ChangeAccessList | to.DeleteAccessList
    ) -> None:
        match step:
            case to.CreateAccessList():
                acl_id = await self._client.create_access(name=step.name, version=step.version)
                await self._enter(acl_id, step.sources)
            case to.ChangeAccessList():
                await self._enter(step.acl_id, step.add)
                await self._client.remove_entries(step.acl_id, map(str, step.remove))
            case to.DeleteAccessList():
                await self._client.delete_access(step.acl_id)

    async def _enter(self, acl_id: AccessListId, ranges: Iterable[IPNetwork]) -> None:
        await self._client.add_entries(acl_id, map(str, ranges), "loadBalancerSourceRanges")

    async def _group(
        self, step: to.CreateGroup | to.ChangeBackends | to.DeleteGroup, job: Job
    ) -> None:
        match step:
            case to.CreateGroup():
                assert job.balancer_id is not None
                await self._client.create_group(job.balancer_id, name=step.name)
            case to.ChangeBackends(group_id=group_id):
                await self._client.add_backends(group_id, step.add)
                await self._client.update_backends(group_id, step.weigh)
                await self._client.remove_backends(group_id, step.remove)
            case to.DeleteGroup():
                await self._client.delete_group(step.group_id)

    async def _listener(self, step: to.CreateListener | to.UpdateListener) -> None:
        wish = step.wish
        if isinstance(step, to.UpdateListener):
            await self._client.update_listener(step.listener.balancer_id, wish)
            return
        await self._client.create_listener(step.balancer_id, wish)
        await self._client.start_listener(step.balancer_id, wish.protocol, wish.port)

    async def _end(self, step: to.StartListener | to.DeleteListener) -> None:
        found = step.listener
        named = (found.balancer_id, found.wish.protocol, found.wish.port)
        if isinstance(step, to.StartListener):
            await self._client.start_listener(*named)
        else:
            await self._client.delete_listener(*named)


class NlbDoer:
    """Does steps at NLB. Returns the jobs that the cloud works on."""

    def __init__(self, client: NlbClient, sources: SourceGroupDoer) -> None:
        self._client = client
        self._sources = sources

    async def do(self, step: to.Step, job: Job) -> tuple[JobId, ...]:
        """Begin a step. Raises as the client does."""
        match step:
            case to.CreateGroup() | to.UpdateGroup() | to.ChangeBackends() | to.DeleteGroup():
                return await self._group(step, job)
            case (
                to.CreateListener() | to.UpdateListener() | to.StartListener() | to.DeleteListener()
            ):
                return await self._listener(step, job)
            case to.CreateSourceGroup() | to.ChangeSourceGroup() | to.DeleteSourceGroup():
                await self._sources.do(step, job)
                return ()
            case to.JoinGroups(balancer_id=balancer_id, group_ids=group_ids):
                return (await self._client.join_groups(balancer_id, group_ids),)
            case to.LeaveGroups(balancer_id=balancer_id, group_ids=group_ids):
                return (await self._client.leave_groups(balancer_id, group_ids),)
            case _:
                return await self._instance(step, job)

    async def _instance(self, step: to.Step, job: Job) -> tuple[JobId, ...]:
        client = self._client
        match step:
            case to.CreateInstance(wish=wish):
                with job.token("nlb") as token:
                    await client.create_instance(wish, token=token)
            case to.Rename():
                return (await client.rename(step.balancer_id, step.name),)
            case to.Protect():
                await client.protect(
                    step.balancer_id,
                    from_deletion=step.from_deletion,
                    from_console=step.from_console,
                )
            case to.Tag():
                await client.tag("loadbalancer", step.balancer_id, step.tags)
            case to.DeleteInstance():
                await client.delete_instance(step.balancer_id)
            case _:
                raise BugError(f"NLB has no {type(step).__name__}")
        return ()

    async def _group(
        self,
        step: to.CreateGroup | to.UpdateGroup | to.ChangeBackends | to.DeleteGroup,
        job: Job,
    ) -> tuple[JobId, ...]:
        match step:
            case to.CreateGroup():
                return await self._create_group(step, job)
            case to.UpdateGroup():
                changed = await self._client.update_group(
                    step.group_id, name=step.name, forwarding=step.forwarding
                )
                return (changed,)
            case to.ChangeBackends():
                return await self._backends(step)
            case to.DeleteGroup():
                await self._client.delete_group(step.group_id)
                return ()

    async def _create_group(self, step: to.CreateGroup, job: Job) -> tuple[JobId, ...]:
        with job.token(step.name) as token:
            _, job_id = await self._client.create_group(
                name=step.name,
                vpc_id=job.vpc_id,
                protocol=step.protocol,
                of_addresses=step.of_addresses,
                is_dual_stack=step.is_dual_stack,
                forwarding=step.forwarding,
                tags=owner_tags(job.wanted),
                token=token,
            )
        return (job_id,)

    async def _backends(self, step: to.ChangeBackends) -> tuple[JobId, ...]:
        """Begin the first change of a group: while its job runs, there cannot be another.

        What is left is in the next plan.
        """
        group_id = step.group_id
        for change, backends in (
            (self._client.add_backends, step.add),
            (self._client.update_backends, step.weigh),
            (self._client.remove_backends, step.remove),
        ):
            if backends:
                return (await change(group_id, _first(backends)),)
        return ()

    async def _listener(
        self,
        step: to.CreateListener | to.UpdateListener | to.StartListener | to.DeleteListener,
        job: Job,
    ) -> tuple[JobId, ...]:
        match step:
            case to.CreateListener(balancer_id=balancer_id, wish=wish):
                with job.token(f"{wish.protocol.value}{wish.port}") as token:
                    _, job_id = await self._client.create_listener(balancer_id, wish, token=token)
                return (job_id,)
            case to.UpdateListener(listener=found, wish=wish):
                changed = await self._client.update_listener(
                    found.id, group_id=wish.group_id, description=wish.description
                )
                return (changed,)
            case to.StartListener(listener=found):
                return (await self._client.start_listener(found.id),)
            case to.DeleteListener(listener=found):
                await self._client.delete_listener(found.id)
                return ()


def _first(backends: Sequence[Backend]) -> Sequence[Backend]:
    return backends[:SERVERS_PER_CALL]
