"""Do this node's pods share ENIs, or has each one of its own? Decided once in a node's life.

The Node's label says it, at the first start; it is kept on the disk, because a node that changed
would have pods of both kinds, and devices of one in the way of the other.
Source: upstream Terway, `k8s.aliyun.com/exclusive-mode-eni-type`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import structlog

from terway.kube.resource import NODES, Resource
from terway.kube.types import Node
from terway.model.attachment import Attachment
from terway.model.errors import TransientError, UsageError
from terway.model.ids import NodeName
from terway.model.interface import Mode

LABEL = "k8s.aliyun.com/exclusive-mode-eni-type"
_FIELD = f"metadata.labels.{LABEL}"
_VALUES = {"": Mode.VETH, "default": Mode.VETH, "enionly": Mode.EXCLUSIVE}
_WORDS = {Mode.VETH: "default", Mode.EXCLUSIVE: "eniOnly"}
# The start does not wait longer for the API server where it knows the answer.
_PATIENCE_S = 0.5

_log = structlog.get_logger("node_mode")


class NodeSource(Protocol):
    """The part of the API server's client that is needed here."""

    async def get(self, resource: Resource[Node], name: str) -> Node | None:
        """Return one object, None where there is none. Raises TransientError."""
        ...


class KeptMode:
    """The node's mode as it was decided. A file of one word."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mode | None:
        """Return what is kept, None at the first start. Raises UsageError for anything else."""
        if not self._path.exists():
            return None
        word = self._path.read_text().strip()
        found = next((mode for mode, one in _WORDS.items() if one == word), None)
        if found is None:
            expected = " or ".join(_WORDS.values())
            raise UsageError(f"{self._path} holds {word!r}: it must be {expected}", field=LABEL)
        return found

    def write(self, mode: Mode) -> None:
        """Keep `mode`. After a crash there is the old file or the new one."""
        draft = self._path.with_suffix(".draft")
        draft.write_text(f"{_WORDS[mode]}\n")
        draft.rename(self._path)


def mode_of_label(value: str) -> Mode:
    """Return the mode that a label's value asks for, in any case. Raises UsageError."""
    found = _VALUES.get(value.strip().lower())
    if found is None:
        text = f"label {LABEL} is {value!r}: it must be {' or '.join(_WORDS.values())}, or absent"
        raise UsageError(text, field=_FIELD)
    return found


def decide_mode(wanted: Mode, kept: Mode | None, attachments: Iterable[Attachment]) -> Mode:
    """Return the node's mode. Raises UsageError when it would be another one than it was.

    `kept` is what was decided before; what runs here decides where nothing was kept (by a terwayd
    that kept nothing).
    """
    was = kept or next((_of_label(one.spec.mode) for one in attachments), wanted)
    if was is wanted:
        return wanted
    raise UsageError(
        f"exclusive eni mode changed: this node was set up with {LABEL}={_WORDS[was]}, now the "
        f"label says {_WORDS[wanted]}: set it back (kubectl label node NODE {LABEL}={_WORDS[was]} "
        "--overwrite), or remove the node from the cluster and add a new one with this label",
        field=_FIELD,
    )


def _of_label(mode: Mode) -> Mode:
    """Return what a label can say of a mode: how pods share ENIs is not its business."""
    return mode if mode is Mode.EXCLUSIVE else Mode.VETH


async def read_node_mode(
    client: NodeSource | None, node: NodeName, kept: KeptMode, attachments: Iterable[Attachment]
) -> Mode:
    """Return the node's mode, and keep it.

    Raises UsageError when it was changed, TransientError when the API server does not answer the
    first time that it is asked.
    """
    known = kept.read()
    wanted = await _ask(client, node, known)
    mode = decide_mode(wanted, known, attachments)
    if known is None:
        kept.write(mode)
    return mode


async def _ask(client: NodeSource | None, node: NodeName, known: Mode | None) -> Mode:
    if client is None:
        return known or Mode.VETH
    try:
        async with asyncio.timeout(None if known is None else _PATIENCE_S):
            found = await client.get(NODES, node)
    except (TimeoutError, TransientError) as error:
        if known is None:
            raise
        _log.warning("node_mode.from_file", error=str(error) or "no answer in time")
        return known
    return mode_of_label(found.metadata.labels.get(LABEL, "") if found else "")
