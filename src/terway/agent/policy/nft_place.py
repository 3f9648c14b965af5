"""How is what was printed kept in one network namespace, whoever else is at nftables there?

A pod's own processes may hold our table's name (`flags owner`: the kernel lets nobody else touch
it), or fill it with what nobody can read. What cannot be changed in place is put away and made anew
in one transaction; where even that is refused, another table with the same rules at the same hooks
does as well: nothing that one table accepts is accepted for the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from weakref import finalize

import structlog

from terway.agent.policy.hooks import Hooks
from terway.linux.grace import wait_for_packets
from terway.linux.netns import open_netns
from terway.linux.nfnetlink.tables import NftSocket, open_nft_socket
from terway.model.errors import ConflictError, VpcError
from terway.model.nft import (
    AddChain,
    AddSet,
    AddTable,
    DeleteChain,
    DeleteSet,
    DeleteTable,
    Operation,
    Table,
    Transactions,
)
from terway.policy.compiled import Change, Compiled
from terway.policy.nft.names import TABLE
from terway.policy.nft.printer import Printer
from terway.policy.nft.skeleton import FlowLog, Options, Place

SPARE_PREFIX = f"{TABLE}_spare_"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0

_log = structlog.get_logger("policy")


class NftPlace:
    """Our table in one network namespace; the path "" is the node's own.

    `refusal` is why what policies say is not in force here, empty when it is; `notice` is why it is
    in a table of another name.

    What a change leaves behind is removed later, when no packet is in it any more: so nobody waits
    for that. Few of its names are used again (sets of ports are); where one is, it goes before.
    """

    def __init__(self, netns: str, options: Options) -> None:
        self.netns = netns
        self.hooks: Hooks = {}
        self.refusal = self.notice = ""
        self.retry_at = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._table = TABLE
        self._printer = Printer(Place.POD if netns else Place.NODE, options)
        self._left_at: int | None = None  # the generation after our last deed
        self._is_disturbed = False
        self._behind: list[Operation] = []  # what is still to be removed
        self._node_socket: NftSocket | None = None
        self._close: Callable[[], object] = lambda: None
        self._aside = 0  # so many of them were there when packets began to be let out

    def adopt(self, compiled: Compiled, hooks: Hooks) -> None:
        """Have `compiled` in force here, in one switch, whatever is there."""
        self.hooks = hooks
        with self._open() as sock:
            before = sock.generation()
            self._fit(sock, compiled, hooks)
            self._left_at, self._is_disturbed = _after(before, sock), False
        self.refusal, self._pause_s = "", _FIRST_PAUSE_S

    def change(self, change: Change, hooks: Hooks) -> None:
        """Take what is different into force."""
        transactions = self._printer.change(change, hooks)
        self.hooks = hooks
        self._change(transactions)

    def log(self, flow_log: FlowLog | None) -> None:
        """Have the rules tell of connections, or (None) not."""
        self._change(self._printer.log(flow_log))

    def set_aside(self) -> bool:
        """Return whether something is to be removed; it is what `clear_away` removes."""
        self._aside = len(self._behind)
        return bool(self._behind)

    def clear_away(self) -> None:
        """Remove what was set aside, now that no packet is in it."""
        if self._aside:
            with self._deed() as sock:
                self._clear(sock, self._aside)

    def _clear(self, sock: NftSocket, count: int) -> None:
        sock.clear(self._table, self._behind[:count])
        del self._behind[:count]
        self._aside = max(0, self._aside - count)

    def refuse(self, error: VpcError, now: float) -> None:
        """Take note that what was wanted here could not be done; `now` is monotonic seconds."""
        if str(error) != self.refusal:
            _log.error("policy.place_refused", netns=self.netns, error=str(error))
        self.refusal, self.retry_at = str(error), now + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def read(self) -> Table | None:
        """Return what is in force."""
        with self._open() as sock:
            before = sock.generation()
            found = sock.read(self._table)
            self._left_at, self._is_disturbed = before, False
        return found

    def is_as_left(self) -> bool:
        """Return whether nobody has changed nftables here since."""
        with self._open() as sock:
            return not self._is_disturbed and sock.generation() == self._left_at

    def remove(self) -> bool:
        """Remove our table; return whether there was one.

        Raises VpcError where it is there and another program's.
        """
        try:
            with self._open() as sock:
                _sweep(sock, keeping=TABLE)
                sock.apply(TABLE, (DeleteTable(),))
        except ConflictError:  # no table, or no such namespace any more
            return False
        return True

    def _change(self, transactions: Transactions) -> None:
        if not transactions:
            return
        with self._deed() as sock:
            if _made(transactions) & _removed(self._behind):
                wait_for_packets()
                self._clear(sock, len(self._behind))
            sock.enforce(self._table, transactions)
            self._behind += transactions.remove

    @contextmanager
    def _deed(self) -> Iterator[NftSocket]:
        """Change something for the block; what somebody else did since our last deed is noted."""
        with self._open() as sock:
            before = sock.generation()
            self._is_disturbed |= before != self._left_at
            try:
                yield sock
            except ConflictError as error:
                if not self.netns:
                    raise
                # The pod has changed its table meanwhile: it is looked at, and made anew, soon.
                _log.info("policy.table_changed_inside", netns=self.netns, error=str(error))
                self._is_disturbed, self._behind, self._aside = True, [], 0
            self._left_at = _after(before, sock)

    def _fit(self, sock: NftSocket, compiled: Compiled, hooks: Hooks) -> None:
        """Write into our table, or (in a pod) into another where that one is held."""
        try:
            self._write(sock, TABLE, compiled, hooks)
        except VpcError as error:
            if not self.netns or error.code != "EPERM":
                raise
            spare = self._table if self._table != TABLE else SPARE_PREFIX + secrets.token_hex(4)
            self._write(sock, spare, compiled, hooks)
            self._table, self.notice = spare, str(error)
        else:
            self._table, self.notice = TABLE, ""
        _sweep(sock, keeping=self._table)

    def _write(self, sock: NftSocket, table: str, compiled: Compiled, hooks: Hooks) -> None:
        try:
            actual = sock.read(table)
            if actual is None or not actual.flags:
                transactions = self._printer.adopt(compiled, hooks, actual)
                sock.enforce(table, transactions)
                self._behind, self._aside = list(transactions.remove), 0
                return
        except VpcError as error:
            _log.warning("policy.table_put_away", netns=self.netns, table=table, error=str(error))
        anew = self._printer.adopt(compiled, hooks, None)
        sock.apply(table, tuple(_in_place_of_all(anew)))
        self._behind, self._aside = [], 0

    @contextmanager
    def _open(self) -> Iterator[NftSocket]:
        if not self.netns:
            with self._kept_open() as sock:
                yield sock
            return
        with open_netns(self.netns) as opened, open_nft_socket(opened.fd) as sock:
            yield sock

    @contextmanager
    def _kept_open(self) -> Iterator[NftSocket]:
        """Use the node's own socket for the block; after an error, the next gets another one.

        To close one waits until the kernel has freed what was replaced, for 5 to 20 ms as measured
        (nft_rcv_nl_event). In a pod it must be: an open socket would hold the namespace.
        """
        if self._node_socket is None:
            opened = ExitStack()
            self._node_socket = opened.enter_context(open_nft_socket())
            self._close = finalize(self, opened.close)
        sock = self._node_socket
        sock.commits = 0
        try:
            yield sock
        except BaseException:
            self._node_socket = None
            self._close()
            raise


def _made(transactions: Transactions) -> set[str]:
    made = (*transactions.make, *transactions.switch)
    return {one.name for one in made if isinstance(one, AddChain | AddSet)}


def _removed(operations: Iterable[Operation]) -> set[str]:
    return {one.name for one in operations if isinstance(one, DeleteChain | DeleteSet)}


def _in_place_of_all(anew: Transactions) -> Iterator[Operation]:
    """Yield what makes a table from nothing, and before that puts away what is there."""
    yield from (AddTable(), DeleteTable())
    yield from anew.make
    yield from anew.switch


def _after(before: int | None, sock: NftSocket) -> int | None:
    """Return the generation that there is if all that came since `before` was ours."""
    return None if before is None else before + sock.commits


def _sweep(sock: NftSocket, *, keeping: str) -> None:
    """Remove our tables of other names. One that another program holds says nothing of ours."""
    for name in sock.tables():
        if name.startswith(SPARE_PREFIX) and name != keeping:
            with suppress(VpcError):
                sock.apply(name, (DeleteTable(),))
