"""What a rule of nftables is made of: expressions that load registers, compare them and decide.

A rule's expressions run in order until one does not match. Registers are numbered as the kernel
shows them: 1 to 4 have 16 bytes each; 9, 10, … are the second, third, … four bytes of them all.
Source: include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

FIRST_REGISTER = 1
SECOND_WORD = 9  # the four bytes after the first four


class VerdictKind(Enum):
    """The values are the kernel's: NF_DROP, NF_ACCEPT, NFT_JUMP, NFT_GOTO, NFT_RETURN."""

    DROP = 0
    ACCEPT = 1
    JUMP = -3
    GOTO = -4
    RETURN = -5


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a packet; `chain` for JUMP and GOTO."""

    kind: VerdictKind
    chain: str = ""

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.chain}".rstrip()


ACCEPT = Verdict(VerdictKind.ACCEPT)
DROP = Verdict(VerdictKind.DROP)
RETURN = Verdict(VerdictKind.RETURN)


class MetaKey(Enum):
    """What `meta` loads; the values are NFT_META_*."""

    IIFNAME = 6
    OIFNAME = 7
    NFPROTO = 15
    L4PROTO = 16


class CtKey(Enum):
    """What `ct` loads; the values are NFT_CT_*."""

    STATE = 0
    DIRECTION = 1


class PayloadBase(Enum):
    """Which header; the values are NFT_PAYLOAD_*."""

    NETWORK = 1
    TRANSPORT = 2


class CmpOp(Enum):
    """How a register is compared; the values are NFT_CMP_*."""

    EQ = 0
    NEQ = 1
    LT = 2
    LTE = 3
    GT = 4
    GTE = 5


@dataclass(frozen=True, slots=True)
class Meta:
    """Load something about the packet."""

    key: MetaKey
    register: int = FIRST_REGISTER


@dataclass(frozen=True, slots=True)
class Ct:
    """Load something about the packet's connection; no match where it has none."""

    key: CtKey
    register: int = FIRST_REGISTER


@dataclass(frozen=True, slots=True)
class Payload:
    """Load bytes of a header."""

    base: PayloadBase
    offset: int
    length: int
    register: int = FIRST_REGISTER


@dataclass(frozen=True, slots=True)
class Bitwise:
    """Keep the bits of `mask` in a register."""

    mask: bytes
    register: int = FIRST_REGISTER


@dataclass(frozen=True, slots=True)
class Cmp:
    """Go on if the register compares so with `value`."""

    op: CmpOp
    value: bytes
    register: int = FIRST_REGISTER


@dataclass(frozen=True, slots=True)
class Lookup:
    """Go on if the register is in a set; with `is_verdict` the element of a map decides."""

    set: str
    register: int = FIRST_REGISTER
    is_verdict: bool = False


@dataclass(frozen=True, slots=True)
class Decide:
    """End the rule with a verdict (the kernel's `immediate` to the verdict register)."""

    verdict: Verdict


class RejectKind(Enum):
    """The values are NFT_REJECT_*."""

    TCP_RESET = 1
    ICMPX = 2  # of whichever family the packet is


ADMIN_PROHIBITED = 3  # NFT_REJECT_ICMPX_ADMIN_PROHIBITED


@dataclass(frozen=True, slots=True)
class Reject:
    """Drop, and tell the sender; `code` for ICMPX."""

    kind: RejectKind
    code: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """Go on for so many packets a second, and `burst` more at once."""

    rate_per_s: int
    burst: int


@dataclass(frozen=True, slots=True)
class OneIn:
    """Load a random number below `modulus` (`numgen random mod`)."""

    modulus: int
    register: int = FIRST_REGISTER


@dataclass(frozen=True, slots=True)
class Log:
    """Hand the first `snaplen_bytes` of the packet to who listens on an nflog group."""

    group: int
    prefix: str
    snaplen_bytes: int


@dataclass(frozen=True, slots=True)
class Foreign:
    """An expression that we never make; `raw` is its attributes."""

    name: str
    raw: bytes


Expression = (
    Meta | Ct | Payload | Bitwise | Cmp | Lookup | Decide | Reject | Limit | OneIn | Log | Foreign
)
