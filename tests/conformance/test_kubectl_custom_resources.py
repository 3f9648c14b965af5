"""kubectl meets kinds that come at run time, and webhooks, as on a real server."""

from __future__ import annotations

import json

import pytest

from tests.support.custom_resources import GROUP, LOAF_SCHEMA, definition, loaf, version
from tests.support.kubectl import Kubectl
from tests.support.live_cluster import open_live_cluster
from tests.support.webhook_server import deny, open_webhook_server

pytestmark = pytest.mark.witness

COLUMNS = [
    {"name": "Flour", "type": "string", "jsonPath": ".spec.flour"},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Grams", "type": "integer", "jsonPath": ".spec.grams", "priority": 1},
]
SCALE = {"specReplicasPath": ".spec.slices", "statusReplicasPath": ".status.slices"}


@pytest.fixture
async def kubectl(tmp_path):
    async with open_live_cluster(tmp_path) as server:
        yield Kubectl(tmp_path, server.kubeconfig)


async def baking(kubectl: Kubectl) -> Kubectl:
    subresources = {"status": {}, "scale": SCALE}
    held = definition(version(additionalPrinterColumns=COLUMNS, subresources=subresources))
    await kubectl.apply(json.dumps(held))
    name = f"crd/loaves.{GROUP}"
    await kubectl("wait", "--for=condition=Established", name, "--timeout=30s")
    return kubectl


async def test_a_definition_is_applied_and_its_kind_is_there(kubectl):
    await baking(kubectl)

    assert "loaves.bakery.example.com" in await kubectl("get", "crd")
    listed = await kubectl("api-resources", f"--api-group={GROUP}")
    words = ["loaves", "lf", f"{GROUP}/v1", "true", "Loaf"]
    assert listed.splitlines()[1].split() == words


async def test_objects_are_applied_changed_and_shown_in_their_columns(kubectl):
    await baking(kubectl)

    assert "created" in await kubectl.apply(json.dumps(loaf()))
    assert "unchanged" in await kubectl.apply(json.dumps(loaf()))
    assert "configured" in await kubectl.apply(json.dumps(loaf(grams=900)))

    table = (await kubectl("get", "lf")).splitlines()
    assert [line.split() for line in table] == [["NAME", "FLOUR", "PHASE"], ["a", "rye"]]
    wide = (await kubectl("get", "loaf", "a", "-o", "wide")).splitlines()
    assert wide[1].split() == ["a", "rye", "900"]
    assert await kubectl("get", "loaves", "-o", "name") == f"loaf.{GROUP}/a\n"


async def test_an_object_that_does_not_fit_is_refused_with_its_field(kubectl):
    await baking(kubectl)

    answer = await kubectl.run("apply", "-f", "-", stdin=json.dumps(loaf(flour="sand", grams=1)))

    assert answer.code == 1
    assert 'spec.flour: Unsupported value: "sand": supported values: "rye", "wheat"' in answer.err
    assert "spec.grams in body should be greater than or equal to 100" in answer.err


async def test_patches_merge_and_a_strategic_one_is_not_for_custom_kinds(kubectl):
    await baking(kubectl)
    await kubectl.apply(json.dumps(loaf()))

    await kubectl("patch", "loaf", "a", "--type=merge", "-p", '{"spec": {"note": "warm"}}')
    shown = await kubectl("get", "loaf", "a", "-o", "jsonpath={.spec.note} {.metadata.generation}")
    assert shown == "warm 2"
    answer = await kubectl.run("patch", "loaf", "a", "-p", '{"spec": {"note": "cold"}}')
    assert answer.code == 1
    assert "application/merge-patch+json" in answer.err


async def test_the_schema_can_be_explained_and_a_wrong_field_is_named(kubectl):
    await baking(kubectl)

    explained = await kubectl("explain", "loaf.spec.oven")
    assert "degrees" in explained
    answer = await kubectl.run("apply", "-f", "-", stdin=json.dumps(loaf(sugar=1)))
    assert 'unknown field "spec.sugar"' in answer.err


async def test_two_managers_apply_server_side_and_are_told_of_conflicts(kubectl):
    await baking(kubectl)
    apply = ("apply", "--server-side", "-f", "-", "--field-manager")

    await kubectl(*apply, "cook", stdin=json.dumps(loaf(grams=500)))
    answer = await kubectl.run(*apply, "guest", stdin=json.dumps(loaf(grams=600)))

    assert answer.code == 1
    assert 'with "cook": .spec.grams' in answer.err


async def test_a_scale_changes_what_the_definition_says(kubectl):
    await baking(kubectl)
    await kubectl.apply(json.dumps(loaf()))

    await kubectl("scale", "loaf/a", "--replicas=4")

    assert await kubectl("get", "loaf", "a", "-o", "jsonpath={.spec.slices}") == "4"


async def test_a_definition_that_goes_takes_its_objects_along(kubectl):
    await baking(kubectl)
    await kubectl.apply(json.dumps(loaf()))

    await kubectl("delete", "crd", f"loaves.{GROUP}", "--timeout=30s")

    answer = await kubectl.run("get", "loaves")  # kubectl remembers that there were some
    assert "the server could not find the requested resource" in answer.err


async def test_a_webhook_speaks_to_the_user_of_kubectl(kubectl):
    async with open_webhook_server() as webhook:
        webhook.at("/judge", lambda request: deny("not on Mondays", code=403, reason="Forbidden"))
        configuration = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "judge"},
            "webhooks": [webhook.hook("/judge")],
        }
        await kubectl.apply(json.dumps(configuration))
        answer = await kubectl.run("run", "a", "--image=busybox")

    words = 'admission webhook "judge.hooks.example.com" denied the request: not on Mondays'
    assert answer.code == 1
    assert f"Error from server (Forbidden): {words}" in answer.err
    assert (await kubectl("get", "validatingwebhookconfigurations")).splitlines()[1].split()[
        1
    ] == "1"


async def test_a_new_version_is_served_beside_the_old_one(kubectl):
    await baking(kubectl)
    await kubectl.apply(json.dumps(loaf()))

    newer = version("v2", storage=False, schema={"openAPIV3Schema": LOAF_SCHEMA})
    await kubectl.apply(json.dumps(definition(version(), newer)))

    shown = await kubectl("get", f"loaves.v2.{GROUP}", "a", "-o", "jsonpath={.apiVersion}")
    assert shown == f"{GROUP}/v2"
