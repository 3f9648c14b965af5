"""What is the API server to ask upstream's webhook, so that nobody gets in once it is gone? Pure.

    upstream's   every pod, which gets in without its network where nobody answers
    while held   pods that ask for a network by annotation     fail, and are made anew
                 pods that a PodNetworking selects             fail, an entry each
                 all others, as far as upstream asked of them  ignored

Who is asked stays the same: upstream answers until its last pod ends, then ours, which makes its
own entries of these (controlplane/entries). No pod is asked about twice, for upstream refuses one
that has its answer already. Source: Kubernetes docs "Dynamic Admission Control".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from terway.cli.migrate_cluster import NAMESPACE

Hook = dict[str, Any]

_AWAY = "is-terway-controlplane-up.network.alibabacloud.com"
_LONGEST = 100
_KEYS = ("pod-eni", "pod-networks", "pod-networks-request", "pod-networking")
_NOTES = "has(object.metadata.annotations)"
_ASKS = " || ".join(
    f"('k8s.aliyun.com/{key}' in object.metadata.annotations && "
    f"!(object.metadata.annotations['k8s.aliyun.com/{key}'] in ['', 'false', 'False']))"
    for key in _KEYS
)
_ASKING = f"{_NOTES} && ({_ASKS})"
_SHARES_HOST = "has(object.spec.hostNetwork) && object.spec.hostNetwork == true"
_NOT_OURS = {"key": "k8s.aliyun.com/ignore-by-terway", "operator": "NotIn", "values": ["true"]}
# Pods that may be needed to bring the webhook up: they are not held.
_NOT_SYSTEM = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [NAMESPACE]}


def held_entries(
    upstreams: Sequence[Mapping[str, Any]],
    networkings: Iterable[Mapping[str, Any]],
    *,
    with_conditions: bool,
) -> list[Hook]:
    """Return what replaces the entries of one of upstream's configurations.

    Without conditions, which servers before 1.30 may not know, pods that ask by annotation cannot
    be told from others: they are not asked about, and wait at the node for what our `pod`
    controller makes for them.
    """
    asked = [one for one in upstreams if "pods" in _resources(one)]
    found = list(_of_networkings(upstreams))
    for one in asked[:1]:
        selecting = (_selecting(one, each, with_conditions) for each in networkings)
        # Who is changed by an entry asks from then on, and is no other entry's business.
        found += [*_asking(one, with_conditions), *filter(None, selecting)]
        found += _others(one, with_conditions)
    return found


def answers_webhook(manifests: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a control plane comes with these manifests that answers a webhook."""
    texts = [
        one["data"]["ctrl-config.yaml"]
        for one in manifests
        if one["kind"] == "ConfigMap" and "ctrl-config.yaml" in (one.get("data") or {})
    ]
    return any(not (yaml.safe_load(text) or {}).get("disableWebhook") for text in texts)


def _resources(entry: Mapping[str, Any]) -> set[str]:
    return {name for rule in entry.get("rules") or () for name in rule.get("resources") or ()}


def _of_networkings(upstreams: Iterable[Mapping[str, Any]]) -> Iterator[Hook]:
    for number, one in enumerate(upstreams):
        rules = [rule for rule in one.get("rules") or () if "pods" not in rule["resources"]]
        if rules:
            yield {**one, "name": f"podnetworkings-{number}.{_AWAY}", "rules": rules}


def _of_pods(entry: Mapping[str, Any], name: str) -> Hook:
    rules = [rule for rule in entry["rules"] if "pods" in rule["resources"]]
    return {**entry, "name": f"{name}.{_AWAY}", "rules": rules}


def _selecting(
    entry: Mapping[str, Any], networking: Mapping[str, Any], with_conditions: bool
) -> Hook | None:
    selector = (networking.get("spec") or {}).get("selector")
    if not selector:
        return None
    name = networking["metadata"]["name"]
    short = name if len(name) <= _LONGEST else hashlib.sha256(name.encode()).hexdigest()[:20]
    made = {
        **_of_pods(entry, f"podnetworking-{short}-selects-pod"),
        "failurePolicy": "Fail",
        "objectSelector": _both(selector.get("podSelector"), _NOT_OURS),
        "namespaceSelector": _both(
            selector.get("namespaceSelector"),
            *((entry.get("namespaceSelector") or {}).get("matchExpressions") or ()),
            _NOT_SYSTEM,
        ),
    }
    if with_conditions:
        made["matchConditions"] = _conditions(asks_for_nothing=f"!({_ASKING})")
    return made


def _asking(entry: Mapping[str, Any], with_conditions: bool) -> Iterator[Hook]:
    if with_conditions:
        yield {
            **_of_pods(entry, "pod-asks-for-a-network"),
            "failurePolicy": "Fail",
            "matchConditions": _conditions(asks_for_a_network=_ASKING),
        }


def _others(entry: Mapping[str, Any], with_conditions: bool) -> Iterator[Hook]:
    if with_conditions:
        yield {
            **_of_pods(entry, "other-pods"),
            "failurePolicy": "Ignore",
            "matchConditions": _conditions(asks_for_nothing=f"!({_ASKING})"),
        }


def _both(selector: Mapping[str, Any] | None, *expressions: Mapping[str, Any]) -> dict[str, Any]:
    held = selector or {}
    both = [*(held.get("matchExpressions") or ()), *expressions]
    return {**held, "matchExpressions": both}


def _conditions(**texts: str) -> list[dict[str, str]]:
    every = {**texts, "is_not_in_the_hosts_network": f"!({_SHARES_HOST})"}
    return [{"name": name.replace("_", "-"), "expression": text} for name, text in every.items()]
