"""The fold: what each fact makes of the state of a conversation.

`fold` and `evolve` make a copy of the state they are given. What they call changes that copy, which nobody else has.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from relayline.events import (
    Answered,
    Asked,
    Cancelled,
    Compacted,
    Fact,
    Failed,
    Finished,
    Forked,
    HandedBack,
    HandoffSent,
    Joined,
    Prompted,
    Replied,
    Retried,
    Roster,
    Routed,
    SessionStarted,
    StateChanged,
    Stopped,
    Summarised,
    TeamChanged,
    ToolInterrupted,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
    Within,
    innermost,
)
from relayline.machine.lanes import before, in_sequence
from relayline.machine.log import Log
from relayline.machine.names import Names, runs_function
from relayline.machine.renaming import rename
from relayline.machine.state import (
    Arrival,
    Due,
    Ended,
    Floor,
    Lane,
    OpenCall,
    Part,
    Since,
    State,
    Turn,
)
from relayline.machine.topology import LONGEST_KEY, shortened
from relayline.messages import Message, Text, ToolCall


def fold(facts: Iterable[Fact], state: State | None = None) -> State:
    """The state after ``facts``, from the beginning or from ``state`` on."""
    state = State() if state is None else state.copied()
    for fact in facts:
        apply(state, fact)
    return state


def evolve(state: State, fact: Fact) -> State:
    """The state after one more fact, at a cost that does not depend on the length of the conversation.

    Total: any fact that `decide` wrote folds without an error, however many releases ago it was written.
    """
    state = state.copied()
    apply(state, fact)
    return state


def apply(state: State, fact: Fact) -> None:
    """Make ``state`` the one after one more fact. If that raises, it is none any more."""
    state.seq += 1
    match fact:  # what there is most of comes first
        case Replied():
            _replied(state, fact)
        case ToolStarted():
            state.open = _staged(state, fact.turn, OpenCall(fact.call, "started"))
        case ToolReturned():
            _returned(state, fact)
        case TurnStarted():
            _turn_started(state, fact)
        case TurnEnded():
            _turn_ended(state, fact)
        case UserSpoke():
            _user_spoke(state, fact)
        case Asked():
            _asked(state, fact)
        case Answered():
            _answered(state, fact)
        case ToolInterrupted():
            call = {each.call.id: each.call for each in state.open[fact.turn].calls}[fact.call_id]
            state.open = _staged(state, fact.turn, OpenCall(call, "interrupted"))
        case Routed():
            _routed(state, fact)
        case Joined():
            _joined(state, fact)
        case HandoffSent():
            _handed_over(state, fact)
        case HandedBack():
            state.spoken, state.due = state.spoken.append(fact), None
            state.floor = state.floor._replace(callers=state.floor.callers[:-1])
            since = state.since
            state.since = since._replace(hops=since.hops + 1, walked=frozenset[tuple[str, str]](), alone=0)
        case Prompted():
            _prompted(state, fact)
        case Warned() | Forked() | ToolReconciled():
            pass
        case Summarised():
            state.since = _took(state.since, fact.model, fact.input_tokens, 0, fact.output_tokens)
            state.summaries = {**state.summaries, fact.agent: fact}
        case StateChanged():
            kept = {key: value for key, value in state.shared.items() if key not in fact.removed}
            state.shared = {**kept, **fact.values}
        case Failed() | Stopped() | Cancelled():
            state.rest = fact
        case Retried():
            if isinstance(state.rest, Stopped):
                state.since = state.since._replace(turns=len(state.open), tokens=0, taken={})
            state.rest = None
        case Finished():
            state.rest, state.due = fact, None
        case SessionStarted():
            state.started = fact
        case Compacted():
            vars(state).update(vars(_compacted(fact)))
        case Within():
            _within(state, fact)
        case TeamChanged():
            _team_changed(state, fact)
        case _:
            assert_never(fact)


def _user_spoke(state: State, fact: UserSpoke) -> None:
    state.spoken, state.transcript = state.spoken.append(fact.message), state.transcript.append(fact.message)
    state.due, state.rest, state.since = Due(to=fact.to), None, Since()
    state.past, state.ended = None, {}


def _within(state: State, fact: Within) -> None:
    turn = state.open[fact.turn]
    inner = turn.part.inner.copied() if turn.part.inner else _entered(state, turn)
    before = len(inner.spoken)
    inner.shared = state.shared
    apply(inner, fact.fact)
    turn = turn._replace(part=turn.part._replace(inner=inner))
    for item in inner.spoken.since(before) if turn.lane else ():
        turn = turn.saying(item)
    if turn.lane is None:
        # One conversation: what is said in the team is said in it.
        state.spoken, state.transcript = inner.spoken, inner.transcript
    state.open = {**state.open, fact.turn: turn}
    state.shared = inner.shared
    state.since = _since(state.since, innermost(fact))


def _entered(state: State, turn: Turn) -> State:
    """The session of a team that gets a turn: it knows what was said, and whose word it was when it was left."""
    spoken, transcript = state.spoken, state.transcript
    if turn.part.lane:
        turns = in_sequence(before(state, turn.part.after).values())
        said = [item for each in turns for item in (each.lane.said if each.lane else ())]
        spoken = Log([*spoken, *said])
        transcript = Log([*transcript, *(item for item in said if isinstance(item, Message))])
    left = state.teams.get(turn.agent, State()) if turn.part.lane is None else State()
    return State(
        turns=left.turns,
        asked=left.asked,
        spoken=spoken,
        transcript=transcript,
        floor=left.floor,
        due=Due(),
        summaries=left.summaries,
        teams=left.teams,
        # There is one conversation, so the calls in it have ids that no other team's have.
        key=f"{shortened(turn.key, LONGEST_KEY - 8)}w",
    )


def _since(since: Since, fact: Fact) -> Since:
    """What went on in a team counts for the team it is in, too."""
    match fact:
        case UserSpoke():
            return Since()
        case TurnStarted():
            return since._replace(turns=since.turns + 1)
        case SessionStarted():
            return since._replace(turns=since.turns - 1)  # the turn is of a team, and counts as those within it
        case Replied() if fact.input_tokens or fact.output_tokens:
            return _took(since, fact.model, fact.input_tokens, fact.cached_tokens, fact.output_tokens)
        case _:
            return since


def _compacted(fact: Compacted) -> State:
    arrivals = {handoff.target: Arrival(handoff, 0) for handoff in fact.arrivals}
    return State(
        seq=fact.upto,
        started=SessionStarted(fact.workflow, fact.fingerprint, fact.roster),
        turns=fact.turns,
        asked=fact.asked,
        floor=Floor(fact.speaker, fact.callers, fact.sticky, arrivals),
        shared=fact.shared,
        summaries={made.agent: made for made in fact.summaries},
        forgotten=fact.items,
        teams={name: _compacted(each) for name, each in fact.teams.items()},
    )


def _team_changed(state: State, fact: TeamChanged) -> None:
    if fact.renamed or fact.renamed_tools:
        rename(state, Names.of(fact))
    if fact.roster is not None:
        _without_gone(state, fact.roster)
    state.started = SessionStarted(state.workflow, fact.fingerprint, fact.roster)


def _without_gone(state: State, roster: Roster) -> None:
    """Nobody gives back to who is not there, in no team within the team either."""
    callers = tuple(each for each in state.floor.callers if each in roster.agents)
    state.floor = state.floor._replace(callers=callers)
    state.teams = {name: each.copied() for name, each in state.teams.items()}
    for name, each in state.teams.items():
        if name in roster.teams:
            _without_gone(each, roster.teams[name])


def _turn_started(state: State, fact: TurnStarted) -> None:
    due, floor = state.due, state.floor
    state.turns, state.due = fact.turn, None
    state.since = state.since._replace(turns=state.since.turns + 1, begun=state.since.begun + 1)
    if fact.after or fact.apart:
        _went_on(state, fact)
        return
    if due is not None and due.turn is None and fact.agent != floor.speaker:
        # Whoever the user turned to instead owes nobody an answer, and was handed nothing.
        arrivals = {key: each for key, each in floor.arrivals.items() if key != fact.agent}
        state.floor = Floor(fact.agent, arrivals=arrivals)
    elif fact.agent != floor.speaker:
        state.floor = floor._replace(speaker=fact.agent)
    turn = Turn(fact.turn, fact.agent)
    if state.key:
        turn = turn._replace(part=Part(key=f"{state.key}{fact.turn}"))
    state.open = {**state.open, fact.turn: turn}


def _went_on(state: State, fact: TurnStarted) -> None:
    """A turn begins that goes on from certain others, or has its words apart."""
    ended, given, level = dict(state.ended), list[Message](), 0
    for number in fact.after:
        source = ended.get(number) or state.past
        if source is None or source.turn.number != number:
            continue
        given.append(source.last or Message("assistant", (), source.turn.agent))
        lane = source.turn.lane
        level = max(level, lane.level if lane and not source.joined else 0)
        if source.held and fact.agent in source.held:
            held = tuple(each for each in source.held if each != fact.agent)
            # It stays until the next join, as it says which turns were gone on from.
            ended[number] = source._replace(held=held)
    own = f"{state.key}{fact.turn}" if state.key else ""
    lane = Lane(fact.key or own or f"t{fact.turn}", level + 1) if fact.apart else None
    turn = Turn(fact.turn, fact.agent, part=Part(fact.after, tuple(given), lane=lane, key=own))
    if not fact.apart:
        state.floor = state.floor._replace(speaker=fact.agent)
    state.open, state.ended = {**state.open, fact.turn: turn}, ended


def _turn_ended(state: State, fact: TurnEnded) -> None:
    open_still = [asked for asked in state.requests.values() if asked.turn == fact.turn and asked.call]
    assert not open_still, "nobody is asked about a turn that is over"
    turn = state.open[fact.turn]
    state.open = {number: turn for number, turn in state.open.items() if number != fact.turn}
    lane, inner = turn.part.lane, turn.part.inner
    if inner is not None:
        turn = turn._replace(part=turn.part._replace(inner=None))
    if lane is None:
        # Whoever was cut off before it said anything has no last words.
        spoke = state.transcript[-1] if len(state.transcript) else None
        own = spoke is not None and (spoke.author_name == turn.agent or inner is not None)
        last = spoke if spoke and own and spoke.role == "assistant" else None
        if inner is not None:
            state.teams = {**state.teams, turn.agent: inner}
        state.due, state.past = Due(turn), Ended(turn, last, joined=True)
        return
    if fact.failed:
        # Whoever goes on from it, or reads the conversation, is told why there is nothing.
        words = Message("assistant", (Text(f"No answer: {fact.failed}"),), turn.agent, {"failed": fact.failed})
        turn, lane = turn.saying(words), lane._replace(said=(words,))
    last = next((each for each in reversed(lane.said) if isinstance(each, Message) and each.role == "assistant"), None)
    state.ended = {**state.ended, fact.turn: Ended(turn, last, failed=bool(fact.failed))}


def _routed(state: State, fact: Routed) -> None:
    found = state.ended.get(fact.turn) or state.past
    if found is not None and found.turn.number == fact.turn:
        state.ended = {**state.ended, fact.turn: found._replace(held=fact.held)}


def _joined(state: State, fact: Joined) -> None:
    for number in fact.turns:
        lane = state.ended[number].turn.lane
        for item in lane.said if lane else ():
            state.spoken = state.spoken.append(item)
            if isinstance(item, Message):
                state.transcript = state.transcript.append(item)
    # What had joined before is no longer gone on from, unless somebody still waits for it.
    held = {number: each for number, each in state.ended.items() if each.held}
    state.ended = held | {number: state.ended[number]._replace(joined=True) for number in fact.turns}


def _replied(state: State, fact: Replied) -> None:
    turn = state.open[fact.turn]
    calls = tuple([OpenCall(part) for part in fact.message.parts if isinstance(part, ToolCall)])
    turn = Turn(turn.number, turn.agent, turn.step + 1, calls, turn.misses, (), turn.nudged, turn.part)
    if fact.input_tokens or fact.output_tokens:
        state.since = _took(state.since, fact.model, fact.input_tokens, fact.cached_tokens, fact.output_tokens)
    _spoke(state, fact.message, turn)


def _took(since: Since, model: str, given: int, cached: int, taken: int) -> Since:
    before = since.taken.get(model, (0, 0, 0))
    sums = {**since.taken, model: (before[0] + given, before[1] + cached, before[2] + taken)}
    return since._replace(tokens=since.tokens + given + taken, taken=sums)


def _returned(state: State, fact: ToolReturned) -> None:
    if fact.result.outcome == "done":
        _something_new(state)
    turn = state.open[fact.turn]
    result = fact.result
    calls = tuple(
        [OpenCall(each.call, each.stage, result) if each.call.id == result.call_id else each for each in turn.calls]
    )
    if fact.transfer:
        place = next((number for number, each in enumerate(calls) if each.call.id == result.call_id), 0)
        turn = turn._replace(wishes=(*turn.wishes, (place, fact.transfer)))
    results = tuple([each.result for each in calls if each.result is not None])
    if len(results) < len(calls):
        state.open = {**state.open, fact.turn: turn.calling(calls)}
        return
    # The results join the transcript together and in call order, so it does not depend on who was faster, and nothing
    # can ever stand between a call and its result.
    missed = all(each.outcome == "error" for each in results)
    turn = turn._replace(calls=(), misses=turn.misses + 1 if missed else 0)
    _spoke(state, Message("tool", results, turn.agent), turn)


def _something_new(state: State) -> None:
    """What a tool brought, or a colleague who is a person did, is something new, as the user's words are."""
    if state.since.walked:
        state.since = state.since._replace(walked=frozenset[tuple[str, str]]())


