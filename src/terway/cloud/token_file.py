"""What keys are in an encrypted token file, as managed clusters mount it?

JSON with three texts, each base64 of an AES-CBC initialization vector and its blocks (PKCS #7), the
key beside them: it keeps the keys out of logs, not from whoever reads the file.
Source: AliyunContainerService/terway, pkg/aliyun/credential/sts.go.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import msgspec

from terway.cloud.credentials import Credentials
from terway.model.errors import TransientError, UsageError

_BLOCK = 16
_CIPHERS = {16: "EVP_aes_128_cbc", 24: "EVP_aes_192_cbc", 32: "EVP_aes_256_cbc"}
_LIBRARIES = ("libcrypto.so.3", "libcrypto.so.1.1")


class _TokenFile(msgspec.Struct, frozen=True):
    keyring: str
    expiration: str
    access_key_id: str = msgspec.field(name="access.key.id")
    access_key_secret: str = msgspec.field(name="access.key.secret")
    security_token: str = msgspec.field(name="security.token")


class TokenFileCredentials:
    """A provider of the keys in the file, read each time: its owner writes new ones."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get(self) -> Credentials:
        """Return the keys that are there now. Raises TransientError when they cannot be read."""
        try:
            return read_token_file(self._path)
        except UsageError as error:
            raise TransientError(str(error), code="NoAccessKey") from error

    def forget(self) -> None:
        """Do nothing: nothing is kept."""


def read_token_file(path: Path) -> Credentials:
    """Return the keys in `path`. Raises UsageError for a file that is not one of these."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_TokenFile)
        key = found.keyring.encode()
        texts = (found.access_key_id, found.access_key_secret, found.security_token)
        key_id, secret, token = (decrypt(base64.b64decode(text), key).decode() for text in texts)
        expires_at = _seconds(found.expiration)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    return Credentials(
        access_key_id=key_id,
        access_key_secret=secret,
        security_token=token,
        expires_at=expires_at,
    )


def _unreadable(path: Path, why: str) -> UsageError:
    text = f"eni_conf.credential_path is {path}: no encrypted token file: {why}"
    return UsageError(text, field="eni_conf.credential_path")


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def decrypt(data: bytes, key: bytes) -> bytes:
    """Return what AES-CBC made `data` of: the initialization vector, then padded blocks.

    Raises ValueError for a wrong key, and for what is no such data.
    """
    name = _CIPHERS.get(len(key))
    if name is None:
        raise ValueError(f"its keyring has {len(key)} bytes, not 16, 24 or 32")
    vector, blocks = data[:_BLOCK], data[_BLOCK:]
    if not blocks or len(data) % _BLOCK:
        raise ValueError(f"{len(data)} bytes are no AES blocks")
    library = _crypto()
    context = library.EVP_CIPHER_CTX_new()
    try:
        plain, length = ctypes.create_string_buffer(len(blocks) + _BLOCK), ctypes.c_int(0)
        cipher = getattr(library, name)
        cipher.restype = ctypes.c_void_p
        begun = library.EVP_DecryptInit_ex(context, ctypes.c_void_p(cipher()), None, key, vector)
        done = begun and library.EVP_DecryptUpdate(
            context, plain, ctypes.byref(length), blocks, len(blocks)
        )
        head = length.value
        rest = ctypes.byref(plain, head)
        if not done or not library.EVP_DecryptFinal_ex(context, rest, ctypes.byref(length)):
            raise ValueError("its keyring does not fit")
        return plain.raw[: head + length.value]
    finally:
        library.EVP_CIPHER_CTX_free(context)


@cache
def _crypto() -> ctypes.CDLL:
    """Return OpenSSL's libcrypto, which Python's own ssl has loaded already."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.EVP_CIPHER_CTX_new.restype = ctypes.c_void_p
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        library.EVP_CIPHER_CTX_free.argtypes = [pointer]
        library.EVP_DecryptInit_ex.argtypes = [pointer, pointer, pointer, text, text]
        library.EVP_DecryptUpdate.argtypes = [pointer, pointer, pointer, text, number]
        library.EVP_DecryptFinal_ex.argtypes = [pointer, pointer, pointer]
        return library
    raise UsageError(f"none of {', '.join(_LIBRARIES)} is there, and credential_path needs one")
