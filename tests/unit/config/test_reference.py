"""The reference page and the schemas are what the declarations say, and so says the parser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from terway.cli.reference import documents
from terway.config import keys_cni, keys_map
from terway.config.declare import Effect, Reload
from terway.config.eni_conf import KEYS
from terway.config.schema import schema_of
from tests.support.json_schema import is_valid
from tests.unit.config.test_eni_conf import DOCUMENTED

REFERENCE = Path(__file__).parents[3] / "docs/reference"
EVERY_KEY = (*KEYS, *keys_cni.KEYS, *keys_map.KEYS)


@pytest.mark.parametrize("name", documents())
def test_the_reference_is_as_the_declarations_are(name):
    refresh = "python -m terway.cli.reference"

    assert (REFERENCE / name).read_text() == documents()[name], f"stale: run {refresh}"


@pytest.mark.parametrize("key", EVERY_KEY, ids=lambda key: key.name)
def test_a_key_says_what_it_means_and_why_it_does_nothing(key):
    assert key.meaning
    assert bool(key.why) == (key.effect in (Effect.NONE, Effect.LEGACY))
    assert (key.reload is not Reload.NEVER) or key.effect is not Effect.YES


def test_the_schema_takes_what_the_parser_takes():
    assert is_valid(schema_of("eni_conf"), DOCUMENTED)
    assert is_valid(schema_of("10-terway.conf"), {"type": "terway", "mtu": 0, "capabilities": {}})
    chain = {"name": "x", "plugins": [{"type": "terway"}, {"type": "portmap", "snat": True}]}
    assert is_valid(schema_of("10-terway.conflist"), chain)
    assert is_valid(schema_of("eni-config"), {"eni_conf": "{}", "10-terway.conf": "{}", "mine": ""})


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ("eni_conf", {"max_pool": 1}),
        ("eni_conf", {"max_pool_size": -1}),
        ("eni_conf", {"max_pool_size": True}),
        ("eni_conf", {"ip_stack": "v4"}),
        ("eni_conf", {"ip_pool_sync_period": "2 minutes"}),
        ("eni_conf", {"eni_cap_ratio": 0}),
        ("eni_conf", {"vswitches": {"a": ["sw-1"]}}),
        ("eni_conf", {"eni_tag_block_list": [{"name": "x"}]}),
        ("10-terway.conf", {"type": "calico"}),
        ("10-terway.conf", {}),
        ("10-terway.conf", {"type": "terway", "mtu": 100}),
        ("10-terway.conflist", {"plugins": []}),
        ("eni-config", {"eni_conf": "{}"}),
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(document, value):
    assert not is_valid(schema_of(document), value)


def test_a_schema_is_json():
    assert json.loads(documents()["eni_conf.schema.json"])["$schema"].endswith("2020-12/schema")
