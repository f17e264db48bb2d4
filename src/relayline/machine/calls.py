"""Replies and the calls in them: what runs, what is refused, what is handed over."""

from relayline.events import (
    Answered,
    Failed,
    Prompted,
    Replied,
    StateChanged,
    Summarised,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    Warned,
)
from relayline.machine.announced import announced
from relayline.machine.draft import Draft
from relayline.machine.effects import RunTool, effects
from relayline.machine.functions import returned
from relayline.machine.handoffs import settle
from relayline.machine.inputs import EffectFailed, ModelReplied, Summary, ToolDone
from relayline.machine.state import Turn
from relayline.machine.topology import PREFIX, Edge, tool_name
from relayline.machine.turns import end, give_up, hand_over, spared, without
from relayline.messages import Message, Text, ToolCall, ToolResult

NUDGE = (
    "You said that you hand the conversation over to {target}, but did not. Call {name} now, or go on with the user."
)


MAY_HAVE_RUN = ("started", "interrupted", "unclear")

REPAIR = """\
Your reply does not fit what it has to be:
{problem}
Reply again, with one JSON object that fits, and nothing before or after it."""


def model_replied(draft: Draft, given: ModelReplied) -> None:
    """A model's reply is in: take down its words, begin its calls, or end the turn."""
    turn = draft.caller(given.effect)
    if turn is None:
        return
    calls = [part for part in given.parts if isinstance(part, ToolCall)]
    refusals = {**given.problems, **_repeated(calls), **_unknown(draft, turn.agent, calls)}
    names = [tool_name(call.name) for call in calls]
    ours = iter([ToolCall(f"{given.effect}-c{n}", names[n], call.arguments) for n, call in enumerate(calls)])
    parts = tuple(part if isinstance(part, Text) else next(ours) for part in given.parts)
    message = Message("assistant", parts, turn.agent, given.metadata, given.native)
    tokens = given.input_tokens, given.output_tokens, given.cached_tokens
    draft.add(Replied(turn.number, message, given.model, *tokens))
    if not calls:
        _answered(draft, draft.state.open[turn.number], message.text, given)
        return
    for number, call in enumerate(message.tool_calls):
        _begin_call(draft, turn, call, refusals.get(number))
    settle(draft, turn.number)


def _answered(draft: Draft, turn: Turn, text: str, given: ModelReplied) -> None:
    """End the turn, unless the agent said it hands over and did not: then it is told so, once. Or unless its reply is
    not the output it has to be: then it is told why, as often as it may miss.
    """
    if draft.rules.nudge and not turn.nudged:
        exits = {name: edge for name, edge in draft.rules.pattern.exits(turn.agent).items() if name not in given.shut}
        said = announced(text, [edge.target for edge in exits.values()])
        name = next((name for name, edge in exits.items() if edge.target == said), None)
        if name:
            draft.add(Prompted(turn.number, turn.agent, NUDGE.format(target=said, name=name)))
            return
    if given.unfit:
        objection = draft.rules.limits.unfit(turn)
        if objection:
            give_up(draft, turn, objection)
        else:
            draft.add(Prompted(turn.number, turn.agent, REPAIR.format(problem=given.unfit), "output_invalid"))
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
            if each.call.id == given.effect and each.stage in MAY_HAVE_RUN and each.result is None:
                # Whoever was asked what became of it need not find out any more.
                for request in list(draft.state.requests.values()):
                    if request.call and request.call.id == given.effect:
                        draft.add(Answered(request.request, "withdrawn"))
                if given.values or given.removed:
                    draft.add(StateChanged(given.values, given.removed, each.call.id))
                if turn.agent in draft.rules.functions:
                    returned(draft, turn, given.content)
                    return
                result = ToolResult(each.call.id, each.call.name, given.content, given.outcome)
                draft.add(ToolReturned(turn.number, result, given.transfer))
                settle(draft, turn.number)
                return


def effect_failed(draft: Draft, given: EffectFailed) -> None:
    """A tool that failed has a result like any other; anything else that failed stops the session, unless the others
    go on without it.
    """
    wanted = next((each for each in effects(draft.state) if each.id == given.effect), None)
    if wanted is None:
        return
    function = isinstance(wanted, RunTool) and wanted.agent in draft.rules.functions
    if not function:
        tool_done(draft, ToolDone(given.effect, given.message, "error"))
    if not draft.facts:  # it was no tool
        turn = draft.state.open[wanted.turn] if function else draft.caller(given.effect)
        rescue = draft.rules.rescue
        if turn and spared(draft, turn):
            without(draft, turn, f"{turn.agent} failed: {given.error}: {given.message}")
        elif turn and given.model and rescue not in ("", turn.agent):
            why = f"the model of {turn.agent} failed: {given.error}: {given.message}"
            draft.add(Warned("model_failed", why, turn.agent))
            draft.add(TurnEnded(turn.number, turn.agent))
            hand_over(draft, Edge(turn.agent, rescue), f"the model of {turn.agent} failed")
        else:
            draft.add(Failed(given.effect, turn.agent if turn else "", given.error, given.message))


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
