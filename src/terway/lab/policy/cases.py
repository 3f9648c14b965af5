"""What does a case want made? Its states, with the manifests as they are to go to an API."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from terway.lab.policy.manifests import Manifest, has_domain_names
from terway.model.address import IPAddress
from terway.model.errors import UsageError
from terway.policy.cluster import PodKey
from terway.policy.flow import Flow
from terway.policy.reading.cases import Case, Step, parse_case

_NO_NAMES = "domain names mean nothing here: nobody resolves them in the lab"


@dataclass(frozen=True, slots=True, kw_only=True)
class Via:
    """The service address that a client used."""

    address: IPAddress
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One state of a case: as policy reads it, and what policy does not read but a lab makes."""

    step: Step
    manifests: tuple[Manifest, ...]
    terminating: frozenset[PodKey]
    services: Mapping[Flow, Via]
    troubles: Mapping[Flow, str]  # flows that cannot be tried, and why


@dataclass(frozen=True, slots=True, kw_only=True)
class LabCase:
    """A case and its states in order."""

    case: Case
    states: tuple[State, ...]


def read_file(path: Path) -> Iterator[LabCase]:
    """Yield the cases of a file: one JSON object, or one a line; ``.gz`` is unpacked.

    UsageError names the line that is no case.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        text = file.read()
    for number, raw in _objects(text, path):
        try:
            yield read_case(raw)
        except UsageError as error:
            raise UsageError(f"{path}, case {number}: {error}") from error


def _objects(text: str, path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the JSON objects, numbered from 1: a whole file is one, or each line is."""
    try:
        yield 1, json.loads(text)
        return
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: no JSON: {error}") from error


def read_case(raw: Any) -> LabCase:
    """Return a case. Raises UsageError when it has no such form."""
    case = parse_case(raw)
    stages = raw["steps"] if raw.get("steps") else [raw]
    held = dict(raw)
    states = []
    for step, stage in zip(case.steps, stages, strict=True):
        held |= {field: stage[field] for field in ("pods", "policies") if field in stage}
        states.append(_state(step, stage, held))
    return LabCase(case=case, states=tuple(states))


def _state(step: Step, stage: Mapping[str, Any], held: Mapping[str, Any]) -> State:
    pods = held.get("pods") or ()
    manifests = tuple(held.get("policies") or ())
    services, troubles = _read_extras(step, stage, manifests)
    return State(
        step=step,
        manifests=manifests,
        terminating=frozenset(
            PodKey(namespace=pod.get("ns", ""), name=pod.get("name", ""))
            for pod in pods
            if pod.get("terminating")
        ),
        services=services,
        troubles=troubles,
    )


def _read_extras(
    step: Step, stage: Mapping[str, Any], manifests: Sequence[Manifest]
) -> tuple[dict[Flow, Via], dict[Flow, str]]:
    """Return the service addresses that clients used, and what cannot be tried here."""
    services: dict[Flow, Via] = {}
    troubles: dict[Flow, str] = {}
    for probe, raw in zip(step.probes, stage.get("probes") or (), strict=True):
        if probe.flow is None:
            continue
        if raw.get("domain") and has_domain_names(manifests):
            troubles[probe.flow] = _NO_NAMES
        if raw.get("via"):
            try:
                services[probe.flow] = _read_via(raw["via"])
            except (KeyError, ValueError, TypeError):
                troubles[probe.flow] = f"via {raw['via']!r}: write vip and port, or nodePort"
    return services, troubles


def _read_via(raw: Mapping[str, Any]) -> Via:
    if "nodePort" in raw:
        address, _, port = str(raw["nodePort"]).rpartition(":")
        return Via(address=ip_address(address.strip("[]")), port=int(port))
    return Via(address=ip_address(raw["vip"]), port=int(raw["port"]))
