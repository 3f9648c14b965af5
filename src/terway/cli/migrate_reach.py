"""Can the cluster be read that is to be migrated, and has it the nodes that are named?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from terway.model.errors import TransientError, UsageError, VpcError

_NAMED = 10


def why_unread(error: VpcError) -> str:
    """Return why the cluster cannot be read; of a refusal or a wrong file, with what helps."""
    if isinstance(error, TransientError):
        return f"the cluster: {error}"
    return f"the cluster: {error}: give an administrator's --kubeconfig FILE"


@contextmanager
def reading() -> Iterator[None]:
    """Raise TransientError for whatever keeps the cluster from being read in the block."""
    try:
        yield
    except VpcError as error:
        raise TransientError(f"nothing was changed; not read: {why_unread(error)}") from error


def refuse_unknown(wanted: Sequence[str], there: Collection[str]) -> None:
    """Raise UsageError with the nodes of `wanted` that are not `there`, and those that are."""
    unknown = [one for one in wanted if one not in there]
    if unknown:
        names = sorted(there)
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        held = f"{', '.join(names[:_NAMED])}{more}" if names else "none"
        text = f"--node {', '.join(unknown)}: no such node in the cluster. There are: {held}"
        raise UsageError(text, field="--node")
