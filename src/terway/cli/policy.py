"""terway-cli policy: which questions about policies are there, and which module answers each?"""

from __future__ import annotations

import click

from terway.cli.lazy import LazyCommands

COMMANDS: dict[str, tuple[str, str]] = {
    "eval": ("terway.cli.policy_eval", "May this connection be made, and who says so?"),
    "matrix": ("terway.cli.policy_matrix", "Who reaches whom?"),
    "diff": ("terway.cli.policy_diff", "What becomes allowed, what denied, from A to B?"),
    "equal": ("terway.cli.policy_equal", "Do A and B say the same?"),
    "check": ("terway.cli.policy_check", "Hold policies to what must be reached, and must not."),
    "whatif": ("terway.cli.policy_whatif", "What would A have done to recorded connections?"),
    "verify": ("terway.cli.policy_verify", "Does this node's kernel enforce what policies say?"),
    "status": ("terway.cli.policy_status", "On which nodes is each policy in force?"),
    "explain": ("terway.cli.policy_explain", "What a policy, or all at a pod, say in sentences."),
    "lint": ("terway.cli.policy_lint", "Find policies that do not say what they seem to."),
}


@click.group(
    "policy",
    cls=LazyCommands,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def command() -> None:
    """Ask what NetworkPolicy and ClusterNetworkPolicy say, of manifests or of a cluster.

    \b
    Manifests come from -f (folder, file, or - for standard input; may be repeated),
    or from the cluster of the kubeconfig where there is no -f. Every command has --json.

    \b
    Exit codes:
      0  yes: allowed, equal, all as expected
      1  no: denied, different, a finding, an expectation that is not met
      2  wrong use, or a manifest that cannot be read; the message says where
      3  the cluster or the node cannot be reached
    """
