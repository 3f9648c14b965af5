"""How is one step of a migration done, by the API server? Each may be repeated, and be cut off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from terway.cli.migrate_action import DAEMON_SET, Action, Do
from terway.cli.migrate_cluster import APPLIED, LABEL, NAMESPACE, SAVED, Taken, Workload
from terway.cli.migrate_pools import give_pools_back
from terway.cli.migrate_seen import (
    HOOKS,
    KINDS,
    NODES,
    PODS,
    definitions,
    is_apart,
    is_ours,
    listed,
)
from terway.cli.migrate_task import task_pod
from terway.cli.migrate_webhooks import hold, release, with_ca
from terway.cli.rights import RightsError
from terway.kube.client import KubeClient, PatchType, Propagation
from terway.model.errors import ConflictError, UsageError

Object = dict[str, Any]
_CONFIG = "eni-config"  # stays as it is
# What the server says of an object, and its next version does not have.
_SERVERS_OWN = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Performer:
    """Does steps. `manifests` are ours, in the order in which they are applied."""

    client: KubeClient
    manifests: tuple[Object, ...] = ()
    applied: str = ""

    async def perform(self, action: Action) -> None:
        """Do one step. Raises VpcError; what was done of it is found, and done again, later."""
        match action.do:
            case Do.SAVE:
                await self._save()
            case Do.KEEP_APART | Do.OPEN:
                await self._patch_workload(action.workload, _placing(action))
            case Do.SCALE_DOWN:
                await self._patch_workload(action.workload, _without_replicas)
            case Do.HOLD | Do.RELEASE:
                await self._change_hook(action)
            case Do.REMOVE | Do.REMOVE_HOOK:
                await self._remove(action)
            case Do.APPLY:
                await self._apply()
            case Do.RESTORE:
                await self._restore(only_agents=action.taken is Taken.YES)
            case Do.FORGET:
                await self.client.delete(KINDS["ConfigMap"], SAVED, namespace=NAMESPACE)
            case _:
                await self._on_node(action)

    async def _on_node(self, action: Action) -> None:
        name = f"{SAVED}-{action.job.value}-{action.node}"
        match action.do:
            case Do.LABEL:
                labels = {LABEL: action.taken.value or None}  # None takes it away
                await self.client.patch(NODES, action.node, {"metadata": {"labels": labels}})
            case Do.RUN:
                agents = await self.client.get(KINDS[DAEMON_SET], "terway", namespace=NAMESPACE)
                if agents is None:
                    text = "DaemonSet terway is gone, whose image and mounts the way back needs"
                    raise UsageError(f"{text}: apply it again", field="DaemonSet terway")
                made = task_pod(agents, action.node, action.job)
                await self._create(PODS, made)
            case Do.CLEAR | Do.REFUSE:
                await self.client.delete(PODS, name, namespace=NAMESPACE, grace_s=0)
            case _:
                return

    async def log_of(self, action: Action) -> str:
        """Return what the pod of an action's job wrote."""
        name = f"{SAVED}-{action.job.value}-{action.node}"
        path = PODS.path(namespace=NAMESPACE, name=name, subresource="log")
        try:
            return (await self.client.request("GET", path)).decode(errors="replace").strip()
        except (ConflictError, UsageError, RightsError) as error:
            return f"its log cannot be read: {error}"

    async def _save(self) -> None:
        """Keep upstream's objects, and those in whose place ours come."""
        found = [
            one for kind in ("DaemonSet", "Deployment") for one in await listed(self.client, kind)
        ]
        theirs = [one for one in found if not is_ours(one)]
        hooks = [one for kind in HOOKS for one in await listed(self.client, kind)]
        in_place = [one async for one in self._in_place()]
        kept = (*theirs, *hooks, *in_place, *await definitions(self.client))
        data = {_key(one): json.dumps(_bare(one)) for one in kept}
        body = {"metadata": {"name": SAVED, "namespace": NAMESPACE}, "data": data}
        await self._create(KINDS["ConfigMap"], body)

    async def _in_place(self) -> Any:
        for one in self.manifests:
            if one["kind"] not in ("DaemonSet", "Deployment"):
                resource, meta = KINDS[one["kind"]], one["metadata"]
                held = await self.client.get(
                    resource, meta["name"], namespace=meta.get("namespace")
                )
                if held is not None:
                    yield {**held, "kind": one["kind"]}

    async def _saved(self) -> tuple[Object, ...]:
        """Return upstream's objects, in the order in which they are put back: agents last."""
        held = await self.client.get(KINDS["ConfigMap"], SAVED, namespace=NAMESPACE)
        texts = (held or {}).get("data") or {}
        found = [json.loads(text) for text in texts.values()]
        return tuple(sorted(found, key=lambda one: list(KINDS).index(one["kind"])))

    async def _change_hook(self, action: Action) -> None:
        assert action.hook is not None
        if action.do is Do.HOLD:
            await hold(self.client, action.hook)
            return
        key = f"{action.hook.kind}..{action.hook.name}"
        saved = next((one for one in await self._saved() if _key(one) == key), None)
        await release(self.client, action.hook, saved)

    async def _patch_workload(
        self, workload: Workload | None, change: Callable[[Object], Object]
    ) -> None:
        assert workload is not None
        resource = KINDS[workload.kind]
        held = await self.client.get(resource, workload.name, namespace=NAMESPACE)
        if held is not None:
            await self.client.update(resource, change(held))

    async def _remove(self, action: Action) -> None:
        if action.hook is not None:
            await self.client.delete(KINDS[action.hook.kind], action.hook.name)
        if action.workload is not None:
            await self.client.delete(
                KINDS[action.workload.kind],
                action.workload.name,
                namespace=NAMESPACE,
                propagation=Propagation.FOREGROUND,
            )

    async def _apply(self) -> None:
        saved = {_key(one): one for one in await self._saved()}
        for one in self.manifests:
            key = _key(one)
            if key != f"ConfigMap.{NAMESPACE}.{_CONFIG}" or key not in saved:
                await self._put(_with_rules(one, saved.get(key)))

    async def _put(self, one: Object) -> None:
        meta = one["metadata"]
        marked = {**meta, "annotations": {**(meta.get("annotations") or {}), APPLIED: self.applied}}
        await self.client.patch(
            KINDS[one["kind"]],
            meta["name"],
            {**one, "metadata": marked},
            namespace=meta.get("namespace"),
            kind=PatchType.APPLY,
            force=True,
        )

    async def _restore(self, *, only_agents: bool) -> None:
        if not only_agents and await definitions(self.client):
            await give_pools_back(self.client)
        for one in await self._saved():
            is_agent = one["kind"] == DAEMON_SET
            if is_agent and only_agents:
                await self._replace(_kept_apart(one))
            elif not only_agents and one["kind"] in HOOKS:
                await self._create_hook(one)
            elif not only_agents and _key(one) != f"ConfigMap.{NAMESPACE}.{_CONFIG}":
                await self._replace(one)

    async def _create_hook(self, one: Object) -> None:
        """Make a webhook configuration that is gone; one that is held is released later."""
        resource, name = KINDS[one["kind"]], one["metadata"]["name"]
        if await self.client.get(resource, name) is None:
            await self._create(resource, await with_ca(self.client, one))

    async def _replace(self, one: Object) -> None:
        """Have an object be exactly so, whether it is there or not."""
        resource, meta = KINDS[one["kind"]], one["metadata"]
        held = await self.client.get(resource, meta["name"], namespace=meta.get("namespace"))
        if held is None:
            await self._create(resource, one)
            return
        version = held["metadata"]["resourceVersion"]
        await self.client.update(
            resource, {**one, "metadata": {**meta, "resourceVersion": version}}
        )

    async def _create(self, resource: Any, one: Mapping[str, Any]) -> None:
        try:
            await self.client.create(resource, one, namespace=one["metadata"].get("namespace"))
        except ConflictError as error:
            if error.code != "AlreadyExists":
                raise


