"""The emulated cloud: a call in, a reply out, and what happens on its own in between.

No network and no waiting in here: the clock and the seed are parameters, time passes by
`advance`, and a reply says itself how long to hold it back. Whoever serves the cloud calls
`advance` when `next_due` says so; a test moves its clock and does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from terway.lab.cloud.action import Action, Answer
from terway.lab.cloud.calls import CallRecord, Calls
from terway.lab.cloud.client_tokens import ClientTokens
from terway.lab.cloud.fabric_view import FabricHabits, fabric_state
from terway.lab.cloud.faults import Fault, Faults
from terway.lab.cloud.instance_types import Catalogue, read_catalogue
from terway.lab.cloud.keyring import Principal
from terway.lab.cloud.products import find_action
from terway.lab.cloud.refusal import Refusal, forbidden
from terway.lab.cloud.signature import SignedRequest, Verifier
from terway.lab.cloud.throttle import REAL_LIMITS, Throttle
from terway.lab.cloud.transitions import Delays, settle
from terway.lab.cloud.world import Limits, Place, World
from terway.lab.vpc.state import VpcState

KEPT_S = 120.0  # of the past of ENIs: who lags behind, lags less
OWNER = Principal(arn="acs:ram::root")  # the account itself: may do everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call, by somebody who is known."""

    version: str
    action: str
    parameters: Mapping[str, str]
    caller: Principal = OWNER


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a call, to be given after `delay_s`, or, if `lost`, not at all."""

    status: int
    body: Answer
    delay_s: float = 0.0
    lost: bool = False

    @property
    def code(self) -> str:
        """The error code, empty for success."""
        return "" if self.status == 200 else str(self.body["Code"])


class Cloud:
    """One region of one account. `clock` is seconds since the epoch."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        seed: int = 0,
        place: Place | None = None,
        delays: Delays | None = None,
        limits: Limits | None = None,
        types: Catalogue | None = None,
        rates: Mapping[str, float] = REAL_LIMITS,
        habits: FabricHabits | None = None,
    ) -> None:
        self.world = World(
            clock=clock,
            seed=seed,
            place=place or Place(),
            delays=delays or Delays(),
            limits=limits or Limits(),
            types=read_catalogue() if types is None else types,
        )
        self.habits = habits or FabricHabits()
        self.throttle = Throttle(rates)
        self.faults = Faults()
        self.calls = Calls()
        self.history = self.world.history
        self._tokens = ClientTokens()
        self._verifier = Verifier(self.world.keyring, clock=clock)
        self._subscribers: list[Callable[[], None]] = []
        self._told_revision = 0

    def handle(self, request: SignedRequest) -> Reply:
        """Answer a call that came over the wire, after verifying its signature."""
        parameters = request.parameters()
        # Older clients name action and version in the query instead of in headers.
        named = parameters.pop("Action", ""), parameters.pop("Version", "")
        action = request.headers.get("x-acs-action") or named[0]
        version = request.headers.get("x-acs-version") or named[1]
        parameters.pop("Format", None)  # JSON is what there is
        try:
            key = self._verifier.verify(request)
        except Refusal as refusal:
            anonymous = Call(
                version=version,
                action=action,
                parameters=parameters,
                caller=Principal(arn="", allow=()),
            )
            return self._refused(anonymous, refusal)
        return self.perform(
            Call(version=version, action=action, parameters=parameters, caller=key.principal)
        )

    def perform(self, call: Call) -> Reply:
        """Answer a call."""
        self.advance()
        try:
            reply = self._perform(call)
        except Refusal as refusal:
            reply = self._refused(call, refusal)
        self._tell()
        return reply

    def _perform(self, call: Call) -> Reply:
        product, action = find_action(call.version, call.action)
        if not call.caller.may(product.name, call.action):
            message = "User not authorized to operate on the specified resource."
            raise forbidden("Forbidden.RAM", message)
        self.throttle.admit(call.action, now=self.world.now())
        fault = self.faults.take(call.action) or Fault()
        if fault.code:
            self._break(call, fault)
        answer = self._answer_once(call, action)
        self._record(call, lost=fault.loses_reply)
        held_back_s = self.world.delays.answer_s.get(call.action, 0.0) + fault.delay_s
        body = {"RequestId": self.world.ids.request_id(), **answer}
        return Reply(status=200, body=body, delay_s=held_back_s, lost=fault.loses_reply)

    def _break(self, call: Call, fault: Fault) -> None:
        if fault.burns_token:
            now = self.world.now()
            self._tokens.remember(call.action, call.parameters, None, now=now)
        raise Refusal(fault.code, fault.message, status=fault.status)

    def _answer_once(self, call: Call, action: Action[Any]) -> Answer:
        now = self.world.now()
        answer = self._tokens.recall(call.action, call.parameters, now=now)
        if answer is None:
            answer = action.perform(self.world, call.action, call.parameters)
            self._tokens.remember(call.action, call.parameters, answer, now=now)
        return answer

    def _refused(self, call: Call, refusal: Refusal) -> Reply:
        self._record(call, code=refusal.code)
        body = {
            "RequestId": self.world.ids.request_id(),
            "HostId": f"{self.world.place.region_id}.aliyuncs.com",
            "Code": refusal.code,
            "Message": refusal.message,
            "Recommend": f"https://api.aliyun.com/troubleshoot?q={refusal.code}",
        }
        return Reply(status=refusal.status, body=body)

    def _record(self, call: Call, *, code: str = "", lost: bool = False) -> None:
        self.calls.add(
            CallRecord(
                at=self.world.now(),
                action=call.action,
                parameters=dict(call.parameters),
                caller=call.caller.arn,
                code=code,
                lost=lost,
            )
        )

    def advance(self) -> None:
        """Let everything happen whose time has come."""
        while transition := self.world.agenda.pop_due(self.world.now()):
            settle(self.world.state, transition)
        self._tell()

    def next_due(self) -> float | None:
        """Return when something will happen on its own next, None for never."""
        return self.world.agenda.next_due()

    def now(self) -> float:
        """Return the cloud's time, in seconds since the epoch."""
        return self.world.now()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each change from now on; return how to stop that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def vpc_state(self) -> VpcState:
        """Return what the fabric has to carry now."""
        return fabric_state(self.world.state, self.habits)

    def _tell(self) -> None:
        revision = self.world.state.revision
        if revision == self._told_revision:
            return
        self._told_revision = revision
        changes = self.world.state.take_eni_changes()
        self.history.add(self.now(), changes, keep_s=KEPT_S)
        for callback in tuple(self._subscribers):
            callback()