def _handed_over(state: State, fact: HandoffSent) -> None:
    # Whoever hands over for good has nobody waiting for it any more.
    callers = (*state.floor.callers, fact.source) if fact.returns == "caller" else ()
    arrivals = {**state.floor.arrivals, fact.target: Arrival(fact, state.items)}
    since = state.since
    state.spoken, state.due = state.spoken.append(fact), None
    state.floor = Floor(state.floor.speaker, callers, fact.returns != "start", arrivals)
    state.since = since._replace(hops=since.hops + 1, walked=since.walked | {(fact.source, fact.target)}, alone=0)


def _prompted(state: State, fact: Prompted) -> None:
    turn = state.open[fact.turn]
    told = turn
    if turn.step:
        told = turn._replace(nudged=turn.nudged or not fact.code, misses=turn.misses + bool(fact.code), wishes=())
    if turn.lane is not None:
        state.open = {**state.open, fact.turn: told.saying(fact)}
        return
    state.spoken = state.spoken.append(fact)
    if turn.step:
        state.open = {**state.open, fact.turn: told}
    else:
        state.since = state.since._replace(alone=state.since.alone + (not fact.code))


def _spoke(state: State, message: Message, turn: Turn) -> None:
    if turn.part.lane is not None:
        turn = turn.saying(message)
    else:
        state.spoken, state.transcript = state.spoken.append(message), state.transcript.append(message)
    state.open = {**state.open, turn.number: turn}


