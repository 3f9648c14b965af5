"""What does an instance read about itself? The tree of the metadata service, as a value.

Source: help page "Instance metadata"; the paths that the original reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from terway.lab.cloud.keyring import AccessKey
from terway.lab.cloud.records import ENIRecord, InstanceRecord
from terway.lab.cloud.world import World, utc_seconds
from terway.model.address import gateway_of

ENIs = Mapping[str, ENIRecord]
Reader = Callable[[], str]
Leaves = dict[str, Reader]  # path below /latest/meta-data/ → how to read it


def metadata_leaves(world: World, instance: InstanceRecord, enis: ENIs) -> Leaves:
    """Return every leaf that `instance` can read.

    `enis` are as the service knows them now, which may be late; the primary ENI it always knows.
    Members are not among its interfaces: the instance has no device for them.
    """
    primary = world.state.enis[instance.primary_eni_id]
    known = {primary.id: primary, **enis}
    mine = [eni for eni in known.values() if _is_device(eni, instance)]
    leaves = _constants(_own(world, instance))
    for eni in sorted(mine, key=lambda eni: eni.slot or 0):
        prefix = f"network/interfaces/macs/{eni.mac}/"
        shown = _interface(world, eni)
        leaves |= _constants({prefix + name: value for name, value in shown.items()})
    if instance.role:
        leaves[f"ram/security-credentials/{instance.role}"] = lambda: _role_keys(world, instance)
    return leaves


def _is_device(eni: ENIRecord, instance: InstanceRecord) -> bool:
    return eni.instance_id == instance.id and eni.is_plugged and eni.trunk_id is None


def read(leaves: Leaves, path: str) -> str | None:
    """Return the text at `path`: a leaf, or the list of what is below it. None: not there."""
    path = path.strip("/")
    if path in leaves:
        return leaves[path]()
    prefix = f"{path}/" if path else ""
    below = [leaf.removeprefix(prefix) for leaf in leaves if leaf.startswith(prefix)]
    steps = [step + slash for step, slash, _ in (leaf.partition("/") for leaf in below)]
    return "\n".join(dict.fromkeys(steps)) if steps else None


def _constants(values: Mapping[str, str]) -> Leaves:
    def constant(value: str) -> Reader:
        return lambda: value

    return {name: constant(value) for name, value in values.items()}


def _own(world: World, instance: InstanceRecord) -> dict[str, str]:
    primary = world.state.enis[instance.primary_eni_id]
    return {
        "instance-id": instance.id,
        "instance/instance-type": instance.instance_type,
        "instance/instance-name": instance.name,
        "hostname": instance.host_name,
        "image-id": instance.image_id,
        "mac": primary.mac,
        "private-ipv4": str(primary.ipv4[0]),
        "owner-account-id": world.place.account_id,
        "region-id": world.place.region_id,
        "zone-id": instance.zone_id,
        "vpc-id": instance.vpc_id,
        "vpc-cidr-block": str(world.state.vpc(instance.vpc_id).cidr),
        "vswitch-id": instance.vswitch_id,
        "vswitch-cidr-block": str(world.state.vswitch(instance.vswitch_id).cidr),
        "network-type": "vpc",
    }


def _interface(world: World, eni: ENIRecord) -> dict[str, str]:
    vswitch = world.state.vswitch(eni.vswitch_id)
    listed = [str(address) for address in eni.ipv4 if address not in eni.unready]
    shown = {
        "network-interface-id": eni.id,
        "primary-ip-address": str(eni.ipv4[0]),
        "private-ipv4s": json.dumps(listed, separators=(",", ":")),
        "gateway": str(gateway_of(vswitch.cidr)),
        "netmask": str(vswitch.cidr.netmask),
        "vpc-id": eni.vpc_id,
        "vpc-cidr-block": str(world.state.vpc(eni.vpc_id).cidr),
        "vswitch-id": vswitch.id,
        "vswitch-cidr-block": str(vswitch.cidr),
    }
    ipv6 = [str(address) for address in eni.ipv6 if address not in eni.unready]
    if ipv6:
        shown["ipv6s"] = f"[{','.join(ipv6)}]"
    if vswitch.ipv6_cidr is not None:
        shown["vswitch-ipv6-cidr-block"] = str(vswitch.ipv6_cidr)
        shown["ipv6-gateway"] = str(gateway_of(vswitch.ipv6_cidr))
    return shown


def _role_keys(world: World, instance: InstanceRecord) -> str:
    key = world.keyring.role_keys(instance.role)
    shown = {"Code": "RoleNotFound"} if key is None else _shown_keys(key, world.now())
    return json.dumps(shown)


def _shown_keys(key: AccessKey, now: float) -> dict[str, str]:
    return {
        "Code": "Success",
        "AccessKeyId": key.id,
        "AccessKeySecret": key.secret,
        "SecurityToken": key.security_token,
        "Expiration": utc_seconds(key.expires_at or now),
        "LastUpdated": utc_seconds(now),
    }
