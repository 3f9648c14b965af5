"""What the runtime asks: a request's environment and configuration, checked, as one value.

Everything that the specification says about the environment and about the network configuration
is held here; what comes out names a verb that can be tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from terway.cni.conf import NetworkConf, parse_conf, version_asked
from terway.cni.errors import CniError, Code
from terway.cni.protocol import Request
from terway.cni.version import Verb, require_version
from terway.model.attachment import AttachmentKey, PodRef
from terway.model.ids import ContainerId

# SPEC.md, "Parameters": starts alphanumeric, then alphanumerics, underscore, dot, hyphen.
_CONTAINER_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_IFNAME_BYTES = 15  # IFNAMSIZ less the NUL
_BAD_IN_IFNAME = re.compile(r"[/:\s\x00-\x1f]")

_REQUIRED = {
    Verb.ADD: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    Verb.CHECK: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    Verb.DEL: ("CNI_CONTAINERID", "CNI_IFNAME"),
    Verb.GC: ("CNI_PATH",),
    Verb.STATUS: ("CNI_PATH",),  # skel asks for it, though the specification calls it optional
    Verb.VERSION: (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Make the attachment. `pod` is None for a container that Kubernetes does not know."""

    conf: NetworkConf
    key: AttachmentKey
    netns: str
    pod: PodRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Del:
    """Undo whatever was made; `netns` is empty where the runtime has none any more."""

    conf: NetworkConf
    key: AttachmentKey
    netns: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Say whether the attachment is as the final result of ADD describes it."""

    conf: NetworkConf
    key: AttachmentKey
    netns: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gc:
    """Undo the attachments of this network that are not among `valid`."""

    conf: NetworkConf
    valid: frozenset[AttachmentKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Say whether an ADD could be served."""

    conf: NetworkConf


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """List the supported versions."""

    version: str


Call = Add | Del | Check | Gc | Status | Version


def parse_call(request: Request) -> Call:
    """Return what `request` asks for. Raises CniError with the code that the runtime is to see."""
    verb = _verb(request.env)
    if verb is Verb.VERSION:
        return Version(version=version_asked(request.stdin))
    _require(request.env, _REQUIRED[verb])
    conf = parse_conf(request.stdin)
    require_version(conf.version, verb)
    match verb:
        case Verb.ADD:
            pod = parse_pod(request.env.get("CNI_ARGS", ""), conf.args)
            return Add(conf=conf, key=_key(request.env), netns=request.env["CNI_NETNS"], pod=pod)
        case Verb.DEL:
            return Del(conf=conf, key=_key(request.env), netns=request.env.get("CNI_NETNS", ""))
        case Verb.CHECK:
            if conf.prev_result is None:
                raise CniError(Code.INVALID_CONFIG, "CHECK needs prevResult", field="prevResult")
            return Check(conf=conf, key=_key(request.env), netns=request.env["CNI_NETNS"])
        case Verb.GC:
            return Gc(conf=conf, valid=_valid(conf))
        case Verb.STATUS:
            return Status(conf=conf)
        case _:
            assert_never(verb)


def parse_pod(cni_args: str, conf_args: Mapping[str, str]) -> PodRef | None:
    """Return the pod that the arguments name, or None. Raises CniError with code 4.

    The configuration's ``args.cni`` wins over CNI_ARGS (CONVENTIONS.md). Unknown keys are
    somebody else's.
    """
    named = {**_pairs(cni_args), **conf_args}
    namespace, name = named.get("K8S_POD_NAMESPACE", ""), named.get("K8S_POD_NAME", "")
    if not namespace or not name:
        return None
    return PodRef(namespace=namespace, name=name, uid=named.get("K8S_POD_UID", ""))


def _verb(env: Mapping[str, str]) -> Verb:
    command = env.get("CNI_COMMAND", "")
    try:
        return Verb(command)
    except ValueError:
        known = ", ".join(verb.value for verb in Verb)
        raise _bad_env("CNI_COMMAND", command, f"is not one of {known}") from None


def _require(env: Mapping[str, str], names: Iterable[str]) -> None:
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise CniError(
            Code.INVALID_ENVIRONMENT,
            f"required environment variables are missing: {', '.join(missing)}",
            field=missing[0],
        )


def _key(env: Mapping[str, str]) -> AttachmentKey:
    container_id, ifname = env["CNI_CONTAINERID"], env["CNI_IFNAME"]
    if not _CONTAINER_ID.fullmatch(container_id):
        rule = "must start with a letter or digit and go on with those, '_', '.' or '-'"
        raise _bad_env("CNI_CONTAINERID", container_id, rule)
    if len(ifname.encode(errors="replace")) > _IFNAME_BYTES:
        raise _bad_env("CNI_IFNAME", ifname, f"is longer than {_IFNAME_BYTES} bytes")
    if ifname in {".", ".."} or _BAD_IN_IFNAME.search(ifname):
        raise _bad_env("CNI_IFNAME", ifname, "is no name for a link")
    return AttachmentKey(container_id=ContainerId(container_id), ifname=ifname)


def _pairs(cni_args: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in cni_args.split(";") if pair]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise _bad_env("CNI_ARGS", cni_args, f"has {name!r} without a value")
    return {name: value for name, _, value in pairs}


def _valid(conf: NetworkConf) -> frozenset[AttachmentKey]:
    # Without the list, everything would seem stale: a mistake of the caller, not a wish.
    if conf.valid_attachments is None:
        field = "cni.dev/valid-attachments"
        raise CniError(Code.INVALID_CONFIG, f"GC needs {field}", field=field)
    return conf.valid_attachments


def _bad_env(name: str, value: str, rule: str) -> CniError:
    return CniError(Code.INVALID_ENVIRONMENT, f"{name} {value!r} {rule}", field=name)
