"""Changes a table of nftables, all or nothing, and reads it back. Blocking; for workers."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import TypeVar

from terway.linux.grace import wait_for_packets
from terway.linux.netlink.codec import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Query,
    message,
    messages,
)
from terway.linux.netlink.errors import error_code, error_detail, translate, translate_os_error
from terway.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket, bind
from terway.linux.netns import entered
from terway.linux.nfnetlink import shown
from terway.linux.nfnetlink.elements import gather
from terway.linux.nfnetlink.operations import (
    GETCHAIN,
    GETGEN,
    GETRULE,
    GETSET,
    GETSETELEM,
    GETTABLE,
    NftMessage,
    encode,
)
from terway.linux.nfnetlink.wire import SUBSYSTEM, nfgenmsg
from terway.model.errors import TransientError, VpcError
from terway.model.nft import (
    AddElements,
    Chain,
    Operation,
    Rule,
    Set,
    SetShape,
    Table,
    Transactions,
)

T = TypeVar("T")

_BATCH_BEGIN, _BATCH_END = 16, 17
_BATCH_RESOURCE = 10  # NFNL_SUBSYS_NFTABLES, in the headers around a batch
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SEND_SPARE_BYTES = 64 * 1024  # what the kernel counts beside the data itself
_RECEIVE_BYTES = 64 * 1024
_REFUSALS_BYTES = 1 << 20
_READ_ATTEMPTS = 10
UNREADABLE = "unreadable"
# What need not be one transaction is sent in pieces of so many operations, or elements.
_PIECE = 20_000


@contextmanager
def open_nft_socket(netns_fd: int | None = None) -> Iterator[NftSocket]:
    """Open a socket in the namespace of `netns_fd` (None: the thread's own).

    The thread is in that namespace only while the socket is made.
    """
    with nullcontext() if netns_fd is None else entered(netns_fd):
        opened = _connect()
    with closing(opened):
        yield NftSocket(opened)


def _connect() -> socket.socket:
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    )
    try:
        for option in (_CAP_ACK, _EXT_ACK):
            opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _REFUSALS_BYTES)
        bind(opened)
    except OSError as error:
        opened.close()
        raise translate_os_error(error, "open a socket of nftables") from error
    return opened


class NftSocket:
    """A conversation about tables of family inet. Not for two threads at once."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._reader = NetlinkSocket(opened)
        self.commits = 0  # transactions carried out: by so many they raised the generation

    def apply(self, table: str, operations: Sequence[Operation]) -> None:
        """Carry out operations as one transaction: all, or none and an error that names one.

        Raises ConflictError where something is missing or is there already, TransientError
        when the kernel has no memory, UsageError without CAP_NET_ADMIN.
        """
        batch = tuple(part for one in operations for part in encode(table, one))
        if batch:
            self._transmit(batch)
            self._await(batch)
            self.commits += 1

    def change(self, table: str, transactions: Transactions) -> None:
        """Carry out `make`, `switch` and `remove`, in this order; stop at the first that fails.

        What is removed is empty for a packet at once, even for one that is in the midst of it: so
        all that came before the switch are let out first.
        """
        self.enforce(table, transactions)
        if transactions.remove:
            wait_for_packets()
        self.clear(table, transactions.remove)

    def enforce(self, table: str, transactions: Transactions) -> None:
        """Carry out `make` and `switch`: all is in force then, and `remove` may be done later."""
        for piece in _pieces(transactions.make):
            self.apply(table, piece)
        self.apply(table, transactions.switch)

    def clear(self, table: str, operations: Sequence[Operation]) -> None:
        """Remove what is in use no more, and empty of packets by now, in small transactions."""
        for piece in _pieces(operations):
            self.apply(table, piece)

    def read(self, table: str) -> Table | None:
        """Return the table as it is at one moment, None when there is none.

        Raises TransientError when somebody changes nftables during each of ten attempts, and (code
        UNREADABLE) when there is in it what no table of ours could have.
        """
        for _attempt in range(_READ_ATTEMPTS):
            before = self.generation()
            try:
                found = self._read(table)
            except (ValueError, LookupError, struct.error) as error:
                text = f"table {table} cannot be understood: {error!r}"
                raise TransientError(text, code=UNREADABLE) from error
            if self.generation() == before:
                return found
        raise TransientError(f"table {table}: nftables changed during each of ten reads")

    def _transmit(self, batch: Sequence[NftMessage]) -> None:
        data = b"".join(_packed(batch))
        try:
            room = len(data) + _SEND_SPARE_BYTES
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, room)
            self._socket.send(data)
        except OSError as error:
            raise translate_os_error(error, _name(batch)) from error

    def _await(self, batch: Sequence[NftMessage]) -> None:
        """Wait for the last message's acknowledgement; what failed is told before, in order."""
        failures: list[VpcError] = []
        is_over = False
        while not is_over:
            try:
                data = self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except OSError as error:
                # ENOBUFS: more failures than fit, the first of them do.
                is_over = error.errno != errno.ENOBUFS
                failures.append(translate_os_error(error, _name(batch)))
                continue
            is_over = _take(data, batch, failures)
        if failures:
            raise min(failures, key=lambda one: one.code == "ENOBUFS")

    def generation(self) -> int | None:
        """Return how often anything of nftables was changed in this namespace, by anybody."""
        return next(iter(self._ask(GETGEN, nfgenmsg(0), shown.generation_of, is_dump=False)), None)

    def tables(self) -> Mapping[str, int]:
        """Return the flags of the tables there are, by name."""
        return dict(self._ask(GETTABLE, shown.tables_query(), shown.table_of))

    def _read(self, table: str) -> Table | None:
        flags = self.tables().get(table)
        if flags is None:
            return None
        bases = dict(self._ask(GETCHAIN, shown.chains_query(), shown.chain_of(table)))
        shapes = self._ask(GETSET, shown.sets_query(table), shown.set_of)
        sets = {name: self._set(table, name, shape) for name, shape in shapes}
        rules: dict[str, list[Rule]] = {name: [] for name in bases}
        for chain, rule in self._ask(GETRULE, shown.rules_query(table), shown.rule_of):
            rules.setdefault(chain, []).append(rule)
        chains = {
            name: Chain(base=bases.get(name), rules=tuple(found)) for name, found in rules.items()
        }
        return Table(name=table, flags=flags, chains=chains, sets=sets)

    def _set(self, table: str, name: str, shape: SetShape | None) -> Set:
        parts = self._ask(GETSETELEM, shown.elements_query(table, name), shown.elements_of)
        found = [one for part in parts for one in part]
        is_plain = None not in found
        return Set(shape=shape if is_plain else None, elements=gather(shape, found))

    def _ask(
        self, kind: int, body: bytes, decode: Callable[[bytes], T | None], *, is_dump: bool = True
    ) -> list[T]:
        what = f"read nftables, message {kind}"
        return self._reader.query(
            Query(type=SUBSYSTEM | kind, body=body, decode=decode, what=what, is_dump=is_dump)
        )


