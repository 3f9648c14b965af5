"""Which files and folders does a pod bring along? Volumes, /etc/hosts, /etc/resolv.conf.

They lie under /var/lib/kubelet/pods/<uid>, and reach the container as bind mounts.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from terway.lab import toolbox
from terway.lab.kubelet.environment import Data, Facts, field_of, resource_of
from terway.lab.kubelet.logs import pod_logs
from terway.lab.kubelet.podspec import Container, Pod
from terway.lab.kubelet.volumespec import Downward, FilesFrom, Volume
from terway.lab.node.jail import Mount
from terway.model.errors import UsageError

PODS_DIR = Path("/var/lib/kubelet/pods")


class PodFolder:
    """The folder of one pod on the node."""

    def __init__(self, pod: Pod, *, root: Path = PODS_DIR) -> None:
        self._pod = pod
        self._path = root / pod.metadata.uid

    def make(self, facts: Facts) -> None:
        """Make the volumes. UsageError for an object that does not exist; try again then."""
        for volume in self._pod.spec.volumes:
            self._make_volume(volume, facts)

    def write_identity(self, hostname: str, pod_ips: tuple[str, ...]) -> None:
        """Write the files that name the pod and tell it how to resolve names."""
        self._path.mkdir(parents=True, exist_ok=True)
        (self._path / "etc-hosts").write_text(_hosts(self._pod, hostname, pod_ips))
        (self._path / "hostname").write_text(f"{hostname}\n")
        (self._path / "resolv.conf").write_text(_resolv(self._pod))

    def mounts(self, container: Container) -> tuple[Mount, ...]:
        """Return what is mounted into `container`. UsageError for an unknown volume."""
        own = (
            Mount(source=str(self._path / "etc-hosts"), target="/etc/hosts"),
            Mount(source=str(self._path / "hostname"), target="/etc/hostname"),
            Mount(source=str(self._path / "resolv.conf"), target="/etc/resolv.conf"),
            Mount(source=str(toolbox.FOLDER), target=toolbox.IN_CONTAINER, read_only=True),
        )
        return own + tuple(
            Mount(
                source=self._source(mount.name, mount.sub_path),
                target=mount.mount_path,
                read_only=mount.read_only,
            )
            for mount in sorted(container.volume_mounts, key=lambda one: one.mount_path)
        )

    def remove(self) -> None:
        """Remove the folder, all in it, and the logs; idempotent."""
        shutil.rmtree(self._path, ignore_errors=True)
        meta = self._pod.metadata
        shutil.rmtree(pod_logs(meta.namespace, meta.name, meta.uid), ignore_errors=True)

    def _source(self, name: str, sub_path: str) -> str:
        volume = next((one for one in self._pod.spec.volumes if one.name == name), None)
        if volume is None:
            raise UsageError(f"volumeMounts: the pod has no volume named {name!r}")
        base = Path(volume.host_path.path) if volume.host_path else self._volume(name)
        path = base / sub_path
        if os.path.commonpath((base.resolve(), path.resolve())) != str(base.resolve()):
            raise UsageError(f"volumeMounts[{name}].subPath {sub_path!r} leaves the volume")
        if sub_path and not path.exists():
            path.mkdir(parents=True)
        return str(path)

    def _volume(self, name: str) -> Path:
        return self._path / "volumes" / name

    def _make_volume(self, volume: Volume, facts: Facts) -> None:
        if volume.host_path is not None:
            _make_host_path(volume.host_path.path, volume.host_path.type)
            return
        folder = self._volume(volume.name)
        folder.mkdir(parents=True, exist_ok=True)
        if volume.config_map is not None:
            _write(folder, _files(volume.config_map, facts.config_maps, "configmap"))
        if volume.secret is not None:
            _write(folder, _files(volume.secret, facts.secrets, "secret"))
        if volume.downward_api is not None:
            _write(folder, _downward(volume.downward_api, facts))
        for source in volume.projected.sources if volume.projected else ():
            if source.config_map is not None:
                _write(folder, _files(source.config_map, facts.config_maps, "configmap"))
            if source.secret is not None:
                _write(folder, _files(source.secret, facts.secrets, "secret"))
            if source.downward_api is not None:
                _write(folder, _downward(source.downward_api, facts))


def _make_host_path(path: str, kind: str) -> None:
    if kind in {"DirectoryOrCreate", ""}:
        if not Path(path).exists():
            Path(path).mkdir(parents=True)
    elif kind == "FileOrCreate":
        Path(path).touch()
    elif not Path(path).exists():
        raise UsageError(f"hostPath type check failed: {path} is not a {kind}", field="hostPath")


def _files(source: FilesFrom, objects: Mapping[str, Data | None], kind: str) -> Mapping[str, str]:
    name = source.secret_name or source.name
    data = objects.get(name)
    if data is None:
        if source.optional:
            return {}
        raise UsageError(f'{kind} "{name}" not found')
    if not source.items:
        return data
    missing = [item.key for item in source.items if item.key not in data]
    if missing and not source.optional:
        raise UsageError(f"{kind} {name} references non-existent config key: {missing[0]}")
    return {item.path: data[item.key] for item in source.items if item.key in data}


def _downward(source: Downward, facts: Facts) -> Mapping[str, str]:
    files: dict[str, str] = {}
    for item in source.items:
        if item.field_ref is not None:
            files[item.path] = field_of(facts, item.field_ref.field_path)
        elif item.resource_field_ref is not None:
            name = item.resource_field_ref.container_name
            owner = next(one for one in facts.pod.spec.containers if one.name == name)
            files[item.path] = resource_of(owner, item.resource_field_ref)
    return files


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        if ".." in Path(name).parts or (path.is_absolute() and not path.is_relative_to(folder)):
            raise UsageError(f"{name!r} leaves its volume", field="path")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _hosts(pod: Pod, hostname: str, pod_ips: tuple[str, ...]) -> str:
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost"]
    lines += [f"{address}\t{hostname}" for address in pod_ips]
    lines += [f"{one.ip}\t{' '.join(one.hostnames)}" for one in pod.spec.host_aliases]
    return "\n".join(lines) + "\n"


def _resolv(pod: Pod) -> str:
    config = pod.spec.dns_config
    lines = [f"nameserver {one}" for one in (config.nameservers if config else ())]
    if config and config.searches:
        lines.append(f"search {' '.join(config.searches)}")
    return "\n".join([*lines, Path("/etc/resolv.conf").read_text()])
