"""Writes what is made of declarations and chart: `python -m terway.cli.chart.generate DEPLOY`.

The schema of values, the manifests of the example values, the RAM policies.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from terway.cli.chart.render import read_values, render
from terway.cli.chart.values import values_schema
from terway.cloud.permissions import POLICIES, policy_text


def documents(deploy: Path) -> dict[str, str]:
    """Return the texts of all that is made, by path within `deploy`."""
    chart = deploy / "chart" / "terway"
    schema = json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n"
    manifests = {
        f"manifests/{path.name}": render(read_values([path], [], chart=chart), chart=chart)
        for path in sorted((deploy / "values").glob("*.yaml"))
    }
    policies = {name: policy_text(actions) for name, actions in POLICIES.items()}
    return {"chart/terway/values.schema.json": schema, **manifests, **policies}


def main(deploy: Path) -> None:
    """Write them."""
    for name, text in documents(deploy).items():
        (deploy / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "deploy"))