def _key(one: Mapping[str, Any]) -> str:
    """Return the name of an object among the saved; a key of a ConfigMap has no slashes."""
    meta = one["metadata"]
    return ".".join((one["kind"], meta.get("namespace", ""), meta["name"]))


def _bare(one: Mapping[str, Any]) -> Object:
    meta = {name: held for name, held in one["metadata"].items() if name not in _SERVERS_OWN}
    return {**{name: held for name, held in one.items() if name != "status"}, "metadata": meta}


def _kept_apart(one: Object) -> Object:
    """Return a DaemonSet that keeps off nodes with our label: each of its terms says so.

    Terms are alternatives: one that did not say it would let the agents in.
    """
    if is_apart(one):
        return one
    changed: Object = json.loads(json.dumps(one))
    spec = changed["spec"]["template"]["spec"]
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    required = affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = required.setdefault("nodeSelectorTerms", []) or [{}]
    values = [one.value for one in Taken if one.value]
    for term in terms:
        wanted = {"key": LABEL, "operator": "NotIn", "values": values}
        term.setdefault("matchExpressions", []).append(wanted)
    required["nodeSelectorTerms"] = terms
    return changed


def _placing(action: Action) -> Callable[[Object], Object]:
    """Return what changes where the pods of a DaemonSet may be."""
    if action.workload is None or not action.workload.is_ours:
        return _kept_apart
    return _selective if action.do is Do.KEEP_APART else _everywhere


def _selective(one: Object) -> Object:
    return _with_selector(one, {LABEL: Taken.YES.value})


def _everywhere(one: Object) -> Object:
    return _with_selector(one, {})


def _with_selector(one: Object, wanted: Mapping[str, str]) -> Object:
    changed: Object = json.loads(json.dumps(one))
    spec = changed["spec"]["template"]["spec"]
    others = {name: held for name, held in spec.get("nodeSelector", {}).items() if name != LABEL}
    spec["nodeSelector"] = {**others, **wanted}
    return changed


def _without_replicas(one: Object) -> Object:
    return {**one, "spec": {**one["spec"], "replicas": 0}}


def _with_rules(one: Object, saved: Object | None) -> Object:
    """Return a role of ours with what upstream's of its name may do: its agents still run."""
    if saved is None or "rules" not in one:
        return one
    ours = one["rules"]
    return {**one, "rules": [*ours, *(rule for rule in saved["rules"] if rule not in ours)]}


def in_order(manifests: Iterable[Object]) -> Iterator[Object]:
    """Yield manifests as they are applied: whom they need first, the agents last of all."""
    yield from sorted(manifests, key=lambda one: list(KINDS).index(one["kind"]))
