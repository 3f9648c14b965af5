"""What is a webhook configuration: its defaults, and what of it is refused?

Source: k8s.io/kubernetes pkg/apis/admissionregistration/v1/defaults.go and
pkg/apis/admissionregistration/validation, v1.32.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from terway.lab.kubeapi import names
from terway.lab.kubeapi.causes import (
    duplicate_value,
    invalid_value,
    not_supported,
    required,
)
from terway.lab.kubeapi.errors import Cause
from terway.lab.kubeapi.networkpolicy import validate_selector
from terway.lab.kubeapi.objects import Object
from terway.lab.kubeapi.webhooks.conditions import validate_conditions

_DEFAULTS: Object = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}
_CHOICES = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
    "sideEffects": ("None", "NoneOnDryRun"),
    "reinvocationPolicy": ("IfNeeded", "Never"),
}
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_MOST_SECONDS = 30


def mutating_defaults(configuration: Object) -> Object:
    """Return a MutatingWebhookConfiguration with its defaults."""
    return _filled(configuration, {**_DEFAULTS, "reinvocationPolicy": "Never"})


def validating_defaults(configuration: Object) -> Object:
    """Return a ValidatingWebhookConfiguration with its defaults."""
    return _filled(configuration, _DEFAULTS)


def _filled(configuration: Object, defaults: Object) -> Object:
    hooks = [_with_rules({**defaults, **hook}) for hook in configuration.get("webhooks") or ()]
    return {**configuration, "webhooks": hooks} if hooks else configuration


def _with_rules(hook: Object) -> Object:
    rules = [{"scope": "*", **rule} for rule in hook.get("rules") or ()]
    config = hook.get("clientConfig") or {}
    if service := config.get("service"):
        config = {**config, "service": {"port": 443, **service}}
    return {**hook, "rules": rules, "clientConfig": config}


def validate_configuration(configuration: Object) -> Iterator[Cause]:
    """Yield what is wrong with a webhook configuration of either kind."""
    seen: set[str] = set()
    for index, hook in enumerate(configuration.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", str(hook.get("name", ""))
        if not names.is_dns_subdomain(name) or name.count(".") < 2:
            why = "should be a domain with at least three segments separated by dots"
            yield invalid_value(f"{path}.name", name, why)
        elif name in seen:
            yield duplicate_value(f"{path}.name", name)
        seen.add(name)
        yield from _hook(hook, path)


def _hook(hook: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for field, choices in _CHOICES.items():
        if field == "sideEffects" and field not in hook:
            yield required(f"{path}.{field}", f"must specify one of {', '.join(choices)}")
        elif hook.get(field, choices[0]) not in choices:
            yield not_supported(f"{path}.{field}", str(hook[field]), choices)
    timeout_s = hook["timeoutSeconds"]
    if not 1 <= timeout_s <= _MOST_SECONDS:
        why = f"the timeout value must be between 1 and {_MOST_SECONDS} seconds"
        yield invalid_value(f"{path}.timeoutSeconds", timeout_s, why)
    versions = hook.get("admissionReviewVersions") or []
    if not versions:
        yield required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1")
    elif "v1" not in versions:
        why = "must include at least one of v1"
        yield invalid_value(f"{path}.admissionReviewVersions", versions, why)
    yield from validate_conditions(hook.get("matchConditions") or [], f"{path}.matchConditions")
    for field in ("namespaceSelector", "objectSelector"):
        yield from validate_selector(hook[field], f"{path}.{field}")
    for index, rule in enumerate(hook["rules"]):
        yield from _rule(rule, f"{path}.rules[{index}]")
    yield from _client(hook["clientConfig"], f"{path}.clientConfig")


def _rule(rule: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for field in ("operations", "apiGroups", "apiVersions", "resources"):
        if not rule.get(field):
            yield required(f"{path}.{field}")
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            yield not_supported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    scopes = ("*", "Cluster", "Namespaced")
    if rule["scope"] not in scopes:
        yield not_supported(f"{path}.scope", rule["scope"], scopes)


def _client(config: Mapping[str, Any], path: str) -> Iterator[Cause]:
    url, service = config.get("url"), config.get("service") or {}
    if bool(url) == bool(service):
        yield required(path, "exactly one of url or service is required")
    if url and (urlsplit(url).scheme != "https" or not urlsplit(url).hostname):
        why = "'https' is the only allowed URL scheme; desired format: https://host[/path]"
        yield invalid_value(f"{path}.url", url, why)
    for field in ("name", "namespace") if service else ():
        if not service.get(field):
            yield required(f"{path}.service.{field}", f"service {field} is required")
    if config.get("caBundle") and not _is_certificate(config["caBundle"]):
        why = "unable to load root certificates: unable to parse bytes as PEM block"
        yield invalid_value(f"{path}.caBundle", config["caBundle"], why)


def _is_certificate(text: str) -> bool:
    try:
        ssl.create_default_context(cadata=base64.b64decode(text, validate=True).decode())
    except (ssl.SSLError, binascii.Error, UnicodeDecodeError, ValueError):
        return False
    return True
