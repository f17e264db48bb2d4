"""Replies and the calls in them: what runs, what is refused, what is handed over."""

from dataclasses import replace

from relayline.events import (
    Answered,
    Failed,
    HandoffSent,
    Prompted,
    Replied,
    StateChanged,
    Summarised,
    ToolReturned,
    ToolStarted,
    Transfer,
    TurnEnded,
    Warned,
)
from relayline.machine.announced import announced
from relayline.machine.draft import Draft
from relayline.machine.effects import effects
from relayline.machine.inputs import EffectFailed, ModelReplied, Summary, ToolDone
from relayline.machine.limits import Objection
from relayline.machine.patterns import AskUser, Stop
from relayline.machine.state import Turn
from relayline.machine.topology import PREFIX, Edge, tool_name
from relayline.machine.turns import end, follow, stop_exhausted
from relayline.messages import JSON, Message, Text, ToolCall, ToolResult, valid

NUDGE = (
    "You said that you hand the conversation over to {target}, but did not. Call {name} now, or go on with the user."
)


def model_replied(draft: Draft, given: ModelReplied) -> None:
    """A model's reply is in: take down its words, begin its calls, or end the turn."""
    turn = draft.caller(given.effect)
    if turn is None:
        return
    calls = [part for part in given.parts if isinstance(part, ToolCall)]
    refusals = {**given.problems, **_repeated(calls), **_unknown(draft, turn.agent, calls)}
    names = [tool_name(call.name) for call in calls]
    ours = iter([replace(call, id=f"{given.effect}-c{n}", name=names[n]) for n, call in enumerate(calls)])
    parts = tuple(part if isinstance(part, Text) else next(ours) for part in given.parts)
    message = Message("assistant", parts, turn.agent, given.metadata, given.native)
    tokens = given.input_tokens, given.output_tokens, given.cached_tokens
    draft.add(Replied(turn.number, message, given.model, *tokens))
    if not calls:
        _answered(draft, turn, message.text)
        return
    for number, call in enumerate(message.tool_calls):
        _begin_call(draft, turn, call, refusals.get(number))
    settle(draft, turn.number)


def _answered(draft: Draft, turn: Turn, text: str) -> None:
    """End the turn, unless the agent said it hands over and did not: then it is told so, once."""
    exits = draft.rules.pattern.exits(turn.agent)
    if draft.rules.nudge and not turn.nudged:
        said = announced(text, [edge.target for edge in exits.values()])
        name = next((name for name, edge in exits.items() if edge.target == said), None)
        if name:
            draft.add(Prompted(turn.number, turn.agent, NUDGE.format(target=said, name=name)))
            return
    end(draft, turn)


def summarised(draft: Draft, given: Summary) -> None:
    """What an agent is to be given of the conversation so far is in; it has yet to reply."""
    if draft.caller(given.effect):
        tokens = given.input_tokens, given.output_tokens
        draft.add(Summarised(given.agent, given.upto, given.text, given.model, *tokens))


def _unknown(draft: Draft, agent: str, calls: list[ToolCall]) -> dict[int, str]:
    """Which calls are of nothing the agent has; judged by the name as the model wrote it."""
    tools, exits = list(draft.rules.policies.get(agent, {})), list(draft.rules.pattern.exits(agent))
    return {
        number: _no_such_tool(agent, call.name, tools, exits)
        for number, call in enumerate(calls)
        if call.name not in tools and call.name not in exits
    }


def _begin_call(draft: Draft, turn: Turn, call: ToolCall, problem: str | None) -> None:
    handoff = call.name in draft.rules.pattern.exits(turn.agent)
    if handoff and problem is None:
        problem = _unreadable(call)
    if problem is not None:
        draft.result(turn.number, call, problem, "error")
    elif _gated(draft, turn.agent, call.name):
        draft.ask(turn, "approval", call)
    elif handoff:
        return  # parked until the calls beside it are settled
    else:
        draft.add(ToolStarted(turn.number, call))


def _gated(draft: Draft, agent: str, name: str) -> bool:
    edge = draft.rules.pattern.exits(agent).get(name)
    return edge.approval if edge else draft.rules.policies[agent][name].approval


def tool_done(draft: Draft, given: ToolDone) -> None:
    """A tool's result is in."""
    for turn in draft.state.open.values():
        for each in turn.calls:
            if each.call.id == given.effect and each.stage in ("started", "unclear") and each.result is None:
                # Whoever was asked what became of it need not find out any more.
                for request in list(draft.state.requests.values()):
                    if request.call and request.call.id == given.effect:
                        draft.add(Answered(request.request, "withdrawn"))
                if given.values or given.removed:
                    draft.add(StateChanged(given.values, given.removed, each.call.id))
                content, transfer = _wanted(draft, turn, given)
                result = ToolResult(each.call.id, each.call.name, content, given.outcome)
                draft.add(ToolReturned(turn.number, result, transfer))
                settle(draft, turn.number)
                return