def _packed(batch: Sequence[NftMessage]) -> Iterator[bytes]:
    around = nfgenmsg(0, _BATCH_RESOURCE)
    header = nfgenmsg()
    yield message(_BATCH_BEGIN, NLM_F_REQUEST, 0, around)
    for sequence, one in enumerate(batch, 1):
        flags = one.flags | NLM_F_REQUEST | (NLM_F_ACK if sequence == len(batch) else 0)
        yield message(SUBSYSTEM | one.type, flags, sequence, header + one.attributes)
    yield message(_BATCH_END, NLM_F_REQUEST, len(batch) + 1, around)


def _take(data: bytes, batch: Sequence[NftMessage], failures: list[VpcError]) -> bool:
    """Note the failures that an answer tells; return whether it was the last answer."""
    for kind, flags, sequence, body in messages(data):
        if kind != NLMSG_ERROR:
            continue
        what = batch[sequence - 1].what if 0 < sequence <= len(batch) else _name(batch)
        if code := error_code(body):
            failures.append(translate(code, f"nftables: {what}", error_detail(flags, body)))
        if not 0 < sequence < len(batch):
            return True
    return False


def _name(batch: Sequence[NftMessage]) -> str:
    return f"nftables: {batch[0].what} and {len(batch) - 1} more"


def _pieces(operations: Sequence[Operation]) -> Iterator[list[Operation]]:
    piece: list[Operation] = []
    size = 0
    for one in operations:
        weight = len(one.elements) if isinstance(one, AddElements) else 1
        if piece and size + weight > _PIECE:
            yield piece
            piece, size = [], 0
        piece.append(one)
        size += weight
    if piece:
        yield piece
