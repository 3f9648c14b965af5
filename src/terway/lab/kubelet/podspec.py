"""Which fields of a Pod does the lab's kubelet act on, and which does it refuse?

Fields that only make sense with images, cgroups or storage are accepted and have no effect
(docs/design/lab-node.md lists them); a probe or a volume that would silently not happen is refused.
Source: Kubernetes API reference v1.32, Pod.
"""

from __future__ import annotations

from typing import Any

from msgspec import field

from terway.kube.resource import PODS
from terway.kube.types import KubeObject, ObjectMeta
from terway.lab.kubelet.volumespec import FieldRef, ResourceRef, Value, Volume
from terway.model.errors import UsageError

PAUSE_IMAGES = ("pause", "pause-amd64", "pause-arm64")
# PID 1 of a container has no default signal actions: without the trap it would ignore SIGTERM.
PAUSE_COMMAND = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done")


class KeyRef(Value, frozen=True, kw_only=True):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: str = ""
    optional: bool = False


class EnvSource(Value, frozen=True, kw_only=True):
    """Where the value of a variable comes from; one of them is set."""

    field_ref: FieldRef | None = None
    resource_field_ref: ResourceRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class EnvVar(Value, frozen=True, kw_only=True):
    """One environment variable."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class EnvFrom(Value, frozen=True, kw_only=True):
    """All keys of a ConfigMap or Secret as variables."""

    prefix: str = ""
    config_map_ref: KeyRef | None = None
    secret_ref: KeyRef | None = None


class ContainerPort(Value, frozen=True, kw_only=True):
    """A port; with `host_port`, the network's portMappings capability is asked for it."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = field(name="hostIP", default="")


class Exec(Value, frozen=True, kw_only=True):
    """A command inside the container."""

    command: tuple[str, ...] = ()


class Header(Value, frozen=True, kw_only=True):
    """An HTTP header."""

    name: str
    value: str = ""


class HttpGet(Value, frozen=True, kw_only=True):
    """An HTTP request from the node; `host` empty means the pod's address."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[Header, ...] = ()


class TcpSocket(Value, frozen=True, kw_only=True):
    """A connection from the node."""

    port: int | str
    host: str = ""


class Probe(Value, frozen=True, kw_only=True):
    """How to ask a container whether it is well, and how often."""

    exec: Exec | None = None
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: dict[str, Any] | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class Sleep(Value, frozen=True, kw_only=True):
    """Wait."""

    seconds: int = 0


class Handler(Value, frozen=True, kw_only=True):
    """What to do at a point of a container's life."""

    exec: Exec | None = None
    http_get: HttpGet | None = None
    sleep: Sleep | None = None


class Lifecycle(Value, frozen=True, kw_only=True):
    """What to do after the start and before the stop of a container."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None


class VolumeMount(Value, frozen=True, kw_only=True):
    """A volume at a path of the container."""

    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class Resources(Value, frozen=True, kw_only=True):
    """Requests and limits; not enforced."""

    requests: dict[str, str | int | float] = field(default_factory=dict)
    limits: dict[str, str | int | float] = field(default_factory=dict)


class Container(Value, frozen=True, kw_only=True):
    """One container."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    resources: Resources = field(default_factory=Resources)

    def port(self, wanted: int | str) -> int:
        """Return a port by number or by name. UsageError when no port has that name."""
        if isinstance(wanted, int) or wanted.isdigit():
            return int(wanted)
        for port in self.ports:
            if port.name == wanted:
                return port.container_port
        raise UsageError(f"container {self.name}: no port is named {wanted!r}", field="ports")


class HostAlias(Value, frozen=True, kw_only=True):
    """Further lines of /etc/hosts."""

    ip: str
    hostnames: tuple[str, ...] = ()


class DnsConfig(Value, frozen=True, kw_only=True):
    """Further lines of /etc/resolv.conf."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()


class ReadinessGate(Value, frozen=True, kw_only=True):
    """A condition, set by somebody else, without which the pod is not ready."""

    condition_type: str = ""


class Spec(Value, frozen=True, kw_only=True):
    """What is to run."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    host_network: bool = False
    host_pid: bool = field(name="hostPID", default=False)
    hostname: str = ""
    node_name: str = ""
    service_account_name: str = ""
    host_aliases: tuple[HostAlias, ...] = ()
    dns_config: DnsConfig | None = None
    readiness_gates: tuple[ReadinessGate, ...] = ()


class PodMeta(ObjectMeta, frozen=True, kw_only=True):
    """The metadata of a pod."""

    deletion_grace_period_seconds: int | None = None


class OldCondition(Value, frozen=True, kw_only=True):
    """A condition as it was last written: who did not change keeps its time."""

    type: str
    status: str = ""
    last_transition_time: str | None = None


class OldStatus(Value, frozen=True, kw_only=True):
    """What we wrote last, or a predecessor on this node."""

    phase: str = ""
    conditions: tuple[OldCondition, ...] = ()


class Pod(KubeObject, frozen=True, kw_only=True):
    """A pod of this node."""

    metadata: PodMeta = field(default_factory=PodMeta)
    spec: Spec = field(default_factory=Spec)
    status: OldStatus = field(default_factory=OldStatus)

    @property
    def gates(self) -> tuple[tuple[str, str], ...]:
        """Return the conditions that readiness waits for, each with its status, empty: none."""
        held = {one.type: one.status for one in self.status.conditions}
        types = [gate.condition_type for gate in self.spec.readiness_gates]
        return tuple((type_, held.get(type_, "")) for type_ in types)

    @property
    def full_name(self) -> str:
        """Return name_namespace(uid), as the kubelet names pods in events."""
        meta = self.metadata
        return f"{meta.name}_{meta.namespace}({meta.uid})"


POD_RESOURCE = PODS.typed(Pod)


def command_of(container: Container) -> tuple[str, ...]:
    """Return what to execute. UsageError for a container that leaves it to its image."""
    if container.command:
        return (*container.command, *container.args)
    image = container.image.rsplit("/", 1)[-1].partition(":")[0].partition("@")[0]
    if image in PAUSE_IMAGES:
        return PAUSE_COMMAND
    raise UsageError(
        f"image {container.image!r} is not pulled, because a lab has no registry, and so its "
        "entrypoint is not known: give the container a command",
        field=f"spec.containers[{container.name}].command",
    )


def check_supported(pod: Pod) -> None:
    """Raise UsageError for what would silently not happen."""
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        probes = (container.liveness_probe, container.readiness_probe, container.startup_probe)
        if any(probe is not None and probe.grpc is not None for probe in probes):
            raise UsageError(f"container {container.name}: grpc probes are not supported here")
    for volume in pod.spec.volumes:
        sources = (volume.empty_dir, volume.host_path, volume.config_map, volume.secret)
        more = (volume.downward_api, volume.projected)
        if all(source is None for source in (*sources, *more)):
            raise UsageError(
                f"volume {volume.name}: only emptyDir, hostPath, configMap, secret, downwardAPI "
                "and projected volumes exist here"
            )
