"""The benchmark hears from the kernel when an element of a set is in force."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from bench.policy_watch import watched

from tests.support.netns import scratch_netns

pytestmark = pytest.mark.root

ADDRESS = IPv4Address("10.90.1.2")
SET = """
table inet t {
  chain p1 { }
  map m { type ipv4_addr : verdict; }
}
"""


def test_the_kernel_tells_when_an_address_comes_and_when_it_goes():
    with scratch_netns("elements") as netns, watched(netns.path) as elements:
        netns.run(f"nft '{SET}'")

        netns.run(f"nft 'add element inet t m {{ {ADDRESS} : goto p1, 10.90.1.3 : drop }}'")
        elements.wait(lambda: came(elements, is_added=True), timeout_s=10)
        assert came(elements, is_added=False) is None

        netns.run(f"nft 'delete element inet t m {{ {ADDRESS} }}'")
        elements.wait(lambda: came(elements, is_added=False), timeout_s=10)

    assert elements.first(IPv4Address("10.90.1.4"), since=0.0, is_added=True) is None


def came(elements, *, is_added):
    return elements.first(ADDRESS, since=0.0, is_added=is_added)
