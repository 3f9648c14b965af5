"""Whose keys sign the cloud calls: a mounted secret's, eni_conf's, a token file's, the role's?

Source of the folder and its files: upstream Terway, which lets them win over `eni_conf`.
"""

from __future__ import annotations

import time
from pathlib import Path

from terway.cloud.credentials import (
    Credentials,
    CredentialsProvider,
    RamRoleCredentials,
    RoleCredentialsSource,
    StaticCredentials,
)
from terway.cloud.token_file import TokenFileCredentials, read_token_file
from terway.config.eni_conf import EniConf
from terway.model.errors import TransientError, UsageError

ID, SECRET = "access-key-id", "access-key-secret"


def choose_credentials(
    conf: EniConf, metadata: RoleCredentialsSource, *, addon_secret: Path
) -> CredentialsProvider:
    """Return who has the keys. Raises UsageError for half a key in the folder, and no token."""
    if (addon_secret / ID).exists() or (addon_secret / SECRET).exists():
        read_key(addon_secret)
        return MountedCredentials(addon_secret)
    if conf.access_key:
        return StaticCredentials(
            Credentials(access_key_id=conf.access_key, access_key_secret=conf.access_secret)
        )
    if conf.credential_path:
        path = Path(conf.credential_path)
        read_token_file(path)
        return TokenFileCredentials(path)
    return RamRoleCredentials(metadata, now=time.time)


class MountedCredentials:
    """A provider of the key in a mounted secret, read each time: its owner may change it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self) -> Credentials:
        """Return the key that is there now."""
        try:
            return read_key(self._folder)
        except UsageError as error:
            raise TransientError(str(error), code="NoAccessKey") from error

    def forget(self) -> None:
        """Do nothing: nothing is kept."""


def read_key(folder: Path) -> Credentials:
    """Return the access key in `folder`. Raises UsageError when a half of it is not there."""
    return Credentials(access_key_id=_read(folder / ID), access_key_secret=_read(folder / SECRET))


def _read(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except OSError as error:
        rule = "a mounted access key needs both files; or mount none"
        raise UsageError(f"{path}: {error.strerror}: {rule}", field=str(path)) from error
    if not text:
        raise UsageError(f"{path} is empty: write the key into the secret", field=str(path))
    return text
