"""What does the instance know about itself? The metadata service at 100.100.100.200.

Reads are plain GETs with a token (the hardened mode asks for it, the normal one takes it).
Answers lag behind the OpenAPI by seconds. Source: help page "Instance metadata"; the retry and
token habits are the original's: 4 tries, 0.5 s times 1.2, a token kept for half its life.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import aiohttp
import msgspec

from terway.cloud.credentials import Credentials
from terway.model.errors import TransientError, UsageError, VpcError
from terway.model.ids import ENIId, InstanceId, MacAddress, RegionId, VpcId, VSwitchId, ZoneId

BASE_URL = "http://100.100.100.200"
TOKEN_TTL_S = 21600
TOKEN_TTL_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds"  # noqa: S105 - a header's name
TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 - a header's name
TRIES = 4
FIRST_WAIT_S = 0.5
WAIT_FACTOR = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataENI:
    """One attached ENI, as the instance sees it."""

    id: ENIId
    mac: MacAddress
    primary_ipv4: IPv4Address
    ipv4: tuple[IPv4Address, ...]
    ipv6: tuple[IPv6Address, ...]
    vswitch_id: VSwitchId
    cidr: IPv4Network
    gateway_v4: IPv4Address
    ipv6_cidr: IPv6Network | None = None
    gateway_v6: IPv6Address | None = None


class _RoleKeys(msgspec.Struct, frozen=True, rename="pascal"):
    """The answer of ram/security-credentials/<role>."""

    code: str = "Success"
    access_key_id: str = ""
    access_key_secret: str = ""
    security_token: str = ""
    expiration: str = ""  # 2026-01-02T03:04:05Z


class MetadataClient:
    """The metadata service of this instance. Answers None or empty where it says 404."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        base_url: str = BASE_URL,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._now = now
        self._sleep = sleep
        self._token = ""
        self._token_until = 0.0
        self.on_read: Callable[[str, float, bool], None] = lambda _path, _elapsed_s, _failed: None

    async def instance_id(self) -> InstanceId:
        """Return the id of this instance."""
        return InstanceId(await self._one("instance-id"))

    async def instance_type(self) -> str:
        """Return the type of this instance: ``ecs.g7.xlarge``."""
        return await self._one("instance/instance-type")

    async def region_id(self) -> RegionId:
        """Return the region of this instance."""
        return RegionId(await self._one("region-id"))

    async def zone_id(self) -> ZoneId:
        """Return the zone of this instance."""
        return ZoneId(await self._one("zone-id"))

    async def vpc_id(self) -> VpcId:
        """Return the VPC of the primary ENI."""
        return VpcId(await self._one("vpc-id"))

    async def vswitch_id(self) -> VSwitchId:
        """Return the vSwitch of the primary ENI."""
        return VSwitchId(await self._one("vswitch-id"))

    async def vpc_cidr(self) -> IPv4Network:
        """Return the IPv4 range of the VPC."""
        return IPv4Network(await self._one("vpc-cidr-block"))

    async def primary_mac(self) -> MacAddress:
        """Return the MAC of the primary ENI."""
        return MacAddress((await self._one("mac")).lower())

    async def macs(self) -> tuple[MacAddress, ...]:
        """Return the MACs of all attached ENIs."""
        listed = await self._one("network/interfaces/macs/")
        return tuple(MacAddress(line.rstrip("/").lower()) for line in listed.split())

    async def eni(self, mac: MacAddress) -> MetadataENI | None:
        """Return the ENI with `mac`, or None when the service does not (yet) know it."""
        path = f"network/interfaces/macs/{mac}"
        eni_id = await self._read(f"{path}/network-interface-id")
        if eni_id is None:
            return None
        ipv6_cidr = await self._read(f"{path}/vswitch-ipv6-cidr-block")
        gateway_v6 = await self._read(f"{path}/ipv6-gateway")
        return MetadataENI(
            id=ENIId(eni_id),
            mac=mac,
            primary_ipv4=IPv4Address(await self._one(f"{path}/primary-ip-address")),
            ipv4=tuple(map(IPv4Address, _listed(await self._one(f"{path}/private-ipv4s")))),
            ipv6=tuple(map(IPv6Address, _listed(await self._read(f"{path}/ipv6s")))),
            vswitch_id=VSwitchId(await self._one(f"{path}/vswitch-id")),
            cidr=IPv4Network(await self._one(f"{path}/vswitch-cidr-block")),
            gateway_v4=IPv4Address(await self._one(f"{path}/gateway")),
            ipv6_cidr=IPv6Network(ipv6_cidr) if ipv6_cidr else None,
            gateway_v6=IPv6Address(gateway_v6) if gateway_v6 else None,
        )

    async def role_credentials(self, role: str = "") -> Credentials:
        """Return the present keys of the instance's RAM role.

        Raises UsageError when the instance has no role.
        """
        base = "ram/security-credentials/"
        name = role or (await self._read(base) or "").strip()
        body = await self._read(f"{base}{name}") if name else None
        if body is None:
            text = f"no RAM role {role!r} on this instance: attach one, or set access_key"
            raise UsageError(text, field="access_key")
        keys = msgspec.json.decode(body, type=_RoleKeys)
        if keys.code != "Success":
            raise TransientError(f"RAM role {name}: the metadata service says {keys.code}")
        return Credentials(
            access_key_id=keys.access_key_id,
            access_key_secret=keys.access_key_secret,
            security_token=keys.security_token,
            expires_at=datetime.fromisoformat(keys.expiration).timestamp(),
        )

    async def _one(self, path: str) -> str:
        value = await self._read(path)
        if value is None:
            raise TransientError(f"the metadata service has no {path} (yet)", code="404")
        return value

    async def _read(self, path: str) -> str | None:
        """Return the text at `path`, None for 404. Retries what may pass; see TRIES."""
        for wait_s in _waits():
            try:
                return await self._try(path)
            except TransientError:
                await self._sleep(wait_s)
        return await self._try(path)

    async def _try(self, path: str) -> str | None:
        """Read once; a token that the service refuses is replaced once."""
        status, text = await self._get(path)
        if status == 401:
            self._token = ""
            status, text = await self._get(path)
        if status == 200:
            return text
        if status == 404:
            return None
        raise _refusal(path, status)

    async def _get(self, path: str) -> tuple[int, str]:
        headers = {TOKEN_HEADER: await self._fresh_token()}
        return await self._send("GET", f"/latest/meta-data/{path}", headers)

    async def _fresh_token(self) -> str:
        if not self._token or self._now() >= self._token_until:
            headers = {TOKEN_TTL_HEADER: str(TOKEN_TTL_S)}
            status, token = await self._send("PUT", "/latest/api/token", headers)
            if status != 200:
                raise _refusal("api/token", status)
            self._token, self._token_until = token, self._now() + TOKEN_TTL_S / 2
        return self._token

    async def _send(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        url = f"{self._base_url}{path}"
        began, failed = self._now(), True
        try:
            async with self._session.request(method, url, headers=headers) as response:
                text = (await response.text()).strip()
                failed = response.status >= 400 and response.status != 404
                return response.status, text
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise TransientError(f"{method} {url}: no answer: {reason}") from error
        finally:
            self.on_read(path, self._now() - began, failed)


def _refusal(path: str, status: int) -> VpcError:
    text = f"the metadata service answered {status} for {path}"
    if status == 429 or status >= 500:
        return TransientError(text, code=str(status))
    return UsageError(text, code=str(status))


def _waits() -> Iterator[float]:
    return (FIRST_WAIT_S * WAIT_FACTOR**n for n in range(TRIES - 1))


def _listed(text: str | None) -> list[str]:
    """Return the items of ``["a","b"]`` or ``[a,b]``: the service writes both."""
    inner = (text or "").strip().strip("[]")
    return [item.strip().strip('"') for item in inner.split(",") if item.strip()]
