"""Where do the manifests of a command come from: its options, and what comes of them?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_network
from typing import Any, TypeVar

import click

from terway.cli.place import place_options
from terway.cli.policy_objects import Manifests, manifests_of
from terway.cli.policy_progress import telling
from terway.cli.policy_read import read_objects
from terway.cli.table import wrapped
from terway.model.address import IPNetwork
from terway.model.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)


def manifest_options(command: F) -> F:
    """Add the options that say where manifests are."""
    for option in (
        click.option(
            "--pod-cidr", "pod_cidrs", multiple=True, help="For pods that have no address yet."
        ),
        click.option(
            "-f",
            "--file",
            "files",
            multiple=True,
            help="A folder or file of manifests, or - ; else the cluster.",
        ),
    ):
        command = option(command)
    return json_option(place_options(command))


def read_manifests(files: Iterable[str], pod_cidrs: Iterable[str] = (), **where: str) -> Manifests:
    """Return what the manifests make; what a reader must know of it is on standard error."""
    with telling("reading manifests"):
        manifests = manifests_of(read_objects(files, **where), pod_cidrs=_networks(pod_cidrs))
    tell(manifests.notes)
    return manifests


def tell(notes: Iterable[str]) -> None:
    """Print notes on standard error: an answer for a program stays whole."""
    for note in notes:
        click.echo("\n".join(wrapped(f"note: {note}")), err=True)


def _networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    return tuple(map(parse_cidr, texts))


def parse_cidr(text: str) -> IPNetwork:
    """Return the network. Raises UsageError."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise UsageError(f"--pod-cidr {text}: {error}; write 10.244.0.0/16") from error
