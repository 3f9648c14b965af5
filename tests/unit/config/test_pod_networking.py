"""What a PodNetworking says, and how each mistake is refused."""

from __future__ import annotations

import pytest

from terway.config.pod_networking import parse_pod_networking
from terway.model.errors import UsageError

SPEC = {"vSwitchOptions": ["vsw-1"], "securityGroupIDs": ["sg-1"]}


def test_both_selectors_must_match_where_both_are_set():
    networking = parse_pod_networking(
        "red",
        {
            **SPEC,
            "selector": {
                "podSelector": {"matchLabels": {"app": "web"}},
                "namespaceSelector": {
                    "matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]
                },
            },
        },
    )

    assert networking.selects({"app": "web"}, {"team": "b"})
    assert not networking.selects({"app": "web"}, {"team": "c"})
    assert not networking.selects({"app": "db"}, {"team": "b"})


def test_one_selector_is_enough():
    networking = parse_pod_networking("red", {**SPEC, "selector": {"podSelector": {}}})

    assert networking.selects({}, {})


def test_without_selectors_pods_must_ask_for_it():
    networking = parse_pod_networking("red", {**SPEC, "selector": {}})

    assert not networking.has_selector
    assert not networking.selects({"app": "web"}, {})


def test_the_status_says_where_the_vswitches_are():
    status = {"status": "Ready", "vSwitches": [{"id": "vsw-1", "zone": "zone-a"}]}

    networking = parse_pod_networking("red", SPEC, status)

    assert (networking.is_ready, networking.zones) == (True, {"vsw-1": "zone-a"})


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"allocationType": {"type": "Fixed", "releaseAfter": "-1m"}}, "allocationType"),
        ({"securityGroupIDs": ["sg-1"] * 11}, "spec.securityGroupIDs"),
        ({"eniOptions": {"eniType": "Whole"}}, "spec.eniOptions.eniType"),
        (
            {"selector": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
            "values",
        ),
        ({"selector": {"podSelector": {"matchExpressions": [{"key": "a"}]}}}, "operator"),
    ],
)
def test_a_mistake_is_refused_by_its_field(spec, field):
    with pytest.raises(UsageError) as caught:
        parse_pod_networking("red", spec)

    assert field in caught.value.field


@pytest.mark.parametrize(
    ("operator", "said"),
    [({"operator": "Is"}, 'operator is "Is"'), ({}, 'operator is ""')],
)
def test_an_operator_that_is_none_is_one_mistake_and_says_nothing_of_values(operator, said):
    condition = {"key": "a", "values": ["b"], **operator}

    with pytest.raises(UsageError) as caught:
        parse_pod_networking(
            "red", {**SPEC, "selector": {"podSelector": {"matchExpressions": [condition]}}}
        )

    assert said in str(caught.value)
    assert "; " not in str(caught.value)
    assert "values" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "key", "word", "rule"),
    [
        ("allocationType", "type", "fixed", "one of Elastic, Fixed"),
        ("allocationType", "releaseStrategy", "never", "one of TTL, Never"),
        ("eniOptions", "eniType", "eni", "one of Default, ENI, Trunk"),
        ("vSwitchSelectOptions", "vSwitchSelectionPolicy", "Most", "one of ordered, random, most"),
    ],
)
def test_a_word_in_other_letters_is_refused_for_that_and_for_nothing_that_follows(
    part, key, word, rule
):
    with pytest.raises(UsageError) as caught:
        parse_pod_networking("red", {**SPEC, part: {key: word}})

    assert str(caught.value).startswith(f'spec.{part}.{key} is "{word}": must be {rule}')
    assert "; " not in str(caught.value)
