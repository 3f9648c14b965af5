"""A command may not do what it asks of the API server: who may not, what, and what helps?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from terway.kube.client import KubeClient
from terway.kube.connection import Connection
from terway.kube.errors import lacks_rights
from terway.model.errors import TransientError, VpcError

# In the words of Kubernetes' responsewriters.forbiddenMessage.
_REFUSED = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"'
    r' in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]*)")?'
)


class RightsError(TransientError):
    """What was asked for is not known, as whoever asked may not read or do it."""


class PersonsClient(KubeClient):
    """A client for a person, who learns of a missing right whose it is and what gives it.

    Raises RightsError then, where `KubeClient` raises UsageError.
    """

    def __init__(
        self, connection: Connection, *, kubeconfig: Path | None, timeout_s: float
    ) -> None:
        super().__init__(connection, timeout_s=timeout_s, user_agent="terway-cli")
        self._of = str(kubeconfig) if kubeconfig is not None else "the pod's service account"

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        media_type: str = "application/json",
    ) -> bytes:
        """Make a request as `KubeClient` does."""
        try:
            return await super().request(
                method, path, params=params, content=content, media_type=media_type
            )
        except VpcError as error:
            text = missing_right(error, of=self._of)
            if text:
                raise RightsError(text, code=error.code) from error
            raise


def missing_right(error: VpcError, *, of: str) -> str:
    """Return what somebody may not and what helps; empty where `error` says nothing of rights.

    `of` says where the identity comes from. What admission refuses is Forbidden, too, and no
    matter of rights.
    """
    found = _REFUSED.search(str(error)) if lacks_rights(error) else None
    if found is None:
        return ""
    user, verb, resource, group, namespace = found.groups()
    where = f" in namespace {namespace}" if namespace else ""
    full = f"{resource}.{group}" if group else resource
    rule = f'{{apiGroups: ["{group}"], resources: [{resource}], verbs: [{verb}]}}'
    return (
        f"{user} (of {of}) may not {verb} {full}{where}: name the kubeconfig of somebody who may"
        f" by --kubeconfig FILE or KUBECONFIG, or add to a role of theirs the rule {rule}"
    )
