"""Which fields of a pod's volumes does the lab's kubelet act on?

Source: Kubernetes API reference v1.32, Volume.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Value(Struct, frozen=True, kw_only=True, rename="camel"):
    """What all parts of a pod have in common: camel case on the wire, unknown fields skipped."""


class FieldRef(Value, frozen=True, kw_only=True):
    """A field of the pod."""

    field_path: str = ""


class ResourceRef(Value, frozen=True, kw_only=True):
    """A resource of a container."""

    resource: str = ""
    container_name: str = ""
    divisor: str = "0"


class KeyToPath(Value, frozen=True, kw_only=True):
    """A key as a file."""

    key: str
    path: str


class FilesFrom(Value, frozen=True, kw_only=True):
    """The keys of a ConfigMap or Secret as files; all of them without `items`."""

    name: str = ""
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool = False


class DownwardFile(Value, frozen=True, kw_only=True):
    """A field of the pod as a file."""

    path: str
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceRef | None = None


class Downward(Value, frozen=True, kw_only=True):
    """Fields of the pod as files."""

    items: tuple[DownwardFile, ...] = ()


class Projection(Value, frozen=True, kw_only=True):
    """One source of a projected volume."""

    config_map: FilesFrom | None = None
    secret: FilesFrom | None = None
    downward_api: Downward | None = field(name="downwardAPI", default=None)
    service_account_token: dict[str, Any] | None = None


class Projected(Value, frozen=True, kw_only=True):
    """Several sources in one folder."""

    sources: tuple[Projection, ...] = ()


class HostPath(Value, frozen=True, kw_only=True):
    """A file or folder of the node."""

    path: str
    type: str = ""


class Volume(Value, frozen=True, kw_only=True):
    """A volume; one of its sources is set."""

    name: str
    empty_dir: dict[str, Any] | None = None
    host_path: HostPath | None = None
    config_map: FilesFrom | None = None
    secret: FilesFrom | None = None
    downward_api: Downward | None = field(name="downwardAPI", default=None)
    projected: Projected | None = None
