"""Writes the reference of eni-config from its declarations: `python -m terway.cli.reference`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from terway.config.reference import reference_page
from terway.config.schema import DOCUMENTS, schema_of


def documents() -> dict[str, str]:
    """Return the files of the reference, by name."""
    schemas = {f"{name}.schema.json": schema_of(name) for name in DOCUMENTS}
    texts = {
        name: json.dumps(one, indent=2, ensure_ascii=False) + "\n" for name, one in schemas.items()
    }
    return {"configuration.md": reference_page(), **texts}


def main(folder: Path) -> None:
    """Write them into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
