"""A CRD makes its kind appear, with what the real server makes of its objects, and disappear."""

from __future__ import annotations

import copy

import pytest

from terway.lab.kubeapi import discovery, openapi
from terway.lab.kubeapi.controllers.runner import settle
from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.objects import condition_of, metadata, read_path
from terway.lab.kubeapi.resources import CUSTOM_RESOURCE_DEFINITION, POLICY_NODE_STATUS
from terway.lab.kubeapi.state import APPLY, JSON, MERGE
from terway.lab.kubeapi.tables import make_table
from terway.lab.kubeapi.watching import Closing, Watcher, WatchOptions, watch
from terway.lab.kubeapi.writes import WriteOptions
from tests.support.cluster import make_cluster
from tests.support.custom_resources import (
    GROUP,
    LOAF_SCHEMA,
    definition,
    loaf,
    row_of,
    serve,
    version,
)

NAME = f"loaves.{GROUP}"


def condition(obj: dict, type_: str) -> dict:
    return condition_of(obj, type_) or {}


def documented(found: dict | None) -> dict:
    assert found is not None
    return found


def refusal(call, *args, **kwargs) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*args, **kwargs)
    return caught.value


def test_a_definition_is_established_with_its_default_names_and_its_finalizer():
    state = make_cluster()
    serve(state)

    held = state.get(CUSTOM_RESOURCE_DEFINITION, NAME).object

    assert read_path(held, "status.acceptedNames.singular") == "loaf"
    assert read_path(held, "status.acceptedNames.listKind") == "LoafList"
    assert read_path(held, "status.storedVersions") == ["v1"]
    assert condition(held, "Established")["status"] == "True"
    assert condition(held, "NamesAccepted")["reason"] == "NoConflicts"
    assert metadata(held)["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]


def test_discovery_and_openapi_have_the_kind_as_long_as_its_definition_is_there():
    state = make_cluster()
    assert discovery.resource_list(state.table, GROUP, "v1") is None

    serve(state)

    found = documented(discovery.resource_list(state.table, GROUP, "v1"))["resources"]
    assert [one["name"] for one in found] == ["loaves", "loaves/status"]
    assert found[0]["shortNames"] == ("lf",)
    document = documented(openapi.v3_document(state.table, GROUP, "v1"))
    described = document["components"]["schemas"][f"{GROUP}.v1.Loaf"]
    assert described["properties"]["spec"]["properties"]["grams"]["maximum"] == 5000
    assert described["properties"]["metadata"]["$ref"].endswith("ObjectMeta")

    state.delete(CUSTOM_RESOURCE_DEFINITION, NAME)
    settle(state)
    assert discovery.resource_list(state.table, GROUP, "v1") is None


def test_a_definition_takes_its_objects_along_when_it_goes():
    state = make_cluster()
    row = serve(state)
    state.create(row, loaf("a"))
    kept = loaf("b")
    kept["metadata"]["finalizers"] = ["bakery.example.com/oven"]
    state.create(row, kept)

    state.delete(CUSTOM_RESOURCE_DEFINITION, NAME)
    settle(state)

    held = state.get(CUSTOM_RESOURCE_DEFINITION, NAME).object
    assert condition(held, "Terminating")["status"] == "True"
    assert [metadata(obj)["name"] for obj in state.list(row)] == ["b"]
    going = row_of(state, "v1")
    refused = refusal(state.create, going, loaf("c"))
    assert (refused.code, "create not allowed while" in refused.message) == (405, True)

    state.patch(going, "b", "default", {"metadata": {"finalizers": None}})
    settle(state)
    assert state.find(CUSTOM_RESOURCE_DEFINITION, NAME) is None
    assert state.list(row) == []


async def test_a_watch_ends_with_its_kind_after_the_last_object():
    state = make_cluster()
    row = serve(state)
    state.create(row, loaf())
    watched = watch(state.store, WatchOptions(resource=row, since=None), Closing())
    frames = [(await anext(watched)).type]

    state.delete(CUSTOM_RESOURCE_DEFINITION, NAME)
    settle(state)

    frames += [frame.type async for frame in watched]
    assert frames == ["ADDED", "DELETED"]


def test_what_the_schema_does_not_know_is_pruned_and_defaults_are_filled_in():
    state = make_cluster()
    row = serve(state)
    warned = WriteOptions()

    made = state.create(row, loaf(oven={"gas": 3}, sugar=1, extra={"any": [1]}), options=warned)

    assert made.object["spec"] == {
        "flour": "rye",
        "grams": 750,
        "slices": 1,
        "oven": {"degrees": 220},
        "extra": {"any": [1]},
    }
    assert warned.warnings == ['unknown field "spec.oven.gas"', 'unknown field "spec.sugar"']
    strict = WriteOptions(field_validation="Strict")
    refused = refusal(state.create, row, loaf("b", sugar=1), "", strict)
    assert refused.message == 'strict decoding error: unknown field "spec.sugar"'


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"grams": "many"},
            (
                'spec.grams: Invalid value: "string": spec.grams in body must be of type '
                'integer: "string"'
            ),
        ),
        (
            {"flour": "sand"},
            'spec.flour: Unsupported value: "sand": supported values: "rye", "wheat"',
        ),
        (
            {"grams": 5},
            (
                "spec.grams: Invalid value: 5: spec.grams in body should be greater than or equal "
                "to 100"
            ),
        ),
        (
            {"port": True},
            (
                'spec.port: Invalid value: "boolean": spec.port in body must be of type '
                'integer,string: "boolean"'
            ),
        ),
        (
            {"toppings": [{"name": "a"}, {"name": "a"}]},
            'spec.toppings[1]: Duplicate value: {"name":"a"}',
        ),
        ({"toppings": [{}]}, "spec.toppings[0].name: Required value"),
        (
            {"oven": None},
            ('spec.oven: Invalid value: "null": spec.oven in body must be of type object: "null"'),
        ),
    ],
)
def test_an_object_that_breaks_its_schema_is_refused_in_the_real_words(spec, words):
    state = make_cluster()
    row = serve(state)

    refused = refusal(state.create, row, loaf(**spec))

    assert refused.code == 422
    assert refused.message == f'Loaf.{GROUP} "a" is invalid: {words}'