def _asked(state: State, fact: Asked) -> None:
    stage = "unclear" if fact.ask == "outcome" else "asked"
    if fact.call is not None:
        state.open = _staged(state, fact.turn, OpenCall(fact.call, stage))
    assert fact.call is not None or fact.ask in ("user_input", "reply", "review"), "nobody is asked about no call"
    assert fact.ask != "reply" or fact.turn in state.open, "nobody replies in a turn that is not open"
    state.requests, state.asked = {**state.requests, fact.request: fact}, state.asked + 1
    if fact.ask != "review":
        state.due = None


def _answered(state: State, fact: Answered) -> None:
    requests = dict(state.requests)
    asked = requests.pop(fact.request)
    state.requests = requests
    if asked.ask == "reply" and fact.settled == "replied":
        _something_new(state)
    if fact.settled == "approved" and asked.call is not None:
        # What is approved is no longer asked; a tool is started by the next fact, a handoff waits to be taken.
        state.open = _staged(state, asked.turn, OpenCall(asked.call))
    elif asked.ask == "info" and fact.settled == "replied" and asked.call is not None:
        # The function runs again from its beginning, and is told this where it asks for it.
        opened = _staged(state, asked.turn, OpenCall(asked.call, "started"))
        turn = opened[asked.turn]
        part = turn.part._replace(answers=(*turn.part.answers, fact.value))
        state.open = {**opened, asked.turn: turn._replace(part=part)}


def _staged(state: State, number: int, changed: OpenCall) -> Mapping[int, Turn]:
    turn = state.open[number]
    calls = tuple([changed if each.call.id == changed.call.id else each for each in turn.calls])
    if not calls and runs_function(changed.call):
        calls = (changed,)
    return {**state.open, number: turn.calling(calls)}
