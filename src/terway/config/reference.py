"""The declarations as a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from terway.config import keys_cloud, keys_cni, keys_map, keys_pods, keys_pool
from terway.config.declare import Effect, Key, Record
from terway.config.findings import shown
from terway.config.kinds import ListOf, MapOf

_HEAD = """\
# Configuration

<!-- Made from the declarations in src/terway/config: python -m terway.cli.reference -->

Terway is configured by the ConfigMap `eni-config` in `kube-system`. A node with the label
`terway-config: NAME` has a ConfigMap of its own, whose `eni_conf` is merged over the common one
(RFC 7396: objects by key, null deletes, lists are replaced).

An unknown key, an impossible value and a combination that cannot be are refused, all of them at
once, with path, value and remedy. `terway-cli validate` says the same before the file is used.
A change is followed by the terwayd that runs, where the column "takes hold" says so; what says
"when terwayd starts" is reported at the node (event `ConfigCheck`) and waits for that. A
configuration that is refused changes nothing (event `ConfigError`), nor does one that terwayd
could not start with on this node: the old one goes on. A terwayd that is refused its start says
why by the same event, and in `/var/run/eni/last_error`, which `terway-cli show` and `doctor` read.

JSON schemas of the same: [eni_conf](eni_conf.schema.json),
[10-terway.conf](10-terway.conf.schema.json),
[10-terway.conflist](10-terway.conflist.schema.json), [eni-config](eni-config.schema.json).
"""

_SECTIONS: tuple[tuple[str, tuple[Key[object], ...]], ...] = (
    ("The ConfigMap eni-config", keys_map.KEYS),
    ("eni_conf: the cloud", keys_cloud.KEYS),
    ("eni_conf: the pool", keys_pool.KEYS),
    ("eni_conf: pods and the node", keys_pods.KEYS),
    ("10-terway.conf: our plugin", keys_cni.KEYS),
)


def reference_page() -> str:
    """Return the page, in Markdown."""
    return "\n".join([_HEAD, *(line for section in _SECTIONS for line in _section(*section))])


def _section(title: str, keys: tuple[Key[object], ...]) -> Iterator[str]:
    yield f"## {title}\n"
    effective = [key for key in keys if key.effect in (Effect.YES, Effect.COMMENT)]
    yield from _table(effective)
    nested = [(key, found) for key in keys if (found := _record_of(key.kind)) is not None]
    for key, record in nested:
        yield f"Keys of `{key.name}`:\n"
        yield from _table(record.keys)
    rest = [key for key in keys if key not in effective]
    if rest:
        yield "Understood, and said to be without effect to whoever sets them:\n"
        yield "| key | meaning | why |"
        yield "|---|---|---|"
        yield from (f"| `{key.name}` | {key.meaning} | {key.why} |" for key in rest)
        yield ""


def _table(keys: Iterable[Key[object]]) -> Iterator[str]:
    yield "| key | value | default | takes hold | meaning |"
    yield "|---|---|---|---|---|"
    for key in keys:
        words = key.kind.words + (f" ({key.unit})" if key.unit else "")
        ours = " *(not in the original)*" if key.is_ours else ""
        cells = (f"`{key.name}`", words, _default(key), key.reload.value, f"{key.meaning}{ours}")
        yield _row(cells)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(key: Key[object]) -> str:
    if key.default_words:
        return key.default_words
    value = key.default.value if isinstance(key.default, Enum) else key.default
    return "" if value in (None, "", (), {}) else shown(value)


def _record_of(kind: object) -> Record | None:
    """Return the object whose keys are declared, within lists and maps."""
    while isinstance(kind, ListOf | MapOf):
        kind = kind.of
    return kind if isinstance(kind, Record) else None
