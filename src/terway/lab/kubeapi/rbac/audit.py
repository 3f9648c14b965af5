"""What has each user really asked for? So that roles can be seen to be sufficient, and narrow.

Kept by user, verb and resource: neither names nor namespaces, so it stays as small as a role is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from terway.lab.kubeapi.rbac.attributes import Attributes
from terway.lab.kubeapi.rbac.rules import Rule, break_down
from terway.lab.kubeapi.rbac.users import Identity

Asked = tuple[str, str, str]  # verb, group, resource with subresource; or verb, "", path


class Audit:
    """Counts the requests of each user; those of system:masters are not of interest."""

    def __init__(self) -> None:
        self._allowed: dict[str, Counter[Asked]] = {}
        self._refused: dict[str, Counter[Asked]] = {}

    def note(self, user: Identity, asked: Attributes, *, allowed: bool) -> None:
        """Count one request."""
        if user.is_master:
            return
        counts = self._allowed if allowed else self._refused
        what = (asked.verb, asked.group, asked.path or asked.combined)
        counts.setdefault(user.name, Counter())[what] += 1

    def refused(self, user: str) -> Counter[Asked]:
        """Return what the user asked for in vain: what its roles lack."""
        return Counter(self._refused.get(user, Counter()))

    def allowed(self, user: str) -> Counter[Asked]:
        """Return what the user asked for and got."""
        return Counter(self._allowed.get(user, Counter()))

    def unused(self, user: str, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        """Return the parts of `rules` that no request of the user has needed so far."""
        seen = [_attributes(what) for what in self._allowed.get(user, ())]
        parts = (part for rule in rules for part in break_down(rule))
        return tuple(part for part in parts if not any(_needs(one, part) for one in seen))


def _attributes(asked: Asked) -> Attributes:
    verb, group, what = asked
    if what.startswith("/"):
        return Attributes(verb=verb, path=what)
    resource, _, subresource = what.partition("/")
    return Attributes(verb=verb, group=group, resource=resource, subresource=subresource)


def _needs(asked: Attributes, part: Rule) -> bool:
    # A name in a rule only narrows it: whether that name was asked for is not known here.
    named = Rule(
        verbs=part.verbs,
        api_groups=part.api_groups,
        resources=part.resources,
        non_resource_urls=part.non_resource_urls,
    )
    return named.allows(asked)
