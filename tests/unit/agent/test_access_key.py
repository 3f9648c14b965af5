"""Cloud calls are signed by the mounted key, else by eni-config's, else by the RAM role's."""

from __future__ import annotations

import pytest

from terway.agent.access_key import choose_credentials
from terway.cloud.credentials import Credentials, RamRoleCredentials
from terway.config.eni_conf import read_eni_conf
from terway.model.errors import TransientError, UsageError
from tests.unit.test_cloud_token_file import written

CONFIGURED = {"access_key": "AK", "access_secret": "SK"}


class Metadata:
    async def role_credentials(self, role: str = "") -> Credentials:
        return Credentials(access_key_id="role", access_key_secret="s")


def choose(folder, **keys):
    return choose_credentials(read_eni_conf(keys)[0], Metadata(), addon_secret=folder)


def mount(folder, key_id: str, secret: str) -> None:
    (folder / "access-key-id").write_text(key_id)
    (folder / "access-key-secret").write_text(secret)


async def test_without_any_key_it_is_the_ram_role(tmp_path):
    assert isinstance(choose(tmp_path / "absent"), RamRoleCredentials)


async def test_the_key_of_eni_config_wins_over_the_role(tmp_path):
    found = await choose(tmp_path, **CONFIGURED).get()

    assert (found.access_key_id, found.access_key_secret) == ("AK", "SK")


async def test_the_mounted_key_wins_over_eni_config_and_is_read_anew(tmp_path):
    mount(tmp_path, "id\n", "secret\n")
    provider = choose(tmp_path, **CONFIGURED)
    first = await provider.get()

    mount(tmp_path, "id-2", "secret-2")

    assert (first.access_key_id, first.access_key_secret) == ("id", "secret")
    assert (await provider.get()).access_key_id == "id-2"


@pytest.mark.parametrize("half", ["access-key-id", "access-key-secret"])
def test_half_of_a_mounted_key_is_refused_by_path(tmp_path, half):
    mount(tmp_path, "id", "secret")
    (tmp_path / half).unlink()

    with pytest.raises(UsageError, match=half):
        choose(tmp_path)


def test_an_empty_half_is_refused_too(tmp_path):
    mount(tmp_path, "id", "")

    with pytest.raises(UsageError, match="is empty"):
        choose(tmp_path)


async def test_a_mounted_key_that_is_gone_later_is_tried_again(tmp_path):
    mount(tmp_path, "id", "secret")
    provider = choose(tmp_path)
    (tmp_path / "access-key-id").unlink()

    with pytest.raises(TransientError, match="access-key-id"):
        await provider.get()


async def test_a_token_file_wins_over_the_role_and_must_be_there_at_the_start(tmp_path):
    token = written(tmp_path / "token")
    provider = choose(tmp_path / "absent", credential_path=str(token))

    assert (await provider.get()).access_key_id == "STS.id"

    token.unlink()
    with pytest.raises(UsageError, match="credential_path"):
        choose(tmp_path / "absent", credential_path=str(token))
