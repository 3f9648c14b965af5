"""Addresses go from pod to pod faster than they can rest, and no packet goes astray.

`python -m tests.property.test_recycling` recycles a million.
"""

from __future__ import annotations

import sys
import time

import pytest

from terway.model.address import Family
from tests.support.recycling import recycle

V4 = (Family.V4,)
PREFIXES = {"has_prefixes": True, "ipv4_prefixes": 2}


@pytest.mark.parametrize(
    ("count", "changes"),
    [
        (40_000, {"families": V4, "max_free": 8}),
        (5_000, {"families": (Family.V4, Family.V6), "max_free": 8}),
        (5_000, {"families": V4, **PREFIXES}),
    ],
    ids=["IPv4", "dual stack", "prefixes"],
)
def test_no_address_is_given_while_the_kernel_remembers_its_last_owner(count, changes):
    """bug class 5"""
    node = recycle(count, seed=1, **changes)

    assert node.misdelivered == 0
    assert node.recycled >= count


def test_with_few_pods_on_many_addresses_the_rest_is_kept_and_flushed_all_the_same():
    """bug class 5, bug class 43: entries that live for days are not waited for"""
    node = recycle(2_000, seed=2, pods=1, families=V4, max_free=30, min_free=20, cooldown_s=0.5)

    assert node.misdelivered == 0


def test_the_model_would_notice_a_pool_that_does_not_flush():
    node = recycle(500, seed=3, families=V4, max_free=8)
    node._forget = lambda addresses: None  # type: ignore[method-assign]  # the kernel forgets nothing

    for _ in range(50):
        node.turn()

    assert node.misdelivered > 0


def main() -> int:
    """Recycle a million addresses, and say how it went."""
    began = time.monotonic()
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    node = recycle(1_000_000, seed=seed, pods=28, families=V4, max_free=30)
    took_s = time.monotonic() - began
    print(f"recycled {node.recycled} addresses in {took_s:.0f} s: {node.misdelivered} misdelivered")
    return 1 if node.misdelivered else 0


if __name__ == "__main__":
    sys.exit(main())
