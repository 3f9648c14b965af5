"""terway-cli policy explain: what do policies say, in sentences?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from terway.cli.policy_names import groups_text, ports_text
from terway.cli.policy_objects import Manifests
from terway.cli.policy_source import manifest_options, read_manifests
from terway.cli.table import print_json, print_lines, wrapped
from terway.model.errors import UsageError
from terway.policy.asking.explain import sentences
from terway.policy.asking.explain_pod import Reach, Sum, sums
from terway.policy.asking.representatives import holders_of
from terway.policy.cluster import PodKey
from terway.policy.policies import Direction, Policy


@click.command("explain")
@click.argument("name", default="", metavar="[POLICY | NAMESPACE/POD]")
@manifest_options
def command(
    *, name: str, files: tuple[str, ...], pod_cidrs: tuple[str, ...], as_json: bool, **where: str
) -> None:
    """Say what a policy says, or what all of them together say at a pod.

    POLICY is the name of one, with its namespace or without; without any name, every policy is
    explained. For a pod (pod:NAMESPACE/POD where a policy has its name): which policies decide,
    who gets in and what it reaches, both sides taken together.
    """
    manifests = read_manifests(files, pod_cidrs, **where)
    chosen = _policies_named(manifests, name)
    if chosen:
        if as_json:
            print_json([{"policy": str(one.key), "says": list(sentences(one))} for one in chosen])
        else:
            print_lines(line for one in chosen for line in policy_lines(one, manifests))
        return
    found = sums(
        manifests.policies, holders_of(manifests.cluster, manifests.policies), _pod(manifests, name)
    )
    if as_json:
        print_json([_plain(one) for one in found])
    else:
        print_lines(line for one in found for line in sum_lines(one, name))


def _policies_named(manifests: Manifests, name: str) -> tuple[Policy, ...]:
    return tuple(
        one
        for one in manifests.policies
        if name in ("", one.key.name, f"{one.key.namespace}/{one.key.name}", str(one.key))
    )


def _pod(manifests: Manifests, name: str) -> PodKey:
    namespace, slash, pod = name.removeprefix("pod:").partition("/")
    if not slash or PodKey(namespace=namespace, name=pod) not in manifests.cluster.pods:
        text = f"{name!r} is no policy and no pod here; write POLICY or NAMESPACE/POD"
        raise UsageError(text, field="POLICY")
    return PodKey(namespace=namespace, name=pod)


def policy_lines(policy: Policy, manifests: Manifests) -> Iterator[str]:
    """Yield what a policy says."""
    yield from wrapped(f"{policy.key} in {manifests.origins.get(policy.key, '?')}")
    for text in sentences(policy):
        yield from wrapped(text, indent=4 if "gress[" in text.split(" ")[0] else 2)
    yield ""


def sum_lines(found: Sum, name: str) -> Iterator[str]:
    """Yield what is said in one direction of a pod."""
    is_ingress = found.direction is Direction.INGRESS
    yield f"{'into' if is_ingress else 'out of'} {name}"
    if found.policies:
        yield from wrapped(
            f"decided by {', '.join(str(one.key) for one in found.policies)}", indent=2
        )
    else:
        yield "  no policy is about it: its side allows everything"
    for reach in sorted(found.reaches, key=lambda one: not one.ports):
        yield from wrapped(_reach(reach, is_ingress=is_ingress), indent=2)
    if is_ingress:
        yield "  from its own node: everything, always"
    yield ""


def _reach(reach: Reach, *, is_ingress: bool) -> str:
    others = groups_text(reach.others)
    text = f"{'from' if is_ingress else 'to'} {others}: {ports_text(reach.ports)}"
    if reach.ports != reach.own:
        text += " (the other side denies more than this one)"
    return text


def _plain(found: Sum) -> dict[str, Any]:
    return {
        "direction": found.direction.value,
        "policies": [str(one.key) for one in found.policies],
        "reaches": [
            {
                "others": [
                    str(end.pod.key) if end.pod is not None else str(end.address)
                    for group in one.others
                    for end in group.holders
                ],
                "addresses": [str(end.address) for group in one.others for end in group.holders],
                "ports": ports_text(one.ports),
                "own_side": ports_text(one.own),
            }
            for one in found.reaches
        ],
    }
