"""Is everything in deploy/ that is made of something else up to date? `make manifests` makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from terway.cli.chart.generate import documents
from terway.cli.chart.render import check_values, find_chart
from terway.cli.chart.values import KEYS, values_schema
from terway.config.declare import Key, Record
from terway.config.findings import Report
from tests.support.json_schema import is_valid

DEPLOY = Path(__file__).parents[3] / "deploy"
DEFAULTS = yaml.safe_load((DEPLOY / "chart" / "terway" / "values.yaml").read_text())
# Keys of other documents; null is their default, and values.yaml does not repeat them.
OPEN = {"eniConf", "cniConf", "config", "global"}


@pytest.mark.parametrize("name", documents(DEPLOY))
def test_what_is_made_is_current(name):
    assert (DEPLOY / name).read_text() == documents(DEPLOY)[name]


def test_there_is_a_manifest_for_each_example_and_no_other():
    examples = {path.name for path in (DEPLOY / "values").iterdir()}

    assert {path.name for path in (DEPLOY / "manifests").glob("*.yaml")} == examples


def test_the_roles_are_those_of_the_chart():
    chart = DEPLOY / "chart" / "terway" / "templates" / "rbac.yaml"

    assert chart.resolve() == DEPLOY / "rbac.yaml"


def test_the_chart_is_found_beside_the_sources():
    assert find_chart() == DEPLOY / "chart" / "terway"


def names(keys: tuple[Key[object], ...], path: str = "") -> set[str]:
    found: set[str] = set()
    for key in keys:
        found.add(path + key.name)
        if isinstance(key.kind, Record) and key.name not in OPEN:
            found |= names(key.kind.keys, f"{path}{key.name}.")
    return found - {"global"}


def written(values: dict[str, object], path: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        found.add(path + name)
        is_part = any(
            one.name == name and isinstance(one.kind, Record) and name not in OPEN for one in KEYS
        )
        if is_part and isinstance(value, dict):
            found |= written(value, f"{path}{name}.")
    return found


def test_values_yaml_has_every_value_of_the_schema_and_no_other():
    assert written(DEFAULTS) == names(KEYS)


def test_values_yaml_is_as_the_schema_says():
    report = Report()

    check_values(DEFAULTS, report)

    assert not report.refusals
    assert is_valid(values_schema(), DEFAULTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"vswitches": {}}, "did you mean vSwitches?"),
        ({"mode": "Shared"}, "must be one of shared, exclusive"),
        ({"securityGroupIDs": [f"sg-{n}" for n in range(11)]}, "at most 10 go"),
        ({"pool": {"maxSize": -1}}, "must be a whole number"),
        ({"agent": {"maxUnavailable": "10 %"}}, "a number of nodes or a share"),
        ({"eniConf": {"max_pool": 3}}, "did you mean max_pool_size?"),
        ({"controlPlane": {"config": {"webhookport": 1}}}, "did you mean webhookPort?"),
    ],
)
def test_what_is_not_in_the_schema_is_refused_with_a_remedy(change, said):
    report = Report()

    check_values(change, report)

    assert said in str(report.refusals[0])
    assert not is_valid(values_schema(), change)
