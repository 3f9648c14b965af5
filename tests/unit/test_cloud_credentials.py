"""Role keys are fetched once, kept while they are good, and fetched again when they are not."""

from __future__ import annotations

import asyncio

from terway.cloud.credentials import Credentials, RamRoleCredentials, StaticCredentials

KEYS = Credentials(access_key_id="id", access_key_secret="secret")


class Source:
    """Hands out numbered keys that live an hour."""

    def __init__(self):
        self.now = 0.0
        self.given = 0

    async def role_credentials(self, role=""):
        self.given += 1
        await asyncio.sleep(0)
        return Credentials(
            access_key_id=f"{role}-{self.given}",
            access_key_secret="s",
            expires_at=self.now + 3600.0,
        )


async def test_static_keys_never_change():
    provider = StaticCredentials(KEYS)
    provider.forget()

    assert await provider.get() == KEYS


async def test_many_calls_at_once_fetch_once():
    source = Source()
    provider = RamRoleCredentials(source, now=lambda: source.now, role="node")

    keys = await asyncio.gather(*(provider.get() for _ in range(8)))

    assert {key.access_key_id for key in keys} == {"node-1"}


async def test_keys_are_renewed_before_they_expire():
    source = Source()
    provider = RamRoleCredentials(source, now=lambda: source.now)
    first = await provider.get()

    source.now = 2000.0
    assert await provider.get() == first
    source.now = 2800.0
    assert await provider.get() != first


async def test_forgotten_keys_are_fetched_again():
    source = Source()
    provider = RamRoleCredentials(source, now=lambda: source.now)
    await provider.get()

    provider.forget()

    assert (await provider.get()).access_key_id == "-2"
