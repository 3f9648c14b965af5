"""Is this a name that Kubernetes allows, and what does it make of generateName?

Source: k8s.io/apimachinery pkg/util/validation, k8s.io/apiserver names.SimpleNameGenerator.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from random import Random
from typing import Any

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"^{_LABEL}$")
_DNS_SUBDOMAIN = re.compile(rf"^{_LABEL}(\.{_LABEL})*$")
_DNS_1035_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")

# No vowels and nothing that looks like another: no bad words, no misreadings.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_BASE_LIMIT = 58  # 63 less the five of the suffix

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_1035_MESSAGE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
QUALIFIED_MESSAGE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


def is_dns_label(name: str) -> bool:
    """Say whether `name` is an RFC 1123 label: at most 63 characters."""
    return len(name) <= 63 and _DNS_LABEL.match(name) is not None


def is_dns_1035_label(name: str) -> bool:
    """Say whether `name` is an RFC 1035 label, which a Service's must be: a letter first."""
    return len(name) <= 63 and _DNS_1035_LABEL.match(name) is not None


def is_dns_subdomain(name: str) -> bool:
    """Say whether `name` is an RFC 1123 subdomain: at most 253 characters."""
    return len(name) <= 253 and _DNS_SUBDOMAIN.match(name) is not None


def is_label_value(value: str) -> bool:
    """Say whether `value` can be the value of a label."""
    return len(value) <= 63 and _LABEL_VALUE.match(value) is not None


def is_qualified_name(name: str) -> bool:
    """Say whether `name` can be the key of a label or annotation: ``[prefix/]name``."""
    prefix, slash, rest = name.rpartition("/")
    if slash and not is_dns_subdomain(prefix):
        return False
    return len(rest) <= 63 and _QUALIFIED.match(rest) is not None


def random_suffix(rng: Random, length: int = 5) -> str:
    """Return what generateName appends."""
    return "".join(rng.choice(_ALPHABET) for _ in range(length))


def generate_name(base: str, rng: Random) -> str:
    """Return a name that begins with `base`."""
    return base[:_BASE_LIMIT] + random_suffix(rng)


def new_uid(rng: Random) -> str:
    """Return a version 4 UUID drawn from `rng`."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def hash_of(value: Any, length: int = 10) -> str:
    """Return a short name-safe hash of any JSON value: the pod-template-hash."""
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])
