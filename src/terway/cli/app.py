"""Which commands does terway-cli have, and which module holds each?"""

from __future__ import annotations

import errno
import os
import sys

import click

from terway import __version__
from terway.cli.exits import USAGE
from terway.cli.lazy import LazyCommands

# name: (module with a click command called `command`, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "show": ("terway.cli.show", "A node at a glance: pool, ENIs, pods, cautions."),
    "mapping": ("terway.cli.mapping", "Cloud, journal, kernel and Kubernetes side by side."),
    "metadata": ("terway.cli.metadata", "What the metadata service says of this instance."),
    "doctor": ("terway.cli.doctor", "Find what is wrong with a node, and mend it."),
    "why": ("terway.cli.why", "Walk one packet of a pod, and name the hop that fails."),
    "events": ("terway.cli.events", "What terwayd told of this node, the newest first."),
    "capture": ("terway.cli.capture", "Packets of a pod or ENI, as pcap; both sides of a hop."),
    "connectivity-test": ("terway.cli.matrix", "Test every path between pods and nodes."),
    "capacity": ("terway.cli.capacity", "How many pods fit on an instance type, and why."),
    "plan": ("terway.cli.plan", "Plan a network, and create it."),
    "validate": ("terway.cli.validate", "Check a configuration before it is used."),
    "migrate": ("terway.cli.migrate", "From upstream Terway to this one in place, and back."),
    "policy": ("terway.cli.policy", "What policies say: eval, matrix, diff, lint, check, …"),
    "flows": ("terway.cli.flows", "Which connections are allowed and denied, and by what."),
    "services": ("terway.cli.services", "Where services lead on this node, and why not elsewhere."),
    "monitor": ("terway.cli.monitor", "Losses and connections of the eBPF data path, live."),
    "drops": ("terway.cli.drops", "How many packets each pod lost, and why."),
    "support-bundle": ("terway.cli.bundle", "Everything about a node in one file."),
    "health": ("terway.cli.health", "Is terwayd alive, and does it serve."),
    "metrics": ("terway.cli.metrics", "terwayd's own figures."),
    "completion": ("terway.cli.completion", "Completion for bash, zsh or fish."),
}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@click.group(
    cls=LazyCommands, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="terway-cli")
def cli() -> None:
    """Look into a Terway node, find out why, and mend it.

    Every command has --json. On a node, run it as root.

    \b
    Exit codes:
      0  all is well
      1  something was found: a finding, a difference, a hop that fails
      2  wrong use; the message says what to write instead
      3  what was asked for cannot be reached; nothing is known
    """


def main() -> None:
    """Run the command line."""
    try:
        cli(prog_name="terway-cli")
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        sys.stderr.write(f"terway-cli: the output cannot be written: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left of it
        sys.exit(USAGE)
