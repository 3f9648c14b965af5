"""Which interfaces does a pod get, and what is each to be?

Decided at ADD from what the node is, what the pod's annotations wish and what the call says; then
journalled, and not asked again.
"""

from __future__ import annotations

from dataclasses import dataclass

from terway.cni.call import Add
from terway.kube.types import Pod
from terway.model.attachment import AttachmentKey
from terway.model.interface import InterfaceSpec, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One interface to be made."""

    key: AttachmentKey
    spec: InterfaceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfacePolicy:
    """What the node makes of every pod."""

    mode: Mode = Mode.VETH


def interfaces_of(call: Add, pod: Pod | None, policy: InterfacePolicy) -> tuple[Interface, ...]:
    """Return the interfaces of the container, the one that the call names first.

    `pod` is None for a container that Kubernetes does not know: it has no wishes.
    """
    return (Interface(key=call.key, spec=InterfaceSpec(mode=policy.mode)),)
