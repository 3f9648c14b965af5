"""The filters by which upstream Terway tags what members of a trunk send, and untags what comes.

    ingress  20000  any 802.1Q               take the tag off
    egress   50001  IPv4 from the address    put the member's tag on, and go on
             50002  IPv6 from the address    the same; a priority has one protocol

Made when a node goes back to upstream, which makes them at ADD alone. A kernel needs u32 and
act_vlan for them; upstream could not have made a member without. Blocking; for workers.
Source: upstream Terway, plugin/datapath and pkg/tc; include/uapi/linux/pkt_cls.h (TCA_U32_*),
tc_act/tc_vlan.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

from terway.linux.netlink.codec import NLM_F_CREATE, NLM_F_EXCL, Request, attr, attr_str, nested
from terway.linux.netlink.socket import RouteSocket, open_route_socket
from terway.linux.netlink.traffic import RTM_NEWTFILTER, Hook, put_clsact
from terway.linux.netns import fresh_netns
from terway.linux.old_filters import OldFilter, removal_of
from terway.model.address import IPAddress
from terway.model.errors import VpcError
from terway.model.traffic import TrunkMember

POP, PUSH_V4, PUSH_V6 = 20000, 50001, 50002

_LOOPBACK = 1  # the number of lo in every namespace
_TCMSG = struct.Struct("=BxxxiIII")  # family, ifindex, handle, parent, info
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_U32_SEL, _TCA_U32_ACT = 5, 7
_TCA_ACT_KIND, _TCA_ACT_OPTIONS = 1, 2
_TCA_VLAN_PARMS, _TCA_VLAN_ID, _TCA_VLAN_PROTOCOL = 2, 3, 4
_FIRST = 1  # an action's place in its list
# struct tc_u32_sel: flags, offshift, nkeys, offmask, off, offoff, hoff, hmask.
_SELECTOR = struct.Struct("=BBBxHHhhI")
_KEY = struct.Struct("=4s4sii")  # struct tc_u32_key: mask, value, offset, offset's mask
_TERMINAL = 1
_VLAN = struct.Struct("=IIiiii")  # struct tc_vlan: index, capab, action, refcnt, bindcnt, what
_PIPE = 3  # TC_ACT_PIPE: what stands behind sees the packet, too
_DO_POP, _DO_PUSH = 1, 2
_ETH_P_IP, _ETH_P_IPV6, _ETH_P_8021Q = 0x0800, 0x86DD, 0x8100
_WORD = 4
_ALL_BITS = b"\xff" * _WORD
_ANY = _KEY.pack(bytes(_WORD), bytes(_WORD), 0, 0)
_PUSH = {4: (PUSH_V4, _ETH_P_IP), 6: (PUSH_V6, _ETH_P_IPV6)}
_SOURCE_AT = {4: 12, 6: 8}  # in the header of the network layer


def put_filters(ifindex: int, members: Iterable[TrunkMember]) -> Iterator[Request]:
    """Yield what makes the filters of a trunk with these members; what was at their places goes."""
    for place in (_pop(ifindex), _push(ifindex, 4), _push(ifindex, 6)):
        yield removal_of(place)
    yield put_clsact(ifindex)
    yield _filter(_pop(ifindex), (_ANY,), _vlan(_DO_POP))
    for member in members:
        for address in member.addresses:
            place = _push(ifindex, address.version)
            yield _filter(place, _source(address), _tag(member.vlan_id))


def _pop(ifindex: int) -> OldFilter:
    protocol = socket.htons(_ETH_P_8021Q)
    return OldFilter(ifindex=ifindex, hook=Hook.INGRESS, priority=POP, protocol=protocol)


def _push(ifindex: int, version: int) -> OldFilter:
    priority, protocol = _PUSH[version]
    return OldFilter(
        ifindex=ifindex, hook=Hook.EGRESS, priority=priority, protocol=socket.htons(protocol)
    )


def read_lack() -> str:
    """Return why this kernel cannot have such filters, empty where it can: by trying it on a lo."""
    with fresh_netns(), open_route_socket() as sock:
        return _lack(sock)


def _lack(sock: RouteSocket) -> str:
    try:
        for request in put_filters(_LOOPBACK, ()):
            sock.request(request)
    except VpcError as error:
        return str(error)
    return ""


def _source(address: IPAddress) -> Iterator[bytes]:
    """Yield what compares the source address, word by word."""
    first = _SOURCE_AT[address.version]
    for at in range(0, len(address.packed), _WORD):
        yield _KEY.pack(_ALL_BITS, address.packed[at : at + _WORD], first + at, 0)


def _tag(vlan_id: int) -> bytes:
    number = attr(_TCA_VLAN_ID, struct.pack("=H", vlan_id))
    return _vlan(_DO_PUSH) + number + attr(_TCA_VLAN_PROTOCOL, struct.pack(">H", _ETH_P_8021Q))


def _vlan(what: int) -> bytes:
    return attr(_TCA_VLAN_PARMS, _VLAN.pack(0, 0, _PIPE, 0, 0, what))


def _filter(place: OldFilter, keys: Iterable[bytes], vlan: bytes) -> Request:
    found = tuple(keys)
    selector = _SELECTOR.pack(_TERMINAL, 0, len(found), 0, 0, 0, 0, 0) + b"".join(found)
    action = nested(_FIRST, attr_str(_TCA_ACT_KIND, "vlan"), nested(_TCA_ACT_OPTIONS, vlan))
    options = nested(_TCA_OPTIONS, attr(_TCA_U32_SEL, selector), nested(_TCA_U32_ACT, action))
    info = place.priority << 16 | place.protocol
    header = _TCMSG.pack(0, place.ifindex, 0, place.hook.value, info)
    return Request(
        type=RTM_NEWTFILTER,
        flags=NLM_F_CREATE | NLM_F_EXCL,
        body=header + attr_str(_TCA_KIND, "u32") + options,
        what=f"filter add dev {place.ifindex} pref {place.priority} u32 action vlan",
    )
