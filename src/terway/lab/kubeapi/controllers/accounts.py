"""Which service accounts must there be, and what are the sums of roles?

Source: k8s.io/kubernetes pkg/controller/serviceaccount (serviceaccounts_controller.go) and
pkg/controller/clusterroleaggregation, v1.32.
"""

from __future__ import annotations

from collections.abc import Iterator

from terway.lab.kubeapi.controllers.actions import Action, Create, Patch
from terway.lab.kubeapi.controllers.view import View
from terway.lab.kubeapi.objects import Object, is_terminating, labels_of, name_of, read_path
from terway.lab.kubeapi.resources import CLUSTER_ROLE, NAMESPACE, SERVICE_ACCOUNT
from terway.lab.kubeapi.selectors import label_selector
from terway.lab.kubeapi.store import Key

DEFAULT = "default"


def plan_service_accounts(view: View) -> Iterator[Action]:
    """Yield the account `default` of each namespace that has none."""
    for namespace in view.unsorted(NAMESPACE):
        name = name_of(namespace)
        if is_terminating(namespace) or view.find(SERVICE_ACCOUNT, Key(name, DEFAULT)):
            continue
        account = {"metadata": {"name": DEFAULT, "namespace": name}}
        yield Create(resource=SERVICE_ACCOUNT, object=account)


def plan_role_sums(view: View) -> Iterator[Action]:
    """Yield the rules of roles that are sums of others."""
    roles = view.all(CLUSTER_ROLE)
    for role in roles:
        selectors = read_path(role, "aggregationRule.clusterRoleSelectors")
        if selectors is None or is_terminating(role):
            continue
        rules = _sum_of(role, roles, selectors)
        if rules != (role.get("rules") or []):
            yield Patch(resource=CLUSTER_ROLE, object=role, patch={"rules": rules})


def _sum_of(total: Object, roles: list[Object], selectors: list[Object]) -> list[Object]:
    chosen: dict[str, Object] = {}
    for selector in selectors:
        matches = label_selector(selector)
        chosen |= {name_of(role): role for role in roles if matches(labels_of(role))}
    chosen.pop(name_of(total), None)
    rules: list[Object] = []
    for role in chosen.values():
        rules += [rule for rule in role.get("rules") or () if rule not in rules]
    return rules
