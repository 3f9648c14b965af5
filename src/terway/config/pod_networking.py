"""What does a PodNetworking say?

Source: AliyunContainerService/terway, pkg/apis/network.alibabacloud.com/v1beta1, PodNetworking.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from terway.config.declare import Key, Record, Values, read_object
from terway.config.findings import Report
from terway.config.kinds import ListOf, MapOf, OneOf, Text
from terway.config.network_keys import (
    AFTER,
    ALLOCATION_TYPE,
    ENI_OPTIONS,
    ENI_TYPE,
    KEPT,
    POLICY,
    RELEASE,
    SELECT,
    SHARED_KEYS,
    Kept,
    network_of,
)
from terway.model.ids import VSwitchId, ZoneId
from terway.model.pod_network import PodNetworking
from terway.model.selector import Operator, Requirement, Selector

READY = "Ready"

_NO_LABELS: Mapping[str, str] = {}
_LABELS: Key[Mapping[str, str]] = Key(
    name="matchLabels", kind=MapOf(of=Text()), default=_NO_LABELS, meaning="Labels to have"
)
_LABEL: Key[str] = Key(name="key", kind=Text(), default="", meaning="The label")
_OPERATOR: Key[Operator | None] = Key(
    name="operator", kind=OneOf(Operator), default=None, meaning="How it compares"
)
_VALUES: Key[tuple[str, ...]] = Key(
    name="values", kind=ListOf(of=Text()), default=(), meaning="With what"
)
_EXPRESSIONS: Key[tuple[Values, ...]] = Key(
    name="matchExpressions",
    kind=ListOf(of=Record(keys=(_LABEL, _OPERATOR, _VALUES))),
    default=(),
    meaning="Conditions on labels",
)
_SELECTOR_KIND = Record(keys=(_LABELS, _EXPRESSIONS))
_PODS: Key[Values | None] = Key(
    name="podSelector", kind=_SELECTOR_KIND, default=None, meaning="Which pods"
)
_NAMESPACES: Key[Values | None] = Key(
    name="namespaceSelector", kind=_SELECTOR_KIND, default=None, meaning="In which namespaces"
)
_SELECTOR: Key[Values | None] = Key(
    name="selector",
    kind=Record(keys=(_PODS, _NAMESPACES)),
    default=None,
    meaning="Which pods have it without asking",
)

# Words of the schema, and in what they are.
_WORDS: tuple[tuple[Key[Values | None], Key[Enum]], ...] = (
    (ENI_OPTIONS, ENI_TYPE),
    (SELECT, POLICY),
    (ALLOCATION_TYPE, KEPT),
    (ALLOCATION_TYPE, RELEASE),
)


def parse_pod_networking(
    name: str, spec: Mapping[str, object], status: Mapping[str, object] | None = None
) -> PodNetworking:
    """Return what `spec` says, and of `status` where the vSwitches are. Raises ConfigError."""
    report = Report()
    said = read_object((*SHARED_KEYS, _SELECTOR), spec, "spec", report)
    _check_case(said, spec, report)
    network = network_of(said, report)
    chosen = said[_SELECTOR]
    pods = None if chosen is None else _selector(chosen[_PODS], report)
    namespaces = None if chosen is None else _selector(chosen[_NAMESPACES], report)
    report.raise_refusals()
    status = status or {}
    return PodNetworking(
        name=name,
        network=network,
        pods=pods,
        namespaces=namespaces,
        is_ready=status.get("status") == READY,
        zones=_zones(status.get("vSwitches")),
    )


def useless_words(spec: Mapping[str, object]) -> tuple[str, ...]:
    """Return what to say of words in `spec`, which can be read, that change nothing."""
    said = read_object((*SHARED_KEYS, _SELECTOR), spec, "spec", Report())[ALLOCATION_TYPE]
    if said is None or said[KEPT] is Kept.FIXED:
        return ()
    useless = [said.path(key) for key in (RELEASE, AFTER) if said[key] != key.default]
    if not useless:
        return ()
    rule = "has no effect" if len(useless) == 1 else "have no effect"
    text = f"{' and '.join(useless)} {rule}: an Elastic interface goes with its pod; "
    return (f"{text}for one that stays say {said.path(KEPT)} Fixed",)


def _check_case(said: Values, spec: Mapping[str, object], report: Report) -> None:
    """Refuse words in another case: the schema has them in one, and is asked after the webhook."""
    for part, key in _WORDS:
        held, raw = said[part], spec.get(part.name)
        if held is None or not isinstance(raw, Mapping) or not held.has(key):
            continue
        if raw[key.name] != held[key].value:
            words = ", ".join(str(one.value) for one in type(held[key]) if one.value)
            rule = f"must be one of {words}, in these letters"
            report.refuse(held.path(key), raw[key.name], rule)


def _selector(said: Values | None, report: Report) -> Selector | None:
    """Return a selector, None where none is set; one without conditions is everything."""
    if said is None:
        return None
    labels = (
        Requirement(key=key, operator=Operator.IN, values=frozenset((value,)))
        for key, value in said[_LABELS].items()
    )
    expressions = (_requirement(one, report) for one in said[_EXPRESSIONS])
    return Selector(requirements=frozenset((*labels, *expressions)))


def _requirement(said: Values, report: Report) -> Requirement:
    if not said[_LABEL]:
        report.refuse(said.path(_LABEL), "", "must name a label")
    operator = said[_OPERATOR]
    if operator is None:
        if not report.has_refused([said.path(_OPERATOR)]):
            report.refuse(said.path(_OPERATOR), "", f"must be {_OPERATOR.kind.words}")
        operator = Operator.EXISTS  # of what is refused; whether it has values nobody can say
    else:
        _check_values(said, operator, report)
    return Requirement(key=said[_LABEL], operator=operator, values=frozenset(said[_VALUES]))


def _check_values(said: Values, operator: Operator, report: Report) -> None:
    needs_values = operator in (Operator.IN, Operator.NOT_IN)
    if needs_values != bool(said[_VALUES]):
        rule = "must have values" if needs_values else f"{operator.value} has none: remove them"
        report.refuse(said.path(_VALUES), list(said[_VALUES]), rule)


def _zones(listed: object) -> dict[VSwitchId, ZoneId]:
    entries = listed if isinstance(listed, list) else []
    return {VSwitchId(str(one.get("id"))): ZoneId(str(one.get("zone"))) for one in entries}
