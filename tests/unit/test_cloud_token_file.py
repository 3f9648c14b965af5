"""An encrypted token file is read as its owner's library wrote it."""

from __future__ import annotations

import base64
import json
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from terway.cloud.token_file import TokenFileCredentials, decrypt, read_token_file
from terway.model.errors import TransientError, UsageError

KEYRING = "0123456789abcdef0123456789abcdef"


def encrypt(text: str, key: str = KEYRING) -> str:
    padder = PKCS7(128).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    vector = os.urandom(16)
    encryptor = Cipher(algorithms.AES(key.encode()), modes.CBC(vector)).encryptor()
    return base64.b64encode(vector + encryptor.update(padded) + encryptor.finalize()).decode()


def written(path, **changes):
    document = {
        "access.key.id": encrypt("STS.id"),
        "access.key.secret": encrypt("secret"),
        "security.token": encrypt("t" * 900),
        "expiration": "2026-01-02T03:04:05Z",
        "keyring": KEYRING,
        **changes,
    }
    path.write_text(json.dumps(document))
    return path


async def test_the_keys_are_those_that_were_encrypted(tmp_path):
    found = await TokenFileCredentials(written(tmp_path / "token")).get()

    assert (found.access_key_id, found.access_key_secret) == ("STS.id", "secret")
    assert found.security_token == "t" * 900
    assert found.expires_at == 1767323045.0


async def test_a_file_that_was_written_anew_has_the_new_keys(tmp_path):
    path = written(tmp_path / "token")
    provider = TokenFileCredentials(path)
    await provider.get()

    written(path, **{"access.key.id": encrypt("STS.new")})

    assert (await provider.get()).access_key_id == "STS.new"


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17])
def test_every_size_of_key_and_every_padding(size, length):
    key, text = KEYRING[:size], "x" * length

    assert decrypt(base64.b64decode(encrypt(text, key)), key.encode()) == text.encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"keyring": "short"},
        {"keyring": KEYRING[::-1]},
        {"access.key.id": "!"},
        {"access.key.id": base64.b64encode(b"x" * 20).decode()},
        {"expiration": "tomorrow"},
        {"keyring": 1},
    ],
)
def test_what_is_no_such_file_is_refused_by_its_key_of_eni_conf(tmp_path, changes):
    with pytest.raises(UsageError, match="no encrypted token file") as caught:
        read_token_file(written(tmp_path / "token", **changes))

    assert caught.value.field == "eni_conf.credential_path"


async def test_a_file_that_is_not_there_may_come(tmp_path):
    with pytest.raises(TransientError, match="No such file"):
        await TokenFileCredentials(tmp_path / "none").get()
