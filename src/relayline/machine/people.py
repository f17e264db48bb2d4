"""What people say: messages, and answers to what they were asked."""

from dataclasses import replace
from typing import assert_never

from relayline.errors import RequestNotOpen, UsageError
from relayline.events import (
    Answered,
    Asked,
    Finished,
    HandedBack,
    Replied,
    SessionStarted,
    Settled,
    StateChanged,
    ToolStarted,
    TurnEnded,
    UserSpoke,
)
from relayline.machine.draft import Draft
from relayline.machine.handoffs import settle
from relayline.machine.inputs import Answer, Approval, Expired, OutcomeTold, Terminate, Turned, UserSaid, Words
from relayline.machine.state import OpenCall
from relayline.machine.turns import end, hand_over, next_speaker
from relayline.messages import Message, Outcome, Text

WITHDRAWN = "Not run: it was waiting for a person's decision, and the user went on with another message."
INTERRUPTED = "Interrupted. It is not known whether this took effect; find out before doing it again."
EXPIRED = "Not run: nobody decided about it in time."


def user_said(draft: Draft, given: UserSaid) -> None:
    """The user said something, whatever was going on."""
    if not draft.state.seq:
        draft.add(SessionStarted(draft.rules.name, draft.rules.fingerprint, draft.rules.roster))
    clear(draft, "replied")
    if given.values:
        draft.add(StateChanged(given.values))
    draft.add(UserSpoke(given.message, given.to))
    next_speaker(draft)


def expired(draft: Draft, given: Expired) -> None:
    """Nobody answered in time: an approval counts as refused, a question ends the conversation for now."""
    asked = draft.state.requests.get(given.request)
    if asked is None:
        return
    draft.add(Answered(asked.request, "expired"))
    if asked.call:
        draft.result(asked.turn, asked.call, EXPIRED, "refused")
        settle(draft, asked.turn)
    elif asked.ask == "reply" and (giver := _giver(draft, asked.agent)):
        _give_back(draft, asked, giver, "Nobody answered in time.")
    else:
        clear(draft, "expired")
        draft.add(Finished("expired"))


def clear(draft: Draft, answered: Settled) -> None:
    """Leave nothing open: agents' questions count as ``answered``, everything else as withdrawn or interrupted."""
    for request in list(draft.state.requests.values()):
        draft.add(Answered(request.request, answered if request.ask == "user_input" else "withdrawn"))
    for turn in list(draft.state.open.values()):
        for each in turn.calls:
            if each.result is None:
                draft.result(turn.number, each.call, *_left_open(each))
        draft.add(TurnEnded(turn.number, turn.agent))


def answer(draft: Draft, given: Answer) -> None:
    """Somebody answered a request."""
    asked = draft.state.requests.get(given.request)
    if asked is None:
        waiting = ", ".join(repr(each) for each in draft.state.requests) or "none"
        raise RequestNotOpen(
            f"request {given.request!r} is not waiting for an answer; waiting in this session: {waiting}"
        )
    match asked.ask, given.response:
        case "user_input", Words(messages):
            draft.add(Answered(asked.request, "replied"))
            for message in messages:
                draft.add(UserSpoke(message))
            next_speaker(draft)
        case _, Terminate():
            if asked.ask == "reply":
                draft.add(Answered(asked.request, "terminated"))
            clear(draft, "terminated")
            draft.add(Finished("terminated"))
        case "approval", Approval():
            _approval(draft, asked, given.response)
        case "outcome", OutcomeTold():
            _outcome(draft, asked, given.response)
        case "reply", Turned():
            _turned(draft, asked, given.response)
        case _:
            kinds = {"user_input": "words", "approval": "an approval", "outcome": "an outcome", "reply": "a reply"}
            raise UsageError(
                f"request {asked.request!r} wants {kinds[asked.ask]}, got {type(given.response).__name__}; "
                "use the create_response() of the request"
            )


def _approval(draft: Draft, asked: Asked, response: Approval) -> None:
    assert asked.call is not None
    if response.approved:
        draft.add(Answered(asked.request, "approved", response.reason, response.by))
        if asked.call.name in draft.rules.pattern.exits(asked.agent):
            settle(draft, asked.turn)
            return
        edited = asked.call.arguments if response.arguments is None else response.arguments
        draft.add(ToolStarted(asked.turn, replace(asked.call, arguments=edited)))
        return
    draft.add(Answered(asked.request, "refused", response.reason, response.by))
    why = f" Reason: {response.reason}" if response.reason else ""
    draft.result(asked.turn, asked.call, f"Not run: a person refused it.{why}", "refused")
    settle(draft, asked.turn)


def _outcome(draft: Draft, asked: Asked, told: OutcomeTold) -> None:
    assert asked.call is not None
    if told.result is None:
        if asked.call.name not in draft.rules.policies.get(asked.agent, {}):
            raise UsageError(
                f"{asked.agent!r} has no tool {asked.call.name!r} any more, so the call cannot be run again; "
                "say what became of it; the request stays open"
            )
        draft.add(Answered(asked.request, "rerun", by=told.by))
        draft.add(ToolStarted(asked.turn, asked.call))
        return
    draft.add(Answered(asked.request, "told", told.result, told.by))
    draft.result(asked.turn, asked.call, told.result, "done")
    settle(draft, asked.turn)


def _turned(draft: Draft, asked: Asked, given: Turned) -> None:
    """A person among the participants spoke, handed over, or both."""
    turn = draft.state.open[asked.turn]
    edge = draft.rules.pattern.edge(asked.agent, given.to)
    if given.to and edge is None:
        declared = ", ".join(repr(each.target) for each in draft.rules.pattern.exits(asked.agent).values()) or "none"
        raise UsageError(
            f"no handoff from {asked.agent!r} to {given.to!r}; declared: {declared}; the request stays open"
        )
    giver = _giver(draft, asked.agent)
    if given.back and not giver:
        raise UsageError(
            f"nobody handed the conversation over to {asked.agent!r}, so it cannot be given back; "
            "the request stays open"
        )
    draft.add(Answered(asked.request, "replied"))
    if given.text:
        draft.add(Replied(turn.number, Message("assistant", (Text(given.text),), asked.agent)))
    if edge:
        draft.add(TurnEnded(turn.number, turn.agent))
        hand_over(draft, edge)
    elif given.back and giver:
        _give_back(draft, asked, giver)
    else:
        end(draft, turn)


def _giver(draft: Draft, agent: str) -> str:
    """Who the conversation goes back to from ``agent``; empty: nobody handed it over."""
    floor = draft.state.floor
    arrival = floor.arrivals.get(agent)
    return floor.callers[-1] if floor.callers else arrival.handoff.source if arrival else ""


def _give_back(draft: Draft, asked: Asked, giver: str, reason: str = "") -> None:
    draft.add(TurnEnded(asked.turn, asked.agent))
    draft.add(HandedBack(asked.turn, asked.agent, giver, reason))
    draft.start(giver)


def _left_open(each: OpenCall) -> tuple[str, Outcome]:
    match each.stage:
        case "asked":
            return WITHDRAWN, "withdrawn"
        case "started" | "interrupted" | "unclear":
            return INTERRUPTED, "unknown"
        case "parked":
            return "Not taken: the conversation went on before it could happen.", "not_taken"
        case _:
            assert_never(each.stage)
