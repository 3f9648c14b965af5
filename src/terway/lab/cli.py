"""terway-lab: which commands are there, and what does each do?"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    # A node is started a dozen times in a test run: it does without the command line's imports.
    if sys.argv[1:2] == ["node"]:
        from terway.lab.node.launch import main as run_node

        run_node(sys.argv[2:])
    from terway.lab.commands import cli

    cli()


if __name__ == "__main__":
    main()
