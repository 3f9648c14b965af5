"""terway-cli policy eval: may this connection be made, and who says so?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
from click.core import ParameterSource

from terway.cli.exits import FOUND, OK, USAGE
from terway.cli.policy_batch import THROUGH, answer_file
from terway.cli.policy_source import manifest_options, read_manifests
from terway.cli.table import print_json, print_lines, wrapped
from terway.model.address import Family
from terway.model.errors import UsageError
from terway.policy.cluster import Cluster, Protocol
from terway.policy.ends import name_end, parties_of
from terway.policy.evaluate import evaluate
from terway.policy.flow import Flow, Judgement, Verdict
from terway.policy.reading.cases_cluster import read_end
from terway.policy.words import describe_judgement

PROTOCOLS = ("tcp", "udp", "sctp", "icmp")
_WITH_BATCH = ("batch", "through", "as_json")


@click.command("eval")
@click.option("--from", "source", default="", help="NAMESPACE/POD, node:NAME or ip:ADDRESS.")
@click.option("--to", "destination", default="", help="Likewise; the pod behind a service.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of the destination.")
@click.option(
    "--protocol",
    type=click.Choice(PROTOCOLS, case_sensitive=False),
    default="tcp",
    show_default=True,
)
@click.option("--family", type=click.Choice(["4", "6"]), help="Where both ends have both.")
@click.option("--via", default="", help="The service address that the client uses, if any.")
@click.option("--batch", default="", help="A file of cases, one JSON object a line (.gz, or -).")
@click.option(
    "--through",
    type=click.Choice(THROUGH),
    default="model",
    show_default=True,
    help="With --batch: who answers.",
)
@manifest_options
def command(
    *,
    source: str,
    destination: str,
    port: int | None,
    protocol: str,
    family: str | None,
    via: str,
    batch: str,
    through: str,
    files: tuple[str, ...],
    pod_cidrs: tuple[str, ...],
    as_json: bool,
    **where: str,
) -> None:
    """Say whether one connection may be made, and what each side says to it.

    \b
    terway-cli policy eval -f manifests/ --from shop/web --to shop/db --port 5432
    terway-cli policy eval --batch cases.jsonl

    With --batch, each line of FILE is a case of its own, with cluster, policies and probes, and
    one line of JSON answers it. Exit code 0: allowed (or a batch is answered); 1: denied; 2: wrong
    use, or a line of the batch is no case (its answer says so, and the rest is answered).
    """
    _refuse_mixture(click.get_current_context(), bool(batch))
    if batch:
        raise SystemExit(USAGE if answer_file(batch, through) else OK)
    flow = _flow(source, destination, protocol=protocol, port=port, family=family, via=via)
    manifests = read_manifests(files, pod_cidrs, **where)
    verdict = evaluate(manifests.cluster, manifests.policies, flow)
    if as_json:
        print_json(as_plain(flow, verdict))
    else:
        print_lines(verdict_lines(manifests.cluster, flow, verdict))
    raise SystemExit(OK if verdict.is_allowed else FOUND)


def _refuse_mixture(context: click.Context, is_batch: bool) -> None:
    """Raise UsageError for options that say nothing here: a batch's lines have all of it."""
    for option in context.command.params:
        name, text = option.name or "", option.opts[0]
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if is_batch and name not in _WITH_BATCH:
            message = (
                f"{text} has no meaning with --batch, whose lines are whole cases; leave out one"
            )
            raise UsageError(message, field=text)
        if name == "through" and not is_batch:
            raise UsageError("--through is about --batch; name a file of cases", field=text)


def _flow(
    source: str,
    destination: str,
    *,
    protocol: str,
    port: int | None,
    family: str | None,
    via: str,
) -> Flow:
    for text, field in ((source, "--from"), (destination, "--to")):
        if not text:
            message = f"{field} is missing; write {field} NAMESPACE/POD, node:NAME or ip:ADDRESS"
            raise UsageError(message, field=field)
    is_portless = protocol.lower() == "icmp"
    if port is None and not is_portless:
        raise UsageError("--port is missing; write --port 80, or --protocol icmp", field="--port")
    return Flow(
        source=read_end(source, "--from"),
        destination=read_end(destination, "--to"),
        protocol=Protocol.OTHER if is_portless else Protocol[protocol.upper()],
        port=0 if is_portless or port is None else port,
        family=Family(int(family)) if family else None,
        via_service=bool(via),
    )


def verdict_lines(cluster: Cluster, flow: Flow, verdict: Verdict) -> Iterator[str]:
    """Yield the connection, the verdict, and what each side says."""
    source, destination = parties_of(cluster, flow)
    on = f"{flow.protocol.value} {flow.port}" if flow.port else "ICMP and others without ports"
    yield f"from  {name_end(flow.source)} ({source.address})"
    yield f"to    {name_end(flow.destination)} ({destination.address}), {on}"
    yield ""
    yield "allowed" if verdict.is_allowed else "denied"
    for name, side in (("egress", verdict.egress), ("ingress", verdict.ingress)):
        said = describe_judgement(side) if side is not None else "that end is no pod: not judged"
        yield from wrapped(f"{name:<7} {said}", indent=2)


def as_plain(flow: Flow, verdict: Verdict) -> dict[str, Any]:
    """Return the answer for programs."""
    return {
        "from": name_end(flow.source),
        "to": name_end(flow.destination),
        "protocol": flow.protocol.value,
        "port": flow.port,
        "verdict": "allow" if verdict.is_allowed else "deny",
        "egress": _side(verdict.egress),
        "ingress": _side(verdict.ingress),
    }


def _side(side: Judgement | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "verdict": "allow" if side.is_allowed else "deny",
        "because": side.because.value,
        "policy": str(side.policy) if side.policy is not None else None,
        "rule": side.rule,
        "rule_name": side.rule_name,
        "text": describe_judgement(side),
    }