def test_a_null_gives_way_to_a_default_and_stays_where_it_is_allowed():
    state = make_cluster()

    made = state.create(serve(state), loaf(grams=None, note=None))

    assert (made.object["spec"]["grams"], made.object["spec"]["note"]) == (750, None)


def test_status_and_spec_are_written_apart_and_only_spec_is_a_new_generation():
    state = make_cluster()
    row = serve(state)
    made = state.create(row, {**loaf(), "status": {"phase": "Eaten"}}).object
    assert "status" not in made

    both = {"spec": {"grams": 900}, "status": {"phase": "Baked"}}
    by_main = state.patch(row, "a", "default", both).object
    assert "status" not in by_main
    assert (by_main["spec"]["grams"], by_main["metadata"]["generation"]) == (900, 2)

    both["spec"] = {"grams": 1}
    by_status = state.patch(row, "a", "default", both, subresource="status").object
    assert by_status["status"] == {"phase": "Baked"}
    assert (by_status["spec"]["grams"], by_status["metadata"]["generation"]) == (900, 2)

    wrong = {"status": {"phase": 1}}
    refused = refusal(state.patch, row, "a", "default", wrong, subresource="status")
    assert "status.phase in body must be of type string" in refused.message


def test_every_version_shows_the_same_object_by_its_own_schema():
    state = make_cluster()
    newer = copy.deepcopy(LOAF_SCHEMA)
    newer["properties"]["spec"]["properties"]["crust"] = {"type": "string", "default": "thin"}
    held = definition(version("v1beta1", storage=False), version(schema={"openAPIV3Schema": newer}))
    row = serve(state, held)
    older = row_of(state, "v1beta1")
    watcher = Watcher(state.store, WatchOptions(resource=row, since=state.store.revision))
    state.store.on_change(watcher.on_change)

    state.create(older, loaf(version="v1beta1"))

    assert state.get(older, "a", "default").object["apiVersion"] == f"{GROUP}/v1beta1"
    seen = state.get(row, "a", "default").object
    assert (seen["apiVersion"], seen["spec"]["crust"]) == (f"{GROUP}/v1", "thin")
    assert [frame.stored.object["apiVersion"] for frame in watcher.take()] == [f"{GROUP}/v1"]
    groups = documented(discovery.group_document(state.table, GROUP))
    assert groups["preferredVersion"]["version"] == "v1"


