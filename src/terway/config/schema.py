"""The declarations as JSON schema (draft 2020-12), for editors and other programs.

A schema knows each key by itself; what contradicts another key only the parser knows.
"""

from __future__ import annotations

from terway.config import keys_cni
from terway.config.declare import object_schema
from terway.config.eni_conf import KEYS as ENI_CONF_KEYS
from terway.config.keys_map import CONF, CONFLIST, ENI_CONF
from terway.config.keys_map import KEYS as MAP_KEYS
from terway.config.kinds import Schema

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
CONFIG_MAP = "eni-config"
DOCUMENTS = (ENI_CONF, CONF, CONFLIST, CONFIG_MAP)


def schema_of(document: str) -> Schema:
    """Return the schema of one of `DOCUMENTS`."""
    match document:
        case "eni_conf":
            return _document("Main settings of Terway", object_schema(ENI_CONF_KEYS))
        case "10-terway.conf":
            return _document("CNI configuration of the plugin terway", _plugin())
        case "10-terway.conflist":
            return _document("Chain of CNI plugins, terway first", _chain())
        case _:
            return _document("Data of the ConfigMap eni-config", _config_map())


def _document(title: str, body: Schema) -> Schema:
    return {"$schema": _DIALECT, "title": title, **body}


def _plugin() -> Schema:
    return {**object_schema(keys_cni.KEYS), "required": ["type"]}


def _chain() -> Schema:
    other: Schema = {"type": "object", "required": ["type"], "properties": {"type": _text()}}
    return {
        "type": "object",
        "required": ["plugins"],
        "properties": {
            "cniVersion": keys_cni.CNI_VERSION.kind.schema(),
            "name": keys_cni.NAME.kind.schema(),
            "plugins": {"type": "array", "minItems": 1, "prefixItems": [_plugin()], "items": other},
        },
    }


def _config_map() -> Schema:
    # A ConfigMap's data are texts; other components may keep keys of their own in it.
    return {
        "type": "object",
        "required": [ENI_CONF],
        "anyOf": [{"required": [CONF]}, {"required": [CONFLIST]}],
        "properties": {key.name: {**_text(), "description": key.meaning} for key in MAP_KEYS},
    }


def _text() -> Schema:
    return {"type": "string"}
