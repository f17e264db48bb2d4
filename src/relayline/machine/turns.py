"""Turns: how one ends, and who has the next."""

from typing import assert_never

from relayline.events import (
    Answered,
    Fact,
    Failed,
    Finished,
    HandedBack,
    HandoffSent,
    Joined,
    Prompted,
    Routed,
    SessionStarted,
    Settled,
    Stopped,
    TurnEnded,
    Warned,
    Within,
)
from relayline.machine.draft import Draft
from relayline.machine.effects import CallModel, Effect, Inside, Judge, effects
from relayline.machine.inputs import Entered, Input, Interrupted, Judged
from relayline.machine.lanes import in_order, latest
from relayline.machine.limits import Objection
from relayline.machine.names import runs_function
from relayline.machine.patterns import AskUser, GiveBack, Handoff, Pass, Route, Speak, Spread, Stop
from relayline.machine.rules import Rules
from relayline.machine.state import OpenCall, State, Turn
from relayline.machine.topology import Edge
from relayline.machine.view import text
from relayline.messages import JSON, Outcome

WITHDRAWN = "Not run: it was waiting for a person's decision, and the user went on with another message."
INTERRUPTED = "Interrupted. It is not known whether this took effect; find out before doing it again."

GONE = "not in the team any more"
WHOSE = "in "
LATE = "Nobody answered in time."


def stop_exhausted(draft: Draft, turn: Turn) -> None:
    """End the turn of an agent that gets nothing right, or goes on and on."""
    objection = draft.rules.limits.exhausted(turn)
    if objection:
        give_up(draft, turn, objection)


def give_up(draft: Draft, turn: Turn, objection: Objection) -> None:
    """End a turn that comes to nothing: with the user, if the agent has ways out."""
    draft.add(Warned(objection.code, objection.why, turn.agent))
    if turn.lane:
        end(draft, turn, failed=objection.why)
        return
    draft.add(TurnEnded(turn.number, turn.agent))
    follow(draft, AskUser(turn.agent) if draft.rules.pattern.exits(turn.agent) else Stop("stopped"))


def end(draft: Draft, turn: Turn, failed: str = "") -> None:
    """The turn is over without a handoff. ``failed``: why it came to nothing."""
    draft.add(TurnEnded(turn.number, turn.agent, failed))
    if turn.agent in draft.rules.reviewed and not failed:
        draft.ask(turn, "review")
    else:
        next_speaker(draft, turn)


def next_speaker(draft: Draft, turn: Turn | None = None) -> None:
    """Ask the pattern, unless conditions are to be asked before it. ``turn``: the one that ended, if one did."""
    apart = turn is not None and turn.lane is not None
    asked = draft.rules.condition and not apart
    if not asked and not draft.rules.pattern.guarded(turn.agent if turn else ""):
        # As it ended: its last words may say why it failed.
        route(draft, draft.state.ended[turn.number].turn if turn and apart else None, stop=False)


def judged(draft: Draft, given: Judged) -> None:
    """The conditions were asked, and this is what they said."""
    wanted = next((each for each in effects(draft.state) if each.id == given.effect), None)
    if isinstance(wanted, Judge):
        apart = draft.state.ended[wanted.turn].turn if wanted.turn else None
        route(draft, apart, stop=given.stop, ways=given.ways)


def route(draft: Draft, apart: Turn | None = None, *, stop: bool, ways: frozenset[str] = frozenset()) -> None:
    """Let whoever is next according to the pattern speak. ``apart``: the turn that ended, if it was not in the
    conversation.
    """
    pattern, due = draft.rules.pattern, draft.state.due
    turn = apart or (due.turn if due else None)
    if stop:
        follow(draft, Stop("condition"))
    elif turn:
        follow(draft, pattern.after(draft.state, turn, ways))
    else:
        beginning = due and due.to and not draft.rules.gone(due.to)
        follow(draft, Speak(due.to) if due and beginning else pattern.begin(draft.state, ways))


