"""Which of the handoffs that are wanted in a reply happens, and what becomes of the others."""

from collections.abc import Iterator
from typing import NamedTuple

from relayline.events import Prompted, TurnEnded, Warned
from relayline.machine.draft import Draft
from relayline.machine.patterns import AskUser, Stop
from relayline.machine.state import Turn
from relayline.machine.topology import Edge
from relayline.machine.turns import GONE, begin_within, follow, hand_over, stop_exhausted, vacate
from relayline.messages import JSON, ToolCall, valid


class _Wanted(NamedTuple):
    """A handoff somebody asks for. ``call``: the model's; None, if a tool asks. ``edge``: None, if there is none."""

    place: int
    target: str
    edge: Edge | None
    call: ToolCall | None
    reason: str = ""
    payload: JSON = None


def settle(draft: Draft, number: int) -> None:
    """If only handoffs are left of a reply's calls, take the first in call order and say so to the others."""
    turn = draft.state.open[number]
    if any(each.result is None and each.stage != "parked" for each in turn.calls):
        return
    if draft.rules.gone(turn.agent):
        _leave(draft, turn, f"Not taken: {turn.agent} is {GONE}.")
        vacate(draft, draft.state.open[number])
        return
    limits = draft.rules.limits
    refused: list[str] = []
    for wanted in sorted(_wanted(draft, turn), key=lambda each: each.place):
        objection = limits.objection(draft.state, wanted.edge) if wanted.edge else None
        if wanted.edge and not objection:
            _take(draft, turn, wanted, wanted.edge, refused)
            return
        if objection:
            draft.add(Warned(objection.code, objection.why, turn.agent))
            if limits.fallback not in ("", turn.agent):
                _take(draft, turn, wanted._replace(reason=objection.why), Edge(turn.agent, limits.fallback), refused)
                return
            if limits.on_loop != "tell_model":
                _leave(draft, turn, f"Not taken: {objection.why}.")
                draft.add(TurnEnded(number, turn.agent))
                follow(draft, Stop("stopped") if limits.on_loop == "stop" else AskUser(turn.agent))
                return
        why = objection.why if objection else f"the handoff to {wanted.target} is no longer declared"
        if wanted.call:
            draft.result(number, wanted.call, f"Not taken: {why}. Answer the user yourself, or ask.", "error")
        else:
            refused.append(f"Not transferred to {wanted.target}: {why}.")
    _tell(draft, turn, refused)
    if draft.state.open[number].calls:
        return
    if turn.agent in draft.rules.teams:
        begin_within(draft, draft.state.open[number])  # it was an agent when it made the calls
    else:
        stop_exhausted(draft, draft.state.open[number])


def _wanted(draft: Draft, turn: Turn) -> Iterator[_Wanted]:
    exits = draft.rules.pattern.exits(turn.agent)
    for place, each in enumerate(turn.calls):
        if each.result is None:
            edge = exits.get(each.call.name)  # None: it was declared when the model called it; the team has changed
            given = each.call.parse_arguments()
            reason, payload = given.get("reason"), given.get("payload")
            words = valid(reason) if isinstance(reason, str) else ""
            target = edge.target if edge else each.call.name
            yield _Wanted(place, target, edge, each.call, words, payload if edge and edge.payload else None)
    for place, wish in turn.wishes:
        edge = draft.rules.pattern.edge(turn.agent, wish.target)
        open_to_tools = edge if edge and not edge.approval else None
        yield _Wanted(place, wish.target, open_to_tools, None, wish.reason, wish.payload)


def _take(draft: Draft, turn: Turn, wanted: _Wanted, edge: Edge, refused: list[str]) -> None:
    if wanted.call:
        draft.result(turn.number, wanted.call, f"Transferred to {edge.target}.", "transferred")
    _leave(draft, turn, f"Not taken: the conversation went to {edge.target}.")
    # A tool that asked in vain has said its result; who reads that is told how it ended.
    later = [wish.target for place, wish in turn.wishes if place > wanted.place and wish.target != edge.target]
    _tell(draft, turn, [*refused, *(f"Not transferred to {each}: it went to {edge.target}." for each in later)])
    draft.add(TurnEnded(turn.number, turn.agent))
    hand_over(draft, edge, wanted.reason, wanted.payload)


def _leave(draft: Draft, turn: Turn, told: str) -> None:
    """Answer the handoffs that are left: they are not taken."""
    for each in draft.state.open[turn.number].calls:
        if each.result is None:
            draft.result(turn.number, each.call, told, "not_taken")


def _tell(draft: Draft, turn: Turn, notes: list[str]) -> None:
    if notes:
        draft.add(Prompted(turn.number, turn.agent, "\n".join(notes)))
