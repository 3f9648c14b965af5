"""What does the chart make of a values file? ``python -m deploy.render [-f VALUES] [--set k=v]``.

What `helm template` would write, without Helm.
"""

from __future__ import annotations

import sys

from terway.cli.chart.render import main

if __name__ == "__main__":
    sys.exit(main())