def _go_on(draft: Draft, edge: Edge) -> None:
    """Take an edge that no model chose; a circle of them ends with the user."""
    objection = draft.rules.limits.objection(draft.state, edge)
    limits = draft.rules.limits
    if not objection:
        hand_over(draft, edge)
        return
    draft.add(Warned(objection.code, objection.why, edge.source))
    if limits.fallback not in ("", edge.source):
        hand_over(draft, Edge(edge.source, limits.fallback), objection.why)
    else:
        follow(draft, Stop("stopped") if limits.on_loop == "stop" else AskUser(edge.source))


def hand_over(draft: Draft, edge: Edge, reason: str = "", payload: JSON = None) -> None:
    """Take ``edge``; the turn of its source is over."""
    draft.add(HandoffSent(draft.state.turns, edge.source, edge.target, reason, payload, edge.returns))
    start(draft, edge.target)


def _spread(draft: Draft, route: Spread) -> None:
    """Begin the turns that are due, and put down where what ended goes."""
    if route.objection:
        draft.add(Warned(route.objection.code, route.objection.why))
    if route.joined:
        draft.add(Joined(route.joined))
    elif route.turn:
        draft.add(Routed(route.turn, route.held))
    for each in route.branches:
        start(draft, each.agent, each.after, apart=route.apart, key=each.key)
    if route.over:
        draft.add(Finished("stopped" if route.objection else "terminal"))


def clear(draft: Draft, answered: Settled) -> None:
    """Leave nothing open: agents' questions count as ``answered``, everything else as withdrawn or interrupted."""
    for request in list(draft.state.requests.values()):
        draft.add(Answered(request.request, answered if request.ask == "user_input" else "withdrawn"))
    for turn in list(draft.state.open.values()):
        inside(draft, turn, Interrupted())
        for each in turn.calls:
            if each.result is None and not runs_function(each.call):
                draft.result(turn.number, each.call, *_left_open(each))
        draft.add(TurnEnded(turn.number, turn.agent))
    if draft.state.ended and (unjoined := in_order(draft.state.ended)):
        draft.add(Joined(unjoined))


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


def _calls_model(effect: Effect) -> bool:
    while isinstance(effect, Inside):
        effect = effect.effect
    return isinstance(effect, CallModel)


def stop_if_spent(draft: Draft) -> None:
    """Rest before the next model call if a budget has run out. What tools do meanwhile is let finish."""
    if any(_calls_model(effect) for effect in effects(draft.state)):
        stopped = draft.rules.budget.spent(draft.state)
        if stopped:
            draft.add(stopped)


def entered(draft: Draft, given: Entered) -> None:
    """The team has a turn in another: begin, and tell whoever begins what the team was handed."""
    next_speaker(draft)
    for turn in list(draft.state.open.values()) if given.note else ():
        if turn.agent not in (*draft.rules.functions, *draft.rules.teams, *draft.rules.people):
            draft.add(Prompted(turn.number, turn.agent, given.note, "handed_over"))


def _note(draft: Draft, agent: str) -> str:
    """What a handoff to the team says, if there was one just now."""
    arrival = draft.state.floor.arrivals.get(agent)
    if arrival is None or arrival.at != draft.state.items - 1:
        return ""
    shown = text(arrival.handoff, agent)
    return shown.text if shown else ""


def start(
    draft: Draft, agent: str, after: tuple[int, ...] = (), *, apart: bool = False, key: str = "", prompt: str = ""
) -> None:
    """Give ``agent`` the next turn; a team begins at once. ``prompt``: what the agent is told.

    Who spoke last as well is told to go on: no provider takes a request that ends on the words of whom it asks.
    """
    # What a colleague did not say, or only did, is not shown to it.
    shown = (text(item, agent) for item in latest(draft.state, after))
    own = next((message.role == "assistant" for message in shown if message), False)
    draft.start(agent, after, apart=apart, key=key)
    if agent in draft.rules.teams:
        begin_within(draft, draft.state.open[draft.state.turns])
    elif prompt:
        draft.add(Prompted(draft.state.turns, agent, prompt))
    elif own and agent not in draft.rules.functions and agent not in draft.rules.people:
        draft.add(Prompted(draft.state.turns, agent, "Go on.", "go_on"))


