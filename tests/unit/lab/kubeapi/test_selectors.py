"""Label and field selectors."""

from __future__ import annotations

import pytest

from terway.lab.kubeapi.errors import ApiError
from terway.lab.kubeapi.resources import NODE, POD
from terway.lab.kubeapi.selectors import label_selector, parse_labels, parse_selector

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app=web,tier=back", False),
        ("app!=web", False),
        ("other!=x", True),
        ("app", True),
        ("!app", False),
        ("!other", True),
        ("app in (web, db)", True),
        ("app notin (web, db)", False),
        ("other notin (x),app in (web)", True),
        ("n>4", True),
        ("n<4", False),
    ],
)
def test_a_label_selector_is_read_as_kubectl_writes_it(selector, matches):
    assert parse_labels(selector)(LABELS) is matches


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["4"]}]}, True),
    ],
)
def test_a_label_selector_object_means_the_same(selector, matches):
    assert label_selector(selector)(LABELS) is matches


POD_OBJECT = {
    "metadata": {"name": "a", "namespace": "ns"},
    "spec": {"nodeName": "n1"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("metadata.name=a", True),
        ("metadata.namespace!=ns", False),
        ("spec.nodeName=n1,status.phase!=Succeeded,status.phase!=Failed", True),
        ("spec.nodeName=", False),
        ("spec.hostNetwork=false", True),
    ],
)
def test_a_field_selector_reads_the_fields_its_kind_has(selector, matches):
    assert parse_selector(POD, fields=selector)(POD_OBJECT) is matches


def test_a_field_that_cannot_be_selected_is_refused():
    with pytest.raises(ApiError, match=r"field label not supported: spec\.nodeName"):
        parse_selector(NODE, fields="spec.nodeName=n1")
