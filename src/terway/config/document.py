"""How does the text of a configuration become a JSON object? With a line for each mistake."""

from __future__ import annotations

import json
from typing import NoReturn, cast

from terway.config.findings import Refusal, Report


def decode_object(text: str, path: str, report: Report) -> dict[str, object] | None:
    """Return the JSON object in `text`; None, and a refusal in `report`, if it is none."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = ", ".join(name for name in found if names.count(name) > 1)
            refusal = Refusal(field=path, found="", rule=f"{twice} is there twice: remove one")
            report.refusals.append(refusal)
        return found

    try:
        found = json.loads(text, object_pairs_hook=unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refusal = Refusal(field=path, found="not JSON", rule=f"{error}: mend it there")
        report.refusals.append(refusal)
        return None
    if not isinstance(found, dict):
        report.refuse(path, found, "must be a JSON object: {…}")
        return None
    return cast("dict[str, object]", found)


def _no_constant(name: str) -> NoReturn:
    """Refuse what Python's JSON knows beyond JSON."""
    raise ValueError(f"{name} is no number")