def begin_within(draft: Draft, turn: Turn) -> None:
    """The team that has ``turn`` begins."""
    team = draft.rules.teams[turn.agent]
    draft.add(Within(turn.number, SessionStarted(team.name, team.fingerprint)))
    inside(draft, draft.state.open[turn.number], Entered(_note(draft, turn.agent)))


def inside(draft: Draft, turn: Turn, given: Input) -> None:
    """Let the team that has ``turn`` decide, and see what that means here."""
    team = draft.rules.teams.get(turn.agent)
    if turn.part.inner is None:
        return
    if team is None:
        for fact in _abandoned(turn.part.inner) if isinstance(given, Interrupted) else ():
            draft.add(Within(turn.number, fact))
        return
    for fact in team.decide(turn.part.inner, given)[0]:
        draft.add(Within(turn.number, fact))
    turn = draft.state.open[turn.number]
    match turn.part.inner and turn.part.inner.rest:
        case _ if isinstance(given, Interrupted):
            pass
        case Finished("expired") if spared(draft, turn):
            without(draft, turn, LATE)
        case Finished("terminated" | "expired" as ending):
            clear(draft, ending)
            draft.add(Finished(ending))
        case Finished():
            end(draft, turn)
        case Failed(effect, agent, error, message) if not draft.state.failure:
            path = f"{turn.agent}/{agent}" if agent else ""
            _failed(draft, turn, Failed(effect, path, error, message))
        case Stopped(budget, message) if not draft.state.rest:
            draft.add(Stopped(budget, _whose(turn.agent, message)))
        case _:
            pass


def _whose(team: str, message: str) -> str:
    """Why a budget ran out, with the path of the team whose budget it was."""
    if message.startswith(WHOSE):
        return f"{WHOSE}{team}/{message.removeprefix(WHOSE)}"
    return f"{WHOSE}{team}: {message}"


def _abandoned(inner: State) -> list[Fact]:
    """Nothing is left open in what a team was at that is no team here any more."""
    draft = Draft(Rules(inner.workflow, Handoff("", (), ())), inner)
    clear(draft, "withdrawn")
    return draft.facts


def spared(draft: Draft, turn: Turn) -> bool:
    """Whether the others go on if this turn comes to nothing."""
    return turn.lane is not None and draft.rules.pattern.partial


def without(draft: Draft, turn: Turn, why: str) -> None:
    """A turn comes to nothing, and the others go on."""
    draft.add(Warned("participant_failed", why, turn.agent))
    end(draft, turn, failed=why)


def _failed(draft: Draft, turn: Turn, failure: Failed) -> None:
    if spared(draft, turn):
        why = f"{failure.agent or turn.agent} failed: {failure.error}: {failure.message}"
        without(draft, turn, why)
    else:
        draft.add(failure)


def vacate(draft: Draft, turn: Turn) -> None:
    """The agent of ``turn`` is gone: who waits for the conversation gets it back, or whoever begins one."""
    draft.add(TurnEnded(turn.number, turn.agent))
    callers = draft.state.floor.callers
    route = Speak(callers[-1]) if callers else draft.rules.pattern.begin(draft.state)
    if turn.lane:
        next_speaker(draft, turn)
    elif isinstance(route, Speak):
        draft.add(HandedBack(turn.number, turn.agent, route.agent, f"{turn.agent} is {GONE}."))
        start(draft, route.agent)
    else:
        follow(draft, route)


def follow(draft: Draft, route: Route) -> None:
    """Do what the pattern said."""
    match route:
        case Speak(agent, prompt):
            start(draft, agent, prompt=prompt)
        case Pass(edge):
            _go_on(draft, edge)
        case GiveBack(agent):
            draft.add(HandedBack(draft.state.turns, draft.state.floor.speaker, agent))
            start(draft, agent)
        case AskUser(agent):
            draft.ask(Turn(draft.state.turns, agent), "user_input")
        case Stop(reason):
            draft.add(Finished(reason))
        case Spread():
            _spread(draft, route)
        case _:
            assert_never(route)
