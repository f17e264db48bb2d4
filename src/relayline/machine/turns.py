"""Turns: how one ends, and who has the next."""

from typing import assert_never

from relayline.events import Finished, HandedBack, HandoffSent, Prompted, TurnEnded, Warned
from relayline.machine.draft import Draft
from relayline.machine.effects import CallModel, effects
from relayline.machine.limits import Objection
from relayline.machine.patterns import AskUser, GiveBack, Pass, Route, Speak, Stop
from relayline.machine.state import Turn
from relayline.machine.topology import Edge
from relayline.messages import JSON

GONE = "not in the team any more"


def stop_exhausted(draft: Draft, turn: Turn) -> None:
    """End the turn of an agent that gets nothing right, or goes on and on."""
    objection = draft.rules.limits.exhausted(turn)
    if objection:
        give_up(draft, turn, objection)


def give_up(draft: Draft, turn: Turn, objection: Objection) -> None:
    """End a turn that comes to nothing: with the user, if the agent has ways out."""
    draft.add(Warned(objection.code, objection.why, turn.agent))
    draft.add(TurnEnded(turn.number, turn.agent))
    follow(draft, AskUser(turn.agent) if draft.rules.pattern.exits(turn.agent) else Stop("stopped"))


def end(draft: Draft, turn: Turn) -> None:
    """The turn is over without a handoff."""
    draft.add(TurnEnded(turn.number, turn.agent))
    next_speaker(draft)


def next_speaker(draft: Draft) -> None:
    """Ask the pattern, unless conditions are to be asked before it."""
    due = draft.state.due
    guarded = due and due.turn and any(edge.guarded for edge in draft.rules.pattern.onward(due.turn.agent))
    if not draft.rules.condition and not guarded:
        route(draft, stop=False)


def route(draft: Draft, *, stop: bool, ways: frozenset[str] = frozenset()) -> None:
    """Let whoever is next according to the pattern speak."""
    due = draft.state.due
    assert due is not None
    pattern = draft.rules.pattern
    if stop:
        follow(draft, Stop("condition"))
    else:
        begin = Speak(due.to) if due.to and not draft.rules.gone(due.to) else pattern.begin(draft.state)
        follow(draft, pattern.after(draft.state, due.turn, ways) if due.turn else begin)


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
    draft.start(edge.target)


def stop_if_spent(draft: Draft) -> None:
    """Rest before the next model call if a budget has run out. What tools do meanwhile is let finish."""
    if any(isinstance(effect, CallModel) for effect in effects(draft.state)):
        stopped = draft.rules.budget.spent(draft.state)
        if stopped:
            draft.add(stopped)


def vacate(draft: Draft, turn: Turn) -> None:
    """The agent of ``turn`` is gone: who waits for the conversation gets it back, or whoever begins one."""
    draft.add(TurnEnded(turn.number, turn.agent))
    callers = draft.state.floor.callers
    route = Speak(callers[-1]) if callers else draft.rules.pattern.begin(draft.state)
    if isinstance(route, Speak):
        draft.add(HandedBack(turn.number, turn.agent, route.agent, f"{turn.agent} is {GONE}."))
        draft.start(route.agent)
    else:
        follow(draft, route)


def follow(draft: Draft, route: Route) -> None:
    """Do what the pattern said."""
    match route:
        case Speak(agent, prompt):
            draft.start(agent)
            if prompt:
                draft.add(Prompted(draft.state.turns, agent, prompt))
        case Pass(edge):
            _go_on(draft, edge)
        case GiveBack(agent):
            draft.add(HandedBack(draft.state.turns, draft.state.floor.speaker, agent))
            draft.start(agent)
        case AskUser(agent):
            draft.ask(Turn(draft.state.turns, agent), "user_input")
        case Stop(reason):
            draft.add(Finished(reason))
        case _:
            assert_never(route)
