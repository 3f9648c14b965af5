"""What the lab's kubelet writes of its node, and what the API server makes of it."""

from __future__ import annotations

from typing import Any

from terway.lab.kubeapi.patch import strategic_patch
from terway.lab.kubeapi.schema import type_named
from terway.lab.kubelet.node_status import status_patch

NODE = type_named("Node")


def written(old: dict[str, Any], *addresses: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return the status of a Node after the kubelet has written its own."""
    patch = status_patch({"addresses": list(addresses), **more})
    merged = strategic_patch({"status": old}, patch, NODE)
    assert isinstance(merged, dict)
    status: dict[str, Any] = merged["status"]
    return status


def internal(address: str) -> dict[str, str]:
    return {"type": "InternalIP", "address": address}


def test_a_node_of_both_families_has_two_addresses_of_one_type() -> None:
    both = internal("192.168.0.1"), internal("2001:db8::1")

    once = written({}, *both)
    again = written(once, *both)

    assert once["addresses"] == list(both)
    assert again == once


def test_an_address_that_the_node_lost_goes() -> None:
    old = {"addresses": [internal("192.168.0.1"), internal("2001:db8::1")]}

    assert written(old, internal("192.168.0.1"))["addresses"] == [internal("192.168.0.1")]


def test_conditions_of_others_stay() -> None:
    theirs = {"type": "SufficientIP", "status": "True"}
    ready = {"type": "Ready", "status": "True"}

    status = written({"conditions": [theirs]}, internal("192.168.0.1"), conditions=[ready])

    assert status["conditions"] == [theirs, ready]
