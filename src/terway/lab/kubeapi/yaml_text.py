"""What does a YAML text say, read as Kubernetes' tools read it?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """SafeLoader without dates: ``2026-01-02`` is text, as it is to kubectl."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(text: str | bytes) -> Any:
    """Return the one document of a text. yaml.YAMLError if it is none."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader


def load_yaml_documents(text: str | bytes) -> Iterator[Any]:
    """Yield the documents of a text."""
    yield from yaml.load_all(text, Loader=_Loader)  # a SafeLoader
