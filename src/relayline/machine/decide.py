"""Every rule about what may happen in a conversation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, assert_never

from relayline.errors import RequestNotOpen, UsageError
from relayline.events import (
    Answered,
    Ask,
    Asked,
    Fact,
    Failed,
    Finished,
    HandedBack,
    HandoffSent,
    Prompted,
    Replied,
    Retried,
    SessionStarted,
    Settled,
    ToolReturned,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
)
from relayline.machine.effects import Effect, effects, model_call
from relayline.machine.inputs import (
    Answer,
    Approval,
    EffectFailed,
    Input,
    Judged,
    ModelReplied,
    OutcomeTold,
    Resumed,
    Terminate,
    ToolDone,
    UserSaid,
    Words,
)
from relayline.machine.limits import Limits, Objection
from relayline.machine.patterns import AskUser, GiveBack, Pass, Pattern, Route, Speak, Stop
from relayline.machine.state import OpenCall, State, Turn, evolve
from relayline.machine.topology import PREFIX, Edge, ToolPolicy, tool_name
from relayline.messages import JSON, Message, Outcome, Text, ToolCall, ToolResult, valid

WITHDRAWN = "Not run: it was waiting for a person's decision, and the user went on with another message."
INTERRUPTED = "Interrupted. It is not known whether this took effect; find out before doing it again."


class Decision(NamedTuple):
    """One atomic batch of facts, oldest first, and the state they lead to."""

    facts: list[Fact]
    state: State


@dataclass(frozen=True, slots=True)
class Machine:
    """The rules of one team. Holds no session: everything it says follows from its arguments.

    ``policies``: per agent, its own tools by name. ``condition``: whether there is a termination condition to ask.
    """

    name: str
    pattern: Pattern
    policies: Mapping[str, Mapping[str, ToolPolicy]] = field(default_factory=dict[str, Mapping[str, ToolPolicy]])
    fingerprint: str = ""
    condition: bool = False
    limits: Limits = field(default_factory=Limits)

    def decide(self, state: State, given: Input) -> Decision:
        """What ``given`` means. No facts: it came too late to mean anything.

        Raises:
            RequestNotOpen: an answer to a request that is not waiting for one.
            UsageError: an answer of a kind the request does not take.
        """
        draft = _Draft(self, state)
        match given:
            case UserSaid():
                draft.user_said(given)
            case Answer():
                draft.answer(given)
            case ModelReplied():
                draft.model_replied(given)
            case ToolDone():
                draft.tool_done(given)
            case Judged():
                if state.due and self._wanted(state, given.effect):
                    draft.route(stop=given.stop)
            case EffectFailed():
                draft.effect_failed(given)
            case Resumed():
                draft.resumed()
            case _:
                assert_never(given)
        return Decision(draft.facts, draft.state)

    def effects(self, state: State) -> list[Effect]:
        """What should be in flight now."""
        return effects(state)

    def _wanted(self, state: State, effect: str) -> bool:
        return any(each.id == effect for each in effects(state))


class _Draft:
    """A batch being written: every fact is folded at once, so that the next rule sees what the last one did."""

    def __init__(self, machine: Machine, state: State) -> None:
        self.machine = machine
        self.state = state
        self.facts: list[Fact] = []

    def add(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.state = evolve(self.state, fact)

    # -- people

    def user_said(self, given: UserSaid) -> None:
        if not self.state.seq:
            self.add(SessionStarted(self.machine.name, self.machine.fingerprint))
        self.clear("replied")
        self.add(UserSpoke(given.message, given.to))
        self.next_speaker()

    def clear(self, answered: Settled) -> None:
        """Leave nothing open: agents' questions count as ``answered``, everything else as withdrawn or interrupted."""
        for request in list(self.state.requests.values()):
            self.add(Answered(request.request, answered if request.ask == "user_input" else "withdrawn"))
        for turn in list(self.state.open.values()):
            for each in turn.calls:
                if each.result is None:
                    self.result(turn.number, each.call, *_left_open(each))
            self.add(TurnEnded(turn.number, turn.agent))

    def answer(self, given: Answer) -> None:
        asked = self.state.requests.get(given.request)
        if asked is None:
            waiting = ", ".join(repr(each) for each in self.state.requests) or "none"
            raise RequestNotOpen(
                f"request {given.request!r} is not waiting for an answer; waiting in this session: {waiting}"
            )
        match asked.ask, given.response:
            case "user_input", Words(messages):
                self.add(Answered(asked.request, "replied"))
                for message in messages:
                    self.add(UserSpoke(message))
                self.next_speaker()
            case _, Terminate():
                self.clear("terminated")
                self.add(Finished("terminated"))
            case "approval", Approval():
                self.approval(asked, given.response)
            case "outcome", OutcomeTold(result):
                self.outcome(asked, result)
            case _:
                kinds = {"user_input": "words", "approval": "an approval", "outcome": "an outcome"}
                raise UsageError(
                    f"request {asked.request!r} wants {kinds[asked.ask]}, got {type(given.response).__name__}; "
                    "use the create_response() of the request"
                )

    def approval(self, asked: Asked, response: Approval) -> None:
        assert asked.call is not None
        if response.approved:
            self.add(Answered(asked.request, "approved", response.reason))
            if asked.call.name in self.machine.pattern.exits(asked.agent):
                self.settle(asked.turn)
                return
            edited = asked.call.arguments if response.arguments is None else response.arguments
            self.add(ToolStarted(asked.turn, replace(asked.call, arguments=edited)))
            return
        self.add(Answered(asked.request, "refused", response.reason))
        why = f" Reason: {response.reason}" if response.reason else ""
        self.result(asked.turn, asked.call, f"Not run: a person refused it.{why}", "refused")
        self.settle(asked.turn)

    def outcome(self, asked: Asked, result: str | None) -> None:
        assert asked.call is not None
        if result is None:
            self.add(Answered(asked.request, "rerun"))
            self.add(ToolStarted(asked.turn, asked.call))
            return
        self.add(Answered(asked.request, "told", result))
        self.result(asked.turn, asked.call, result, "done")
        self.settle(asked.turn)

    # -- models and tools

    def model_replied(self, given: ModelReplied) -> None:
        turn = self.caller(given.effect)
        if turn is None:
            return
        calls = [part for part in given.parts if isinstance(part, ToolCall)]
        refusals = {**given.problems, **_repeated(calls), **self.unknown(turn.agent, calls)}
        names = [tool_name(call.name) for call in calls]
        ours = iter([replace(call, id=f"{given.effect}-c{n}", name=names[n]) for n, call in enumerate(calls)])
        parts = tuple(part if isinstance(part, Text) else next(ours) for part in given.parts)
        message = Message("assistant", parts, turn.agent, given.metadata)
        self.add(Replied(turn.number, message, given.model, given.input_tokens, given.output_tokens))
        if not calls:
            self.end(turn)
            return
        for number, call in enumerate(message.tool_calls):
            self.begin_call(turn, call, refusals.get(number))
        self.settle(turn.number)

    def unknown(self, agent: str, calls: list[ToolCall]) -> dict[int, str]:
        """Which calls are of nothing the agent has; judged by the name as the model wrote it."""
        tools, exits = list(self.machine.policies.get(agent, {})), list(self.machine.pattern.exits(agent))
        return {
            number: _no_such_tool(agent, call.name, tools, exits)
            for number, call in enumerate(calls)
            if call.name not in tools and call.name not in exits
        }

    def begin_call(self, turn: Turn, call: ToolCall, problem: str | None) -> None:
        handoff = call.name in self.machine.pattern.exits(turn.agent)
        if handoff and problem is None:
            problem = _unreadable(call)
        if problem is not None:
            self.result(turn.number, call, problem, "error")
        elif self.gated(turn.agent, call.name):
            self.ask(turn, "approval", call)
        elif handoff:
            return  # parked until the calls beside it are settled
        else:
            self.add(ToolStarted(turn.number, call))

    def gated(self, agent: str, name: str) -> bool:
        edge = self.machine.pattern.exits(agent).get(name)
        return edge.approval if edge else self.machine.policies[agent][name].approval

    def tool_done(self, given: ToolDone) -> None:
        for turn in self.state.open.values():
            for each in turn.calls:
                if each.call.id == given.effect and each.stage in ("started", "unclear") and each.result is None:
                    # Whoever was asked what became of it need not find out any more.
                    for request in list(self.state.requests.values()):
                        if request.call and request.call.id == given.effect:
                            self.add(Answered(request.request, "withdrawn"))
                    self.result(turn.number, each.call, given.content, given.outcome)
                    self.settle(turn.number)
                    return

    def effect_failed(self, given: EffectFailed) -> None:
        wanted = next((each for each in effects(self.state) if each.id == given.effect), None)
        if wanted is None:
            return
        self.tool_done(ToolDone(given.effect, given.message, "error"))
        if not self.facts:  # it was no tool
            turn = self.caller(given.effect)
            self.add(Failed(given.effect, turn.agent if turn else "", given.error, given.message))

    def resumed(self) -> None:
        if self.state.failure:
            self.add(Retried(self.state.failure.effect))
        for turn in list(self.state.open.values()):
            policies = self.machine.policies.get(turn.agent, {})
            for each in turn.calls:
                safe = policies.get(each.call.name, ToolPolicy()).repeatable
                if each.stage == "started" and each.result is None and not safe:
                    self.ask(turn, "outcome", each.call)

    # -- turns

    def caller(self, effect: str) -> Turn | None:
        """The turn that waits for this model call, if one does."""
        return next((turn for turn in self.state.open.values() if not turn.calls and model_call(turn) == effect), None)

    def ask(self, turn: Turn, ask: Ask, call: ToolCall | None = None) -> None:
        self.add(Asked(f"r{self.state.asked + 1}", ask, turn.number, turn.agent, call))

    def result(self, turn: int, call: ToolCall, content: str, outcome: Outcome) -> None:
        self.add(ToolReturned(turn, ToolResult(call.id, call.name, content, outcome)))

    def settle(self, number: int) -> None:
        """If only handoffs are left of a reply's calls, take the first in call order and say so to the others."""
        turn = self.state.open[number]
        left = [each.call for each in turn.calls if each.result is None]
        if not turn.calls:
            self.stop_exhausted(turn)
        if not left or any(each.stage != "parked" for each in turn.calls if each.result is None):
            return
        edge = self.machine.pattern.exits(turn.agent).get(left[0].name)
        if edge is None:  # it was declared when the model called it; the team has changed since
            self.result(number, left[0], f"Not taken: {left[0].name!r} is no longer declared.", "error")
            self.settle(number)
        elif objection := self.machine.limits.objection(self.state, edge):
            self.break_loop(turn, left, objection)
        else:
            given = left[0].parse_arguments()
            reason, payload = given.get("reason"), given.get("payload")
            words = valid(reason) if isinstance(reason, str) else ""
            self.transfer(turn, left, edge, words, payload if edge.payload else None)

    def transfer(self, turn: Turn, left: list[ToolCall], edge: Edge, reason: str, payload: JSON = None) -> None:
        """Hand over for the first of the calls that are left."""
        self.result(turn.number, left[0], f"Transferred to {edge.target}.", "transferred")
        for each in left[1:]:
            self.result(turn.number, each, f"Not taken: the conversation went to {edge.target}.", "not_taken")
        self.add(TurnEnded(turn.number, turn.agent))
        self.add(HandoffSent(turn.number, edge.source, edge.target, reason, payload, edge.returns))
        self.add(TurnStarted(self.state.turns + 1, edge.target))

    def break_loop(self, turn: Turn, left: list[ToolCall], objection: Objection) -> None:
        """Do not take the first handoff that is left, and do what the team's policy says instead."""
        limits = self.machine.limits
        self.add(Warned(objection.code, objection.why, turn.agent))
        if limits.fallback not in ("", turn.agent):
            self.transfer(turn, left, Edge(turn.agent, limits.fallback), objection.why)
        elif limits.on_loop == "tell_model":
            told = f"Not taken: {objection.why}. Answer the user yourself, or ask."
            self.result(turn.number, left[0], told, "error")
            self.settle(turn.number)
        else:
            for each in left:
                self.result(turn.number, each, f"Not taken: {objection.why}.", "not_taken")
            self.add(TurnEnded(turn.number, turn.agent))
            self.follow(Stop("stopped") if limits.on_loop == "stop" else AskUser(turn.agent))

    def stop_exhausted(self, turn: Turn) -> None:
        """End the turn of an agent that gets nothing right, or goes on and on."""
        objection = self.machine.limits.exhausted(turn)
        if objection:
            self.add(Warned(objection.code, objection.why, turn.agent))
            self.add(TurnEnded(turn.number, turn.agent))
            self.follow(AskUser(turn.agent) if self.machine.pattern.exits(turn.agent) else Stop("stopped"))

    def end(self, turn: Turn) -> None:
        self.add(TurnEnded(turn.number, turn.agent))
        self.next_speaker()

    def next_speaker(self) -> None:
        """Ask the pattern, unless a termination condition is to be asked before it."""
        if not self.machine.condition:
            self.route(stop=False)

    def route(self, *, stop: bool) -> None:
        due = self.state.due
        assert due is not None
        pattern = self.machine.pattern
        if stop:
            self.follow(Stop("condition"))
        else:
            begin = Speak(due.to) if due.to else pattern.begin(self.state)
            self.follow(pattern.after(self.state, due.turn) if due.turn else begin)

    def go_on(self, edge: Edge) -> None:
        """Take an edge that no model chose; a circle of them ends with the user."""
        objection = self.machine.limits.objection(self.state, edge)
        if objection:
            self.add(Warned(objection.code, objection.why, edge.source))
            self.follow(Stop("stopped") if self.machine.limits.on_loop == "stop" else AskUser(edge.source))
            return
        self.add(HandoffSent(self.state.turns, edge.source, edge.target, "", None, edge.returns))
        self.add(TurnStarted(self.state.turns + 1, edge.target))

    def follow(self, route: Route) -> None:
        match route:
            case Speak(agent, prompt):
                self.add(TurnStarted(self.state.turns + 1, agent))
                if prompt:
                    self.add(Prompted(self.state.turns, agent, prompt))
            case Pass(edge):
                self.go_on(edge)
            case GiveBack(agent):
                self.add(HandedBack(self.state.turns, self.state.speaker, agent))
                self.add(TurnStarted(self.state.turns + 1, agent))
            case AskUser(agent):
                self.ask(Turn(self.state.turns, agent), "user_input")
            case Stop(reason):
                self.add(Finished(reason))
            case _:
                assert_never(route)


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
