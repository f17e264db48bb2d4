"""Builders: say who is in the team and who may hand over to whom, and get a workflow."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Self, cast, get_args

from relayline.agent import Agent, ToolSpec
from relayline.errors import BuildError
from relayline.journal.store import InMemoryCheckpointStorage, Store
from relayline.machine.decide import Machine
from relayline.machine.limits import Limits, OnLoop
from relayline.machine.patterns import AUTONOMOUS_PROMPT, AUTONOMOUS_TURNS, Autonomy, Handoff
from relayline.machine.topology import Edge, Returns, ToolPolicy, mesh, tool_names
from relayline.messages import JSON
from relayline.runtime.perform import Condition, Performer, Seat
from relayline.tools import ApprovalMode, Tool, as_tool, tool
from relayline.workflow import Workflow

WHY = "Why, in a few words. Your colleague will read it."
HANDOFF_PARAMETERS: dict[str, JSON] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": WHY},
    },
    "additionalProperties": False,
}


class _Handoff(NamedTuple):
    """One call of `HandoffBuilder.add_handoff`."""

    source: Agent | str
    targets: Sequence[Agent | str]
    description: str
    payload: type[Any] | None
    approval: ApprovalMode
    returns: Returns
    always: bool


class HandoffBuilder:
    """A team whose agents decide themselves who has the conversation next.

    Agents may be named by themselves or by their names. Without any `add_handoff` everyone may hand over to everyone;
    with one, only declared edges exist, and an agent without any is terminal: when it is done, the conversation is.
    """

    def __init__(self, *, name: str = "handoff", participants: Sequence[Agent] = ()) -> None:
        self._name = name
        self._participants = tuple(participants)
        self._start: Agent | str | None = None
        self._handoffs: list[_Handoff] = []
        self._return_to_previous = True
        self._autonomous: tuple[Sequence[Agent | str] | None, Mapping[str, str], Mapping[str, int]] | None = None
        self._limits: tuple[int | None, bool, OnLoop, Agent | str | None] = (20, False, "tell_model", None)
        self._condition: Condition | None = None
        self._store: Store | None = None

    def participants(self, participants: Sequence[Agent]) -> Self:
        """The team, replacing what was given before."""
        self._participants = tuple(participants)
        return self

    def with_start_agent(self, agent: Agent | str) -> Self:
        """Who takes a new conversation. Default: the first participant."""
        self._start = agent
        return self

    def add_handoff(
        self,
        source: Agent | str,
        targets: Agent | str | Sequence[Agent | str],
        *,
        description: str = "",
        payload: type[Any] | None = None,
        approval: ApprovalMode = "never_require",
        returns: Returns = "stay",
        always: bool = False,
    ) -> Self:
        """Let ``source`` hand over to ``targets``.

        ``description``: what ``source`` is told they are for; by default each target's own description. ``payload``: a
        pydantic model or dataclass that ``source`` has to fill in; one that does not fit goes back to it as an error,
        one that does reaches the target and the ``handoff_sent`` event. ``approval="always_require"``: a person is
        asked first. ``returns``: who is next when the target is done: the target itself (``stay``), ``source``
        (``caller``) or the start agent (``start``). ``always``: no choice, the target takes over whenever ``source``
        is done.
        """
        # Whatever is no list stands for itself here, and build() says so if it is no agent either.
        several = list(targets) if isinstance(targets, list | tuple) else [cast("Agent | str", targets)]
        self._handoffs.append(_Handoff(source, several, description, payload, approval, returns, always))
        return self

    def with_return_to_previous(self, enabled: bool = True) -> Self:
        """Whether the user's next message goes to whoever spoke last (the default) or always to the start agent."""
        self._return_to_previous = enabled
        return self

    def with_autonomous_mode(
        self,
        agents: Sequence[Agent | str] | None = None,
        *,
        prompts: Mapping[str, str] | None = None,
        turn_limits: Mapping[str, int] | None = None,
    ) -> Self:
        """Let ``agents`` (default: all) go on by themselves where they would have asked the user.

        ``prompts``: what an agent is told then, by name; only it sees this. ``turn_limits``: how many times in a row,
        by name (default 50); after that the user is asked. Counted anew after each handoff and each message of the
        user.
        """
        self._autonomous = (agents, prompts or {}, turn_limits or {})
        return self

    def with_loop_control(
        self,
        *,
        max_hops: int | None = 20,
        allow_cycles: bool = False,
        on_loop: OnLoop = "tell_model",
        fallback: Agent | str | None = None,
    ) -> Self:
        """What keeps the agents from passing the conversation around for ever; this is on by default.

        ``max_hops``: handoffs per message of the user, None for any number. ``allow_cycles``: whether the same edge
        may be taken again although nothing new came in since, neither words of the user nor a tool's result.
        ``on_loop``: ``tell_model`` refuses the handoff and tells the agent why; ``ask_user`` gives the conversation
        to the user; ``stop`` finishes it for now. ``fallback``: an agent that gets it instead. A ``warning`` event
        always says what happened.
        """
        self._limits = (max_hops, allow_cycles, on_loop, fallback)
        return self

    def with_termination_condition(self, condition: Condition) -> Self:
        """End the conversation when ``condition`` says so.

        It is given the transcript, oldest message first, after each message of the user and after each turn that ended
        without a handoff. Sync (then it should be quick: everybody waits for it) or async. Should it raise, that run
        fails with a `ConditionError` and can be retried.
        """
        self._condition = condition
        return self

    def with_checkpointing(self, storage: Store) -> Self:
        """Where the conversations are kept. Default: in memory."""
        self._store = storage
        return self

    def build(self) -> Workflow:
        """The workflow.

        Raises:
            BuildError: with every problem of the declaration, not just the first.
        """
        problems: list[str] = []
        agents = self._agents(problems)
        names = [agent.name for agent in agents]
        payloads = self._edges(names, problems)
        edges = tuple(payloads)
        start = names[0] if names else ""
        if self._start is not None:
            start = _named(self._start, names, "with_start_agent", problems) or start
        if self._condition is not None and not callable(self._condition):
            problems.append(
                f"RL103 with_termination_condition takes a function of the transcript; got {self._condition!r}"
            )
        if self._store is not None and not hasattr(self._store, "append"):
            problems.append(
                f"RL103 with_checkpointing takes a store, such as InMemoryCheckpointStorage(); got {self._store!r}"
            )
        autonomous = self._autonomy(names, problems)
        limits = self._loop_control(names, problems)
        seats = _seats(agents, payloads, problems) if not problems else {}
        if problems:
            raise BuildError(*problems)
        pattern = Handoff(start, tuple(names), edges, self._return_to_previous, autonomous)
        machine = Machine(
            name=self._name,
            pattern=pattern,
            policies={name: {key: _policy(tool) for key, tool in seat.tools.items()} for name, seat in seats.items()},
            fingerprint=_fingerprint(pattern),
            condition=self._condition is not None,
            limits=limits,
        )
        performer = Performer(seats, self._condition)
        return Workflow(self._name, agents, pattern, machine, performer, self._store or InMemoryCheckpointStorage())

    def _autonomy(self, names: Sequence[str], problems: list[str]) -> dict[str, Autonomy]:
        if self._autonomous is None:
            return {}
        agents, prompts, limits = self._autonomous
        if isinstance(agents, str):
            problems.append(f"RL103 with_autonomous_mode takes a list of agents; got {agents!r}")
            return {}
        chosen = names if agents is None else [_named(each, names, "with_autonomous_mode", problems) for each in agents]
        for name in {**prompts, **limits}:
            if _named(name, names, "with_autonomous_mode", problems) and name not in chosen:
                problems.append(
                    f"RL101 {name!r} has a prompt or a limit in with_autonomous_mode, but is not autonomous"
                )
        for name, prompt in prompts.items():
            if not isinstance(prompt, str) or not prompt.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
                problems.append(
                    f"RL108 the prompt of {name!r} is {prompt!r}; it is what the agent is told, and not empty"
                )
        for name, limit in limits.items():
            if type(limit) is not int or limit < 0:
                problems.append(f"RL108 the turn limit of {name!r} is {limit!r}; it is a number of turns, 0 or more")
        return {
            name: Autonomy(prompts.get(name, AUTONOMOUS_PROMPT), limits.get(name, AUTONOMOUS_TURNS))
            for name in chosen
            if name is not None
        }

    def _loop_control(self, names: Sequence[str], problems: list[str]) -> Limits:
        hops, cycles, on_loop, fallback = self._limits
        if hops is not None and (type(hops) is not int or hops < 1):
            problems.append(
                f"RL108 max_hops is {hops!r}; it is a number of handoffs, 1 or more, or None for any number"
            )
        if on_loop not in get_args(OnLoop):
            problems.append(f"RL103 on_loop is {on_loop!r}; allowed: {', '.join(get_args(OnLoop))}")
        name = "" if fallback is None else _named(fallback, names, "with_loop_control", problems)
        return Limits(hops=hops, cycles=cycles, on_loop=on_loop, fallback=name or "")

    def _agents(self, problems: list[str]) -> tuple[Agent, ...]:
        agents: list[Agent] = []
        for each in self._participants:
            if not isinstance(each, Agent):  # pyright: ignore[reportUnnecessaryIsInstance] -- not all check types
                problems.append(f"RL103 participants must be agents; got {each!r}")
            elif not isinstance(each.name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                problems.append(f"RL103 an agent's name is a string; got {each.name!r}")
            elif not each.name.strip():
                problems.append("RL104 an agent has no name; names are how agents and people tell each other apart")
            elif each.client is not None and not hasattr(each.client, "stream"):
                problems.append(f"RL103 the client of {each.name!r} has no stream(request); got {each.client!r}")
            elif any(each.name == other.name for other in agents):
                problems.append(f"RL102 two participants are called {each.name!r}; names must differ")
            else:
                agents.append(each)
        if not self._participants:
            problems.append("RL105 a team needs at least one participant: HandoffBuilder(participants=[...])")
        return tuple(agents)

    def _edges(self, names: Sequence[str], problems: list[str]) -> dict[Edge, type[Any] | None]:
        """The edges in declared order, each with the payload it carries."""
        if not self._handoffs:
            return dict.fromkeys(mesh(names))
        edges: dict[tuple[str, str], tuple[Edge, type[Any] | None]] = {}
        for each in self._handoffs:
            source = _named(each.source, names, "add_handoff", problems)
            targets = [_named(target, names, "add_handoff", problems) for target in each.targets]
            problems += _problems_of(each, source, targets)
            for target in targets:
                if source is not None and target is not None:
                    gated = each.approval == "always_require"
                    carries = each.payload is not None
                    edge = Edge(source, target, each.description, gated, each.returns, carries, each.always)
                    edges[source, target] = edge, each.payload
        for agent in names:
            onward = [edge.target for edge, _ in edges.values() if edge.source == agent and edge.always]
            if len(onward) > 1:
                several = " and to ".join(map(repr, onward))
                problems.append(f"RL111 {agent!r} always hands over to {several}; it can to one only")
        return dict(edges.values())


def _problems_of(each: _Handoff, source: str | None, targets: Sequence[str | None]) -> Iterator[str]:
    if not targets:
        yield f"RL107 add_handoff from {source!r} names no target"
    if source in targets and source is not None:
        yield f"RL106 add_handoff from {source!r} to itself: an agent that wants to go on just answers"
    if each.approval not in get_args(ApprovalMode):
        yield f"RL103 approval is {each.approval!r} in add_handoff; allowed: {', '.join(get_args(ApprovalMode))}"
    if each.returns not in get_args(Returns):
        yield f"RL103 returns is {each.returns!r} in add_handoff; allowed: {', '.join(get_args(Returns))}"
    if each.always and (each.payload or each.approval == "always_require" or each.returns != "stay"):
        yield f"RL112 no model chooses the handoff from {source!r}, so it has no payload, no approval and no way back"


def _named(given: object, names: Sequence[str], where: str, problems: list[str]) -> str | None:
    name = given.name if isinstance(given, Agent) else given
    if isinstance(name, str) and name in names:
        return name
    close = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
    hint = f"did you mean {close[0]!r}?" if close else f"participants: {', '.join(map(repr, names)) or 'none'}"
    problems.append(f"RL101 unknown agent {name!r} in {where}; {hint}")
    return None


def _seats(agents: Sequence[Agent], edges: Mapping[Edge, type[Any] | None], problems: list[str]) -> dict[str, Seat]:
    by_name = {agent.name: agent for agent in agents}
    handoffs = tool_names(list(by_name))
    seats: dict[str, Seat] = {}
    for agent in agents:
        tools: dict[str, Tool] = {}
        for own in map(as_tool, agent.tools):
            who = f"agent {agent.name!r}"
            if own.name in tools:
                problems.append(f"RL109 {who} has two tools called {own.name!r}")
            elif own.name in handoffs.values():
                problems.append(f"RL109 {who} has a tool called {own.name!r}, which is the name of a handoff")
            tools[own.name] = own
        specs = [ToolSpec(own.name, own.description, own.parameters) for own in tools.values()]
        payloads: dict[str, Tool] = {}
        for edge, payload in edges.items():
            if edge.source == agent.name and not edge.always:
                name, target = handoffs[edge.target], by_name[edge.target]
                if payload is not None and (checks := _payload_tool(name, payload, problems)):
                    payloads[name] = checks
                schema = payloads[name].parameters if name in payloads else HANDOFF_PARAMETERS
                specs.append(ToolSpec(name, _purpose(edge, target), schema, target.name, tuple(target.examples)))
        seats[agent.name] = Seat(agent, tools, tuple(specs), payloads)
    return seats


def _purpose(edge: Edge, target: Agent) -> str:
    purpose = edge.description or target.description or target.name
    return f"Hand the conversation over to {target.name}: {purpose}"


def _payload_tool(name: str, payload: type[Any], problems: list[str]) -> Tool | None:
    """A handoff's arguments as those of a function, so that they are shown and checked as any tool's are."""

    def handoff(payload: object, reason: Annotated[str, WHY] = "") -> None:
        del payload, reason

    handoff.__annotations__["payload"] = payload
    try:
        return tool(handoff, name=name)
    except (BuildError, LookupError, TypeError) as error:
        problems.append(f"RL110 {payload!r} cannot be the payload of {name}: it has no JSON Schema ({error})")
        return None


def _policy(tool: Tool) -> ToolPolicy:
    return ToolPolicy(tool.approval_mode == "always_require", tool.repeatable)


def _fingerprint(pattern: Handoff) -> str:
    shape = [pattern.start, pattern.agents, [(edge.source, edge.target) for edge in pattern.edges]]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]