def test_a_new_schema_holds_for_objects_that_were_there_before():
    state = make_cluster()
    state.create(serve(state), loaf())
    schema = copy.deepcopy(LOAF_SCHEMA)
    schema["properties"]["spec"]["properties"]["crust"] = {"type": "string", "default": "thin"}
    del schema["properties"]["spec"]["properties"]["grams"]

    changed = definition(version(schema={"openAPIV3Schema": schema}))
    state.update(CUSTOM_RESOURCE_DEFINITION, NAME, "", changed)

    row = row_of(state, "v1")
    assert state.get(row, "a", "default").object["spec"] == {
        "flour": "rye",
        "slices": 1,
        "crust": "thin",
    }


def test_an_object_that_a_stricter_schema_refuses_can_still_be_written_elsewhere():
    state = make_cluster()
    state.create(serve(state), loaf(grams=200))
    schema = copy.deepcopy(LOAF_SCHEMA)
    schema["properties"]["spec"]["properties"]["grams"]["minimum"] = 500
    changed = definition(version(schema={"openAPIV3Schema": schema}))
    state.update(CUSTOM_RESOURCE_DEFINITION, NAME, "", changed)
    row = row_of(state)

    state.patch(row, "a", "default", {"metadata": {"finalizers": ["bakery.example.com/oven"]}})

    state.patch(row, "a", "default", {"spec": {"note": "light"}})

    refused = refusal(state.patch, row, "a", "default", {"spec": {"grams": 300}})
    assert "greater than or equal to 500" in refused.message


def test_true_in_place_of_one_is_a_change_that_is_looked_at():
    state = make_cluster()
    row = serve(state)
    state.create(row, loaf(slices=1))

    refused = refusal(state.patch, row, "a", "default", {"spec": {"slices": True}})

    assert "spec.slices in body must be of type integer" in refused.message


def test_a_version_that_is_not_served_cannot_be_asked_for():
    state = make_cluster()
    serve(state, definition(version(), version("v1alpha1", storage=False, served=False)))

    assert state.table.at(GROUP, "v1alpha1", "loaves") is None


def test_lists_with_keys_merge_by_them_when_two_managers_apply():
    state = make_cluster()
    row = serve(state)

    for manager, grams in (("cook", 5), ("guest", 7)):
        wanted = loaf(toppings=[{"name": manager, "grams": grams}])
        options = WriteOptions(field_manager=manager)
        state.patch(row, "a", "default", wanted, kind=APPLY, options=options)

    held = state.get(row, "a", "default").object["spec"]["toppings"]
    assert held == [{"name": "cook", "grams": 5}, {"name": "guest", "grams": 7}]
    options = WriteOptions(field_manager="guest")
    other = loaf(toppings=[{"name": "cook", "grams": 9}])
    refused = refusal(state.patch, row, "a", "default", other, kind=APPLY, options=options)
    assert refused.code == 409


def test_merge_and_json_patches_change_a_custom_object():
    state = make_cluster()
    row = serve(state)
    state.create(row, loaf())

    state.patch(row, "a", "default", {"spec": {"note": "warm"}}, kind=MERGE)
    operations = [{"op": "replace", "path": "/spec/flour", "value": "wheat"}]
    held = state.patch(row, "a", "default", operations, kind=JSON).object

    assert (held["spec"]["note"], held["spec"]["flour"]) == ("warm", "wheat")


