"""What people say: messages, and answers to what they were asked."""

from dataclasses import replace

from relayline.errors import RequestNotOpen, UsageError
from relayline.events import (
    Answered,
    Asked,
    Finished,
    HandedBack,
    Replied,
    Routed,
    SessionStarted,
    StateChanged,
    ToolStarted,
    TurnEnded,
    UserSpoke,
)
from relayline.machine.draft import Draft
from relayline.machine.functions import returned
from relayline.machine.handoffs import settle
from relayline.machine.inputs import (
    Answer,
    Approval,
    Expired,
    OutcomeTold,
    Terminate,
    Told,
    Turned,
    UserSaid,
    Words,
)
from relayline.machine.nested import waiting
from relayline.machine.recovery import taken_up
from relayline.machine.state import Turn
from relayline.machine.turns import LATE, clear, end, hand_over, inside, next_speaker, spared, start, without
from relayline.messages import Message, Text

EXPIRED = "Not run: nobody decided about it in time."


def user_said(draft: Draft, given: UserSaid) -> None:
    """The user said something, whatever was going on."""
    if not draft.state.seq:
        draft.add(SessionStarted(draft.rules.name, draft.rules.fingerprint, draft.rules.roster))
    if draft.state.requests and (review := _review(draft)) and not given.to:
        _go_on(draft, given)
        _reviewed(draft, review, Words((given.message,)))
        return
    if (turn := _talking(draft)) and not given.to:
        _go_on(draft, given)
        inside(draft, turn, UserSaid(given.message))
        return
    clear(draft, "replied")
    if given.values:
        draft.add(StateChanged(given.values))
    draft.add(UserSpoke(given.message, given.to))
    next_speaker(draft)


def _go_on(draft: Draft, given: UserSaid) -> None:
    taken_up(draft)
    if given.values:
        draft.add(StateChanged(given.values))


def _talking(draft: Draft) -> Turn | None:
    """The turn of a team that the user is talking with: the conversation goes on in there. Of turns beside others it is
    the one in which the only question is.
    """
    open_turns = draft.state.open.values()
    turns = [each for each in open_turns if each.part.inner is not None and each.agent in draft.rules.teams]
    for turn in turns:
        if turn.lane is None:
            return turn
    asked = list(waiting(draft.state))
    if len(asked) != 1 or asked[0].asked.ask not in ("user_input", "review"):
        return None
    return next((each for each in turns if asked[0].request.startswith(f"t{each.number}.")), None)


def expired(draft: Draft, given: Expired) -> None:
    """Nobody answered in time: an approval counts as refused, a question ends the conversation for now, or the turn of
    a function that the others go on without.
    """
    if turn := _asking(draft, given.request):
        inside(draft, turn, Expired(given.request.partition(".")[2]))
        return
    asked = draft.state.requests.get(given.request)
    if asked is None:
        return
    draft.add(Answered(asked.request, "expired"))
    if asked.call and asked.ask != "info":
        draft.result(asked.turn, asked.call, EXPIRED, "refused")
        settle(draft, asked.turn)
    elif asked.ask == "reply" and (giver := _giver(draft, asked.agent)):
        _give_back(draft, asked, giver, LATE)
    elif (turn := draft.state.open.get(asked.turn)) and spared(draft, turn):
        without(draft, turn, LATE)
    else:
        clear(draft, "expired")
        draft.add(Finished("expired"))


def answer(draft: Draft, given: Answer) -> None:
    """Somebody answered a request."""
    if turn := _asking(draft, given.request):
        inside(draft, turn, Answer(given.request.partition(".")[2], given.response))
        return
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
        case "review", Approval() | Words():
            _reviewed(draft, asked, given.response)
        case "info", Told(value, by):
            draft.add(Answered(asked.request, "replied", by=by, value=value))
        case _:
            kinds = {
                "user_input": "words",
                "approval": "an approval",
                "outcome": "an outcome",
                "reply": "a reply",
                "review": "an approval or words",
                "info": "a value",
            }
            raise UsageError(
                f"request {asked.request!r} wants {kinds[asked.ask]}, got {type(given.response).__name__}; "
                "use the create_response() of the request"
            )


def _asking(draft: Draft, request: str) -> Turn | None:
    """The turn of the team in which this request was asked."""
    number, inner, _ = request.partition(".")
    return next((turn for turn in draft.state.open.values() if inner and f"t{turn.number}" == number), None)


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


def _review(draft: Draft) -> Asked | None:
    """The review that waits, if nothing else does."""
    waiting = list(draft.state.requests.values())
    return waiting[0] if len(waiting) == 1 and waiting[0].ask == "review" and not draft.state.open else None


def _reviewed(draft: Draft, asked: Asked, given: Approval | Words) -> None:
    """A person looked at what an agent said: it goes on, or the agent speaks again."""
    state = draft.state
    apart = state.ended[asked.turn].turn if asked.turn in state.ended else None
    if isinstance(given, Approval):
        if not given.approved:
            raise UsageError(
                f"request {asked.request!r} is a review: approve it, or say in words what {asked.agent!r} should change"
            )
        draft.add(Answered(asked.request, "approved", given.reason, given.by))
        next_speaker(draft, apart or (state.past and state.past.turn))
        return
    feedback = "\n".join(message.text for message in given.messages)
    if apart is None:
        draft.add(Answered(asked.request, "replied"))
        for message in given.messages:
            draft.add(UserSpoke(message, asked.agent))
        next_speaker(draft)
        return
    # Its colleagues beside it are not told: they have not heard what it is about either.
    draft.add(Answered(asked.request, "replied", feedback))
    draft.add(Routed(apart.number))
    start(draft, asked.agent, (apart.number,), apart=True, key=f"{apart.key}r", prompt=feedback)


def _outcome(draft: Draft, asked: Asked, told: OutcomeTold) -> None:
    assert asked.call is not None
    if told.result is None:
        tools = draft.rules.policies.get(asked.agent, {})
        if asked.call.name not in tools and asked.agent not in draft.rules.functions:
            raise UsageError(
                f"{asked.agent!r} has no tool {asked.call.name!r} any more, so the call cannot be run again; "
                "say what became of it; the request stays open"
            )
        draft.add(Answered(asked.request, "rerun", by=told.by))
        draft.add(ToolStarted(asked.turn, asked.call))
        return
    draft.add(Answered(asked.request, "told", told.result, told.by))
    if asked.agent in draft.rules.functions:
        returned(draft, draft.state.open[asked.turn], told.result)
        return
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
    """Who the conversation goes back to from ``agent``; empty: nobody handed it over, or nobody who is still there."""
    floor = draft.state.floor
    arrival = floor.arrivals.get(agent)
    giver = floor.callers[-1] if floor.callers else arrival.handoff.source if arrival else ""
    return "" if draft.rules.gone(giver) else giver


def _give_back(draft: Draft, asked: Asked, giver: str, reason: str = "") -> None:
    draft.add(TurnEnded(asked.turn, asked.agent))
    draft.add(HandedBack(asked.turn, asked.agent, giver, reason))
    start(draft, giver)
