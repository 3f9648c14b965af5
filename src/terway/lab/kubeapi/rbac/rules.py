"""Does a rule allow what is asked, and do rules cover what other rules allow?

Source: k8s.io/kubernetes pkg/apis/rbac/v1/evaluation_helpers.go;
k8s.io/component-helpers auth/rbac/validation/policy_comparator.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from terway.lab.kubeapi.rbac.attributes import Attributes

ALL = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One PolicyRule. No `resource_names`: all names."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = ()

    def allows(self, asked: Attributes) -> bool:
        """Say whether the rule alone allows what is asked."""
        if not _has(self.verbs, asked.verb):
            return False
        if asked.path:
            return any(_url_covers(url, asked.path) for url in self.non_resource_urls)
        return (
            _has(self.api_groups, asked.group)
            and self._names_resource(asked)
            and (not self.resource_names or asked.name in self.resource_names)
        )

    def _names_resource(self, asked: Attributes) -> bool:
        if _has(self.resources, asked.combined):
            return True
        return bool(asked.subresource) and f"*/{asked.subresource}" in self.resources

    def text(self) -> str:
        """Return the rule in one line, as Kubernetes' CompactString."""
        shown = (
            ("APIGroups", self.api_groups),
            ("Resources", self.resources),
            ("NonResourceURLs", self.non_resource_urls),
            ("ResourceNames", self.resource_names),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{name}:{quoted(held)}" for name, held in shown if held) + "}"


EVERYTHING = Rule(verbs=(ALL,), api_groups=(ALL,), resources=(ALL,))
EVERY_URL = Rule(verbs=(ALL,), non_resource_urls=(ALL,))


def quoted(texts: Iterable[str]) -> str:
    """Return texts as Go's %q shows a slice of strings."""
    return "[" + " ".join(f'"{text}"' for text in texts) + "]"


def parse_rule(held: Mapping[str, Any]) -> Rule:
    """Return a PolicyRule as the API has it."""
    return Rule(
        verbs=tuple(held.get("verbs") or ()),
        api_groups=tuple(held.get("apiGroups") or ()),
        resources=tuple(held.get("resources") or ()),
        resource_names=tuple(held.get("resourceNames") or ()),
        non_resource_urls=tuple(held.get("nonResourceURLs") or ()),
    )


def render_rule(rule: Rule) -> dict[str, Any]:
    """Return the rule as the API has it."""
    fields = {
        "verbs": rule.verbs,
        "apiGroups": rule.api_groups,
        "resources": rule.resources,
        "resourceNames": rule.resource_names,
        "nonResourceURLs": rule.non_resource_urls,
    }
    return {name: list(held) for name, held in fields.items() if held}


def _has(held: tuple[str, ...], wanted: str) -> bool:
    return ALL in held or wanted in held


def _url_covers(held: str, wanted: str) -> bool:
    return held == wanted or (held.endswith(ALL) and wanted.startswith(held.rstrip(ALL)))


def break_down(rule: Rule) -> Iterator[Rule]:
    """Yield rules of one verb, group, resource and name, or of one verb and URL."""
    for group, resource, verb in product(rule.api_groups, rule.resources, rule.verbs):
        part = Rule(verbs=(verb,), api_groups=(group,), resources=(resource,))
        if not rule.resource_names:
            yield part
        for name in rule.resource_names:
            yield replace(part, resource_names=(name,))
    for url, verb in product(rule.non_resource_urls, rule.verbs):
        yield Rule(verbs=(verb,), non_resource_urls=(url,))


def uncovered(held: Iterable[Rule], wanted: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return what `wanted` allows and no rule of `held` does, broken down; empty: covered."""
    held = tuple(held)
    return tuple(
        part
        for rule in wanted
        for part in break_down(rule)
        if not any(_covers(one, part) for one in held)
    )


def _covers(owner: Rule, part: Rule) -> bool:
    return (
        all(_has(owner.verbs, verb) for verb in part.verbs)
        and all(_has(owner.api_groups, group) for group in part.api_groups)
        and all(_covers_resource(owner.resources, resource) for resource in part.resources)
        and all(
            any(_url_covers(held, url) for held in owner.non_resource_urls)
            for url in part.non_resource_urls
        )
        and _covers_names(owner.resource_names, part.resource_names)
    )


def _covers_resource(held: tuple[str, ...], wanted: str) -> bool:
    _, slash, subresource = wanted.partition("/")
    return _has(held, wanted) or (bool(slash) and f"*/{subresource}" in held)


def _covers_names(held: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    if not wanted:
        return not held
    return not held or all(name in held for name in wanted)


def compact(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return broken-down rules with those merged that differ in their verbs only, but not URLs."""
    merged: dict[Rule, list[str]] = {}
    for rule in rules:
        alike = rule if rule.non_resource_urls else replace(rule, verbs=())
        merged.setdefault(alike, []).extend(rule.verbs)
    return tuple(replace(rule, verbs=tuple(dict.fromkeys(verbs))) for rule, verbs in merged.items())
