"""Can the cluster be read that is to be migrated?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from terway.model.errors import TransientError, VpcError


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
