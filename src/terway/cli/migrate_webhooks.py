"""How do upstream's webhook configurations become held ones, and upstream's again?

In one write each. A configuration is replaced, never removed and made: in between everybody would
get in unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from terway.cli.migrate_cluster import NAMESPACE, Hook
from terway.cli.migrate_hold import held_entries
from terway.cli.migrate_seen import GROUP, KINDS, definitions, raw
from terway.kube.client import FIELD_MANAGER, KubeClient, encode_object
from terway.kube.errors import lacks_rights
from terway.kube.resource import Resource, metadata_of
from terway.model.errors import UsageError

Object = dict[str, Any]

_NETWORKINGS = raw(GROUP, "v1beta1", "podnetworkings", "PodNetworking", namespaced=False)
_SECRETS = raw("", "v1", "secrets", "Secret", namespaced=True)
_SECRET = "terway-controlplane-webhook-cert"  # noqa: S105 - its name: upstream's and ours


async def hold(client: KubeClient, hook: Hook) -> None:
    """Have a configuration of upstream's fail closed for whom a network is.

    One that asks about nobody then goes: that is nobody's any more.
    """
    resource = KINDS[hook.kind]
    held = await client.get(resource, hook.name)
    if held is None:
        return
    names = {one["metadata"]["name"] for one in await definitions(client)}
    there = f"{_NETWORKINGS.plural}.{GROUP}" in names
    networkings = (await client.list(_NETWORKINGS)).items if there else ()
    entries = held.get("webhooks") or ()
    wanted = [
        {**held, "webhooks": held_entries(entries, networkings, with_conditions=one)}
        for one in (True, False)
    ]
    keeps = await _keeps_conditions(client, resource, wanted[0])
    kept = wanted[0] if keeps else wanted[1]
    if kept["webhooks"]:
        await client.update(resource, kept)
    else:
        await client.delete(resource, hook.name)


async def release(client: KubeClient, hook: Hook, saved: Object | None) -> None:
    """Have a configuration be upstream's as it was; one that upstream had not goes."""
    resource = KINDS[hook.kind]
    held = await client.get(resource, hook.name)
    if saved is None or held is None:
        await client.delete(resource, hook.name)
        return
    version = held["metadata"]["resourceVersion"]
    metadata = {**saved["metadata"], "resourceVersion": version}
    await client.update(resource, {**await with_ca(client, saved), "metadata": metadata})


async def with_ca(client: KubeClient, saved: Object) -> Object:
    """Return a configuration with the CA by which upstream's process is known now.

    Both keep their certificate in the same secret. What we made of it upstream serves, too; the
    CA of long ago would not fit it. Where upstream is to fill it in itself, it does.
    """
    secret = await client.get(_SECRETS, _SECRET, namespace=NAMESPACE)
    bundle = ((secret or {}).get("data") or {}).get("ca.crt", "")
    if not bundle:
        return saved
    return {**saved, "webhooks": [_known_by(one, bundle) for one in saved["webhooks"]]}


def _known_by(entry: Mapping[str, Any], bundle: str) -> Object:
    config = entry["clientConfig"]
    return {**entry, "clientConfig": {**config, "caBundle": bundle}}


async def _keeps_conditions(client: KubeClient, resource: Resource[Any], wanted: Object) -> bool:
    """Return whether the server would keep all conditions; tried without changing anything."""
    path = resource.path(name=metadata_of(wanted).name)
    params = {"fieldManager": FIELD_MANAGER, "dryRun": "All"}
    try:
        answer = await client.request(
            "PUT", path, params=params, content=encode_object(resource, wanted)
        )
    except UsageError as error:
        if lacks_rights(error):
            raise  # that says nothing of what the server can do
        return False  # it does not know them, or what is in them
    kept = resource.decoder.decode(answer)["webhooks"]
    conditions = [
        [bool(one.get("matchConditions")) for one in each] for each in (kept, wanted["webhooks"])
    ]
    return conditions[0] == conditions[1]