def test_columns_are_those_of_the_definition():
    state = make_cluster()
    columns = [
        {"name": "Flour", "type": "string", "jsonPath": ".spec.flour", "description": "of what"},
        {"name": "Grams", "type": "integer", "jsonPath": ".spec.grams", "priority": 1},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    row = serve(state, definition(version(additionalPrinterColumns=columns)))
    held = state.create(row, loaf()).object

    table = make_table(row, [held], list_metadata={}, now=state.clock() + 90)

    assert [one["name"] for one in table["columnDefinitions"]] == [
        "Name",
        "Flour",
        "Grams",
        "Phase",
        "Age",
    ]
    assert table["columnDefinitions"][2]["priority"] == 1
    assert table["rows"][0]["cells"] == ["a", "rye", 750, None, "90s"]


def test_names_that_another_definition_has_are_not_accepted():
    state = make_cluster()
    serve(state)
    other = definition(plural="buns", kind="Bun", shortNames=["lf"])
    other["metadata"]["name"] = f"buns.{GROUP}"

    held = state.create(CUSTOM_RESOURCE_DEFINITION, other).object

    assert condition(held, "NamesAccepted")["message"] == '"lf" is already in use'
    assert condition(held, "Established")["status"] == "False"
    assert state.table.at(GROUP, "v1", "buns") is None


def test_a_definition_of_a_built_in_custom_kind_takes_its_place_and_keeps_its_objects():
    state = make_cluster()
    state.create(POLICY_NODE_STATUS, {"metadata": {"name": "n1"}, "status": {"rules": 3}})
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    group = POLICY_NODE_STATUS.group
    held = definition(
        version("v1beta1", schema={"openAPIV3Schema": schema}, subresources={}),
        scope="Cluster",
        plural="policynodestatuses",
        kind="PolicyNodeStatus",
        shortNames=[],
    )
    held["metadata"]["name"] = f"policynodestatuses.{group}"
    held["spec"]["group"] = group

    state.create(CUSTOM_RESOURCE_DEFINITION, held)

    row = state.table.at(group, "v1beta1", "policynodestatuses")
    assert row is not None
    assert row is not POLICY_NODE_STATUS
    assert state.get(row, "n1").object["status"] == {"rules": 3}
    assert state.find(POLICY_NODE_STATUS, "n1") is not None


def changed(path: str, value) -> dict:
    held = copy.deepcopy(definition())
    *parents, last = path.split("/")
    holder = held
    for part in parents:
        holder = holder[int(part)] if part.isdigit() else holder[part]
    holder[last] = value
    return held


SCHEMA = "spec/versions/0/schema/openAPIV3Schema"


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (
            changed("metadata/name", "loaves.example.com"),
            'metadata.name: Invalid value: "loaves.example.com": must be spec.names.plural+"."',
        ),
        (changed("spec/versions/0/storage", False), "exactly one version marked as storage"),
        (changed("spec/scope", "World"), 'spec.scope: Unsupported value: "World"'),
        (changed("spec/versions/0/schema", {}), "schema.openAPIV3Schema: Required value"),
        (
            changed(f"{SCHEMA}/properties/spec/properties", {"a": {}}),
            "properties[spec].properties[a].type: Required value: must not be empty for specified",
        ),
        (
            changed(f"{SCHEMA}/properties/spec", {"type": "array"}),
            "properties[spec].items: Required value: must be specified",
        ),
        (
            changed(f"{SCHEMA}/properties/spec/properties/grams/default", 1),
            "properties[grams].default in body should be greater than or equal to 100",
        ),
        (
            changed(f"{SCHEMA}/properties/spec/oneOf", [{"type": "object"}]),
            "properties[spec].oneOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            changed("spec/conversion", {"strategy": "Webhook"}),
            "spec.conversion.strategy: Forbidden",
        ),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_by_its_field(held, words):
    refused = refusal(make_cluster().create, CUSTOM_RESOURCE_DEFINITION, held)

    assert refused.code == 422
    assert words in refused.message


def test_a_scale_is_read_and_written_where_the_definition_says():
    from terway.lab.kubeapi.scale import scale_of, with_scale

    paths = {"specReplicasPath": ".spec.slices", "statusReplicasPath": ".status.slices"}
    state = make_cluster()
    row = serve(state, definition(version(subresources={"status": {}, "scale": paths})))
    held = state.create(row, loaf()).object

    assert scale_of(row, held)["spec"] == {"replicas": 1}
    assert with_scale(row, held, {"spec": {"replicas": 8}})["spec"]["slices"] == 8
