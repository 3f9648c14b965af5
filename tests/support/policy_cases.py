"""The conformance cases of the field, where their folder is: data beside the project.

`CONFORMANCE_DIR` names the folder; without it, it is the one beside the repository.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from terway.policy.reading.cases import Case, parse_case

_ROOT = Path(__file__).parent.parent.parent
FOLDER = Path(
    os.environ.get("CONFORMANCE_DIR") or _ROOT.parent / "shared" / "conformance" / "netpol"
)


def case_files() -> list[object]:
    """Return the files with cases, as parameters of a test; one that is skipped if none is."""
    files = sorted(path for path in FOLDER.glob("*/*.jsonl*"))
    if not files:
        reason = f"no conformance cases in {FOLDER}; CONFORMANCE_DIR names their folder"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")]
    return [pytest.param(path, id=f"{path.parent.name}/{path.name}") for path in files]


def read_cases(path: Path) -> Iterator[Case]:
    """Iterate over the cases of a file."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    for line in text.splitlines():
        if line.strip():
            yield parse_case(json.loads(line))
