"""What else of a case is in the API: namespaces, labels of nodes, policies. And how it goes again.

What was there before a case, and is not the lab's alone, is as it was when all cases are over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from terway.kube.client import KubeClient, PatchType
from terway.kube.resource import NAMESPACES, NODES, Resource, metadata_of
from terway.lab.policy.inforce import POLICY_KINDS
from terway.lab.policy.manifests import MARK, Manifest
from terway.model.errors import ConflictError, UsageError

_BY_KIND = {one.kind: one for one in POLICY_KINDS}
_RAW_NAMESPACES = NAMESPACES.typed(dict[str, Any])
_RAW_NODES = NODES.typed(dict[str, Any])
_NAME_LABEL = "kubernetes.io/metadata.name"

PolicyId = tuple[str, str, str]  # kind, namespace, name
Labels = Mapping[str, str]


class CaseObjects:
    """The objects of cases in one cluster."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._policies: dict[PolicyId, Manifest] = {}
        self._namespaces: dict[str, dict[str, str]] = {}  # their labels now
        self._before: dict[tuple[str, str], dict[str, str]] = {}  # labels that were there first

    async def begin(self) -> None:
        """Look at what is there. UsageError for policies that no case made: they judge, too."""
        foreign = []
        for resource in POLICY_KINDS:
            for one in await self._list(resource):
                meta = one["metadata"]
                found = (resource.kind, meta.get("namespace", ""), meta["name"])
                if MARK in (meta.get("annotations") or {}):
                    self._policies[found] = {}
                else:
                    foreign.append(f"{found[0]} {found[1]}/{found[2]}".replace(" /", " "))
        if foreign:
            raise UsageError(
                f"the lab has policies that are of no case, and would be judged by as well: "
                f"{', '.join(foreign)}; delete them, or take another lab by --name"
            )
        for one in (await self._kube.list(_RAW_NAMESPACES)).items:
            self._namespaces[one["metadata"]["name"]] = dict(one["metadata"].get("labels") or {})

    async def namespaces(self, wanted: Mapping[str, Labels]) -> None:
        """Have namespaces with exactly these labels."""
        await asyncio.gather(*(self._namespace(name, labels) for name, labels in wanted.items()))

    async def node_labels(self, wanted: Mapping[str, Labels]) -> None:
        """Have nodes of the lab with these labels beside their own."""
        for node in {*wanted, *(name for kind, name in self._before if kind == "node")}:
            found = await self._kube.get(_RAW_NODES, node)
            held = dict((found or {}).get("metadata", {}).get("labels") or {})
            before = self._before.setdefault(("node", node), held)
            await self._set_labels(NODES, node, held, {**before, **wanted.get(node, {})})

    async def policies(self, manifests: Sequence[Manifest]) -> None:
        """Have these policies, and no others. UsageError with the API's words for a bad one."""
        wanted = {_id_of(one): one for one in manifests}
        for gone in [one for one in self._policies if one not in wanted]:
            await self._kube.delete(_BY_KIND[gone[0]], gone[2], namespace=gone[1] or None)
            del self._policies[gone]
        for found, manifest in wanted.items():
            if self._policies.get(found) != manifest:
                await self._put(found, manifest)

    async def end(self) -> None:
        """Take the policies away; give nodes and namespaces that were there their labels back."""
        await self.policies(())
        await self.node_labels({})
        for (kind, name), labels in self._before.items():
            if kind == "namespace":
                await self._namespace(name, labels)

    async def _namespace(self, name: str, labels: Labels) -> None:
        wanted = {**labels, _NAME_LABEL: name}
        held = self._namespaces.get(name)
        if held is None:
            meta = {"name": name, "labels": wanted, "annotations": {MARK: "true"}}
            await self._kube.create(_RAW_NAMESPACES, {"metadata": meta})
        else:
            self._before.setdefault(("namespace", name), held)
            await self._set_labels(NAMESPACES, name, held, wanted)
        self._namespaces[name] = wanted

    async def _set_labels(
        self, resource: Resource[Any], name: str, held: Labels, wanted: Labels
    ) -> None:
        if held != wanted:
            labels = {**dict.fromkeys(held), **wanted}
            await self._kube.patch(resource, name, {"metadata": {"labels": labels}})

    async def _put(self, found: PolicyId, manifest: Manifest) -> None:
        resource = _BY_KIND[found[0]]
        if found not in self._policies:
            await self._kube.create(resource, manifest)
        else:
            spec = [{"op": "replace", "path": "/spec", "value": manifest["spec"]}]
            await self._kube.patch(
                resource, found[2], spec, namespace=found[1] or None, kind=PatchType.JSON
            )
        self._policies[found] = manifest

    async def _list(self, resource: Resource[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        try:
            return (await self._kube.list(resource)).items
        except ConflictError:  # somebody else's API server does not have the kind
            return ()


def _id_of(manifest: Manifest) -> PolicyId:
    meta = metadata_of(manifest)
    kind = str(manifest.get("kind", ""))
    if kind not in _BY_KIND:
        raise UsageError(f"a case has policies of {', '.join(_BY_KIND)}, not {kind or 'none'}")
    return kind, meta.namespace, meta.name
