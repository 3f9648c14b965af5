"""How large are the data path's maps? By how many pods the node can have.

Maps that are filled as needed are small until then; what is taken whole at once (LRU tables) is
what counts: about 170 bytes for each connection that can be remembered.
"""

from __future__ import annotations

from collections.abc import Mapping

_LEAST_CONNECTIONS = 65_536
_MOST_CONNECTIONS = 524_288
_CONNECTIONS_PER_POD = 2_048
_INTERFACES_PER_POD = 2
_MOVING = 64  # links, pods and addresses that go while others come


def map_sizes(pods: int, connections: int = 0) -> Mapping[str, int]:
    """Return the entries of the maps about pods and their connections, by the maps' names.

    `pods` is how many the node can have; `connections` 0: as many as suits that.
    """
    interfaces = _next_power_of_2(_INTERFACES_PER_POD * pods + _MOVING)
    fitting = min(max(_CONNECTIONS_PER_POD * pods, _LEAST_CONNECTIONS), _MOST_CONNECTIONS)
    remembered = connections or _next_power_of_2(fitting)
    return {
        "endpoints": interfaces,
        "links": 2 * interfaces,
        "locals": 4 * interfaces,  # two families, and the node's own
        "flows": remembered,
        "choices": remembered,
        "policy_sides": interfaces,
    }


def policy_map_sizes(entries: int) -> Mapping[str, int]:
    """Return the entries of the maps of policies, where they may name so many addresses.

    A new terwayd has its own verdicts beside those of the last for a moment, and nets that change
    are beside those from before.
    """
    return {
        "policy_hosts": entries,
        "policy_verdicts": 4 * entries,
        "policy_nets": entries // 2,
        "policy_ports": entries // 2,
    }


def service_map_sizes(entries: int) -> Mapping[str, int]:
    """Return the entries of the maps of services, where so many addresses and ports can be led.

    One has two sets at most, and one for the numbers that were given; slots are for sets of more
    than 16 endpoints, 32 each.
    """
    return {
        "frontends": entries,
        "sets": entries + 1,
        "backends": 4 * entries,
        "slots": 8 * entries,
        "source_ranges": max(entries // 8, 1024),
        "affinities": min(entries, _LEAST_CONNECTIONS),
    }


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()
