"""How are the questions answered that are asked as objects: may he, who is this, what may I?

Source: k8s.io/kubernetes pkg/registry/authorization, pkg/registry/authentication, v1.32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from terway.lab.kubeapi.errors import bad_request
from terway.lab.kubeapi.objects import Object, read_path
from terway.lab.kubeapi.rbac.attributes import Attributes
from terway.lab.kubeapi.rbac.authorizer import Authorizer
from terway.lab.kubeapi.rbac.rules import render_rule
from terway.lab.kubeapi.rbac.users import Identity
from terway.lab.kubeapi.resources import (
    LOCAL_ACCESS_REVIEW,
    SELF_ACCESS_REVIEW,
    SELF_RULES_REVIEW,
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
    ResourceDef,
)
from terway.lab.kubeapi.tokens import ISSUER, Tokens


def answer_review(
    authorizer: Authorizer,
    tokens: Tokens,
    resource: ResourceDef,
    review: Object,
    *,
    asker: Identity,
    namespace: str = "",
) -> Object:
    """Return the review with its status. ApiError 400 for one that asks nothing."""
    spec = review.get("spec") or {}
    status: Object
    if resource is TOKEN_REVIEW:
        status = _review_token(tokens, spec)
    elif resource is SELF_SUBJECT_REVIEW:
        status = {"userInfo": _user_info(asker)}
    elif resource is SELF_RULES_REVIEW:
        status = _rules(authorizer, asker, spec)
    elif resource is SELF_ACCESS_REVIEW:
        status = _access(authorizer, asker, spec)
    else:
        if resource is LOCAL_ACCESS_REVIEW:
            _check_local(spec, namespace)
        status = _access(authorizer, _subject(spec), spec)
    return {**review, "metadata": review.get("metadata") or {}, "status": status}


def _subject(spec: Mapping[str, Any]) -> Identity:
    name, groups = str(spec.get("user") or ""), tuple(spec.get("groups") or ())
    if not name and not groups:
        raise bad_request(
            'spec.user: Invalid value: "": at least one of user or group must be specified'
        )
    return Identity(name=name, groups=groups, uid=str(spec.get("uid") or ""))


def _check_local(spec: Mapping[str, Any], namespace: str) -> None:
    if read_path(spec, "resourceAttributes.namespace", "") != namespace:
        raise bad_request(
            f"spec.resourceAttributes.namespace must match metadata.namespace: {namespace}"
        )


def _access(authorizer: Authorizer, user: Identity, spec: Mapping[str, Any]) -> Object:
    wanted, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if wanted is not None and path is None:
        names = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
        asked = Attributes(**{name: str(wanted.get(name) or "") for name in names})
    elif path is not None and wanted is None:
        asked = Attributes(verb=str(path.get("verb") or ""), path=str(path.get("path") or "/"))
    else:
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes must be set")
    decision = authorizer.grants.decide(user, asked)
    status: Object = {"allowed": decision.is_allowed}
    return {**status, "reason": decision.reason} if decision.reason else status


def _rules(authorizer: Authorizer, user: Identity, spec: Mapping[str, Any]) -> Object:
    namespace = str(spec.get("namespace") or "")
    if not namespace:
        raise bad_request("no namespace on request")
    rules = authorizer.grants.rules_of(user, namespace)
    return {
        "resourceRules": [render_rule(rule) for rule in rules if rule.resources],
        "nonResourceRules": [render_rule(rule) for rule in rules if rule.non_resource_urls],
        "incomplete": False,
    }


def _review_token(tokens: Tokens, spec: Mapping[str, Any]) -> Object:
    wanted = spec.get("audiences") or [ISSUER]
    user = tokens.read(str(spec.get("token") or ""))
    if user is None or ISSUER not in wanted:
        return {"authenticated": False, "error": "invalid bearer token", "user": {}}
    return {"authenticated": True, "user": _user_info(user), "audiences": [ISSUER]}


def _user_info(user: Identity) -> Object:
    info: Object = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = {name: list(values) for name, values in user.extra.items()}
    return info
