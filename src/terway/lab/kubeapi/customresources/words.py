"""The words of a structural schema that more than one module knows."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE, LIST_KEYS = "x-kubernetes-list-type", "x-kubernetes-list-map-keys"
RULES = "x-kubernetes-validations"
ENVELOPE = ("apiVersion", "kind", "metadata")  # what every object has, whatever its schema says
