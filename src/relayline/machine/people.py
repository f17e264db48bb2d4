"""What people say: messages, and answers to what they were asked."""

from dataclasses import replace
from typing import assert_never

from relayline.errors import RequestNotOpen, UsageError
from relayline.events import (
    Answered,
    Asked,
    Finished,
    Retried,
    SessionStarted,
    Settled,
    ToolStarted,
    TurnEnded,
    UserSpoke,
)
from relayline.machine.calls import settle
from relayline.machine.draft import Draft
from relayline.machine.inputs import Answer, Approval, OutcomeTold, Terminate, UserSaid, Words
from relayline.machine.state import OpenCall
from relayline.machine.topology import ToolPolicy
from relayline.machine.turns import next_speaker
from relayline.messages import Outcome

WITHDRAWN = "Not run: it was waiting for a person's decision, and the user went on with another message."
INTERRUPTED = "Interrupted. It is not known whether this took effect; find out before doing it again."


def user_said(draft: Draft, given: UserSaid) -> None:
    """The user said something, whatever was going on."""
    if not draft.state.seq:
        draft.add(SessionStarted(draft.rules.name, draft.rules.fingerprint))
    clear(draft, "replied")
    draft.add(UserSpoke(given.message, given.to))
    next_speaker(draft)


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
            clear(draft, "terminated")
            draft.add(Finished("terminated"))
        case "approval", Approval():
            _approval(draft, asked, given.response)
        case "outcome", OutcomeTold(result):
            _outcome(draft, asked, result)
        case _:
            kinds = {"user_input": "words", "approval": "an approval", "outcome": "an outcome"}
            raise UsageError(
                f"request {asked.request!r} wants {kinds[asked.ask]}, got {type(given.response).__name__}; "
                "use the create_response() of the request"
            )


def _approval(draft: Draft, asked: Asked, response: Approval) -> None:
    assert asked.call is not None
    if response.approved:
        draft.add(Answered(asked.request, "approved", response.reason))
        if asked.call.name in draft.rules.pattern.exits(asked.agent):
            settle(draft, asked.turn)
            return
        edited = asked.call.arguments if response.arguments is None else response.arguments
        draft.add(ToolStarted(asked.turn, replace(asked.call, arguments=edited)))
        return
    draft.add(Answered(asked.request, "refused", response.reason))
    why = f" Reason: {response.reason}" if response.reason else ""
    draft.result(asked.turn, asked.call, f"Not run: a person refused it.{why}", "refused")
    settle(draft, asked.turn)


def _outcome(draft: Draft, asked: Asked, result: str | None) -> None:
    assert asked.call is not None
    if result is None:
        draft.add(Answered(asked.request, "rerun"))
        draft.add(ToolStarted(asked.turn, asked.call))
        return
    draft.add(Answered(asked.request, "told", result))
    draft.result(asked.turn, asked.call, result, "done")
    settle(draft, asked.turn)


def resumed(draft: Draft) -> None:
    """Want again what failed, and ask about what may or may not have happened."""
    if draft.state.failure:
        draft.add(Retried(draft.state.failure.effect))
    for turn in list(draft.state.open.values()):
        policies = draft.rules.policies.get(turn.agent, {})
        for each in turn.calls:
            safe = policies.get(each.call.name, ToolPolicy()).repeatable
            if each.stage == "started" and each.result is None and not safe:
                draft.ask(turn, "outcome", each.call)


def _left_open(each: OpenCall) -> tuple[str, Outcome]:
    match each.stage:
        case "asked":
            return WITHDRAWN, "withdrawn"
        case "started" | "unclear":
            return INTERRUPTED, "unknown"
        case "parked":
            return "Not taken: the conversation went on before it could happen.", "not_taken"
        case _:
            assert_never(each.stage)