def _wanted(draft: Draft, turn: Turn, given: ToolDone) -> tuple[str, Transfer | None]:
    """The handoff the tool wants, if it can be had; if not, its result says so."""
    if given.transfer is None:
        return given.content, None
    edge = _edge(draft, turn.agent, given.transfer.target)
    why = "it is not declared" if edge is None else None
    if edge and (objection := draft.rules.limits.objection(draft.state, edge)):
        draft.add(Warned(objection.code, objection.why, turn.agent))
        why = objection.why
    if why:
        return f"{given.content}\nNot transferred to {given.transfer.target}: {why}.", None
    return given.content, given.transfer


def _edge(draft: Draft, source: str, target: str) -> Edge | None:
    return next((edge for edge in draft.rules.pattern.exits(source).values() if edge.target == target), None)


def effect_failed(draft: Draft, given: EffectFailed) -> None:
    """A tool that failed has a result like any other; anything else that failed stops the session."""
    wanted = next((each for each in effects(draft.state) if each.id == given.effect), None)
    if wanted is None:
        return
    tool_done(draft, ToolDone(given.effect, given.message, "error"))
    if not draft.facts:  # it was no tool
        turn = draft.caller(given.effect)
        draft.add(Failed(given.effect, turn.agent if turn else "", given.error, given.message))


def settle(draft: Draft, number: int) -> None:
    """If only handoffs are left of a reply's calls, take the first in call order and say so to the others."""
    turn = draft.state.open[number]
    left = [each.call for each in turn.calls if each.result is None]
    if any(each.stage != "parked" for each in turn.calls if each.result is None):
        return
    first = next((place for place, each in enumerate(turn.calls) if each.result is None), None)
    if turn.onward and (first is None or turn.onward[0] < first):
        wish = turn.onward[1]
        if edge := _edge(draft, turn.agent, wish.target):
            _transfer(draft, turn, left, edge, wish.reason, wish.payload)
            return
    if not turn.calls:
        stop_exhausted(draft, turn)
    if not left:
        return
    edge = draft.rules.pattern.exits(turn.agent).get(left[0].name)
    if edge is None:  # it was declared when the model called it; the team has changed since
        draft.result(number, left[0], f"Not taken: {left[0].name!r} is no longer declared.", "error")
        settle(draft, number)
    elif objection := draft.rules.limits.objection(draft.state, edge):
        _break_loop(draft, turn, left, objection)
    else:
        given = left[0].parse_arguments()
        reason, payload = given.get("reason"), given.get("payload")
        words = valid(reason) if isinstance(reason, str) else ""
        _take(draft, turn, left, edge, words, payload if edge.payload else None)


def _take(draft: Draft, turn: Turn, left: list[ToolCall], edge: Edge, reason: str, payload: JSON = None) -> None:
    """Hand over for the first of the calls that are left."""
    draft.result(turn.number, left[0], f"Transferred to {edge.target}.", "transferred")
    _transfer(draft, turn, left[1:], edge, reason, payload)


def _transfer(draft: Draft, turn: Turn, rest: list[ToolCall], edge: Edge, reason: str, payload: JSON = None) -> None:
    """Hand over; the handoffs among the calls that come after are not taken."""
    for each in rest:
        draft.result(turn.number, each, f"Not taken: the conversation went to {edge.target}.", "not_taken")
    draft.add(TurnEnded(turn.number, turn.agent))
    draft.add(HandoffSent(turn.number, edge.source, edge.target, reason, payload, edge.returns))
    draft.start(edge.target)


def _break_loop(draft: Draft, turn: Turn, left: list[ToolCall], objection: Objection) -> None:
    """Do not take the first handoff that is left, and do what the team's policy says instead."""
    limits = draft.rules.limits
    draft.add(Warned(objection.code, objection.why, turn.agent))
    if limits.fallback not in ("", turn.agent):
        _take(draft, turn, left, Edge(turn.agent, limits.fallback), objection.why)
    elif limits.on_loop == "tell_model":
        told = f"Not taken: {objection.why}. Answer the user yourself, or ask."
        draft.result(turn.number, left[0], told, "error")
        settle(draft, turn.number)
    else:
        for each in left:
            draft.result(turn.number, each, f"Not taken: {objection.why}.", "not_taken")
        draft.add(TurnEnded(turn.number, turn.agent))
        follow(draft, Stop("stopped") if limits.on_loop == "stop" else AskUser(turn.agent))


def _unreadable(call: ToolCall) -> str | None:
    try:
        call.parse_arguments()
    except ValueError as error:
        return f"Not taken: {error}."
    return None


def _repeated(calls: list[ToolCall]) -> dict[int, str]:
    seen: set[str] = set()
    problems: dict[int, str] = {}
    for number, call in enumerate(calls):
        if call.id and call.id in seen:
            problems[number] = f"Not run: this response already holds a call with the id {call.id!r}."
        seen.add(call.id)
    return problems


def _no_such_tool(agent: str, name: str, tools: list[str], exits: list[str]) -> str:
    if name.startswith(PREFIX):
        return f"Not taken: no handoff {name!r} from {agent!r}; declared: {', '.join(exits) or 'none'}."
    return f"Not run: {agent!r} has no tool {name!r}; it has: {', '.join([*tools, *exits]) or 'none'}."
