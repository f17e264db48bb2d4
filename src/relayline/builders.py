"""Builders: say who is in the team and who may hand over to whom, and get a workflow."""

import difflib
import hashlib
import json
from collections.abc import Sequence
from typing import Self, cast

from relayline.agent import Agent, ToolSpec
from relayline.errors import BuildError
from relayline.journal.store import InMemoryCheckpointStorage, Store
from relayline.machine.decide import Machine
from relayline.machine.patterns import Handoff
from relayline.machine.topology import Edge, ToolPolicy, mesh, tool_names
from relayline.messages import JSON
from relayline.runtime.perform import Condition, Performer, Seat
from relayline.tools import Tool, as_tool
from relayline.workflow import Workflow

HANDOFF_PARAMETERS: dict[str, JSON] = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "description": "Why, in a few words. Your colleague will read it."},
    },
    "additionalProperties": False,
}


class HandoffBuilder:
    """A team whose agents decide themselves who has the conversation next.

    Agents may be named by themselves or by their names. Without any `add_handoff` everyone may hand over to everyone;
    with one, only declared edges exist, and an agent without any is terminal: when it is done, the conversation is.
    """

    def __init__(self, *, name: str = "handoff", participants: Sequence[Agent] = ()) -> None:
        self._name = name
        self._participants = tuple(participants)
        self._start: Agent | str | None = None
        self._handoffs: list[tuple[Agent | str, Sequence[Agent | str], str]] = []
        self._return_to_previous = True
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
        self, source: Agent | str, targets: Agent | str | Sequence[Agent | str], *, description: str = ""
    ) -> Self:
        """Let ``source`` hand over to ``targets``.

        ``description``: what ``source`` is told they are for; by default each target's own description.
        """
        # Whatever is no list stands for itself here, and build() says so if it is no agent either.
        several = list(targets) if isinstance(targets, list | tuple) else [cast("Agent | str", targets)]
        self._handoffs.append((source, several, description))
        return self

    def with_return_to_previous(self, enabled: bool = True) -> Self:
        """Whether the user's next message goes to whoever spoke last (the default) or always to the start agent."""
        self._return_to_previous = enabled
        return self

    def with_termination_condition(self, condition: Condition) -> Self:
        """End the conversation when ``condition`` says so.

        It is given the transcript, oldest message first, after each message of the user and after each turn that ended
        without a handoff. Sync or async. Should it raise, that run fails with a `ConditionError` and can be retried.
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
        edges = self._edges(names, problems)
        start = names[0] if names else ""
        if self._start is not None:
            start = _named(self._start, names, "with_start_agent", problems) or start
        if self._condition is not None and not callable(self._condition):
            problems.append(f"with_termination_condition takes a function of the transcript; got {self._condition!r}")
        seats = _seats(agents, edges, problems) if not problems else {}
        if problems:
            raise BuildError(*problems)
        pattern = Handoff(start, tuple(names), edges, self._return_to_previous)
        machine = Machine(
            name=self._name,
            pattern=pattern,
            policies={name: {key: _policy(tool) for key, tool in seat.tools.items()} for name, seat in seats.items()},
            fingerprint=_fingerprint(pattern),
            condition=self._condition is not None,
        )
        performer = Performer(seats, self._condition)
        return Workflow(self._name, agents, pattern, machine, performer, self._store or InMemoryCheckpointStorage())

    def _agents(self, problems: list[str]) -> tuple[Agent, ...]:
        agents: list[Agent] = []
        for each in self._participants:
            if not isinstance(each, Agent):  # pyright: ignore[reportUnnecessaryIsInstance] -- not everybody checks types
                problems.append(f"participants must be agents; got {each!r}")
            elif not each.name.strip():
                problems.append("an agent has no name; names are how agents and people tell each other apart")
            elif any(each.name == other.name for other in agents):
                problems.append(f"two participants are called {each.name!r}; names must differ")
            else:
                agents.append(each)
        if not self._participants:
            problems.append("a team needs at least one participant: HandoffBuilder(participants=[...])")
        return tuple(agents)

    def _edges(self, names: Sequence[str], problems: list[str]) -> tuple[Edge, ...]:
        if not self._handoffs:
            return mesh(names)
        edges: dict[tuple[str, str], Edge] = {}
        for source, targets, description in self._handoffs:
            start = _named(source, names, "add_handoff", problems)
            if not targets:
                problems.append(f"add_handoff from {start!r} names no target")
            for target in targets:
                end = _named(target, names, "add_handoff", problems)
                if start is None or end is None:
                    continue
                if start == end:
                    problems.append(f"add_handoff from {start!r} to itself: an agent that wants to go on just answers")
                edges[start, end] = Edge(start, end, description)
        return tuple(edges.values())


def _named(given: object, names: Sequence[str], where: str, problems: list[str]) -> str | None:
    name = given.name if isinstance(given, Agent) else given
    if isinstance(name, str) and name in names:
        return name
    close = difflib.get_close_matches(name, names, 1) if isinstance(name, str) else []
    hint = f"did you mean {close[0]!r}?" if close else f"participants: {', '.join(map(repr, names)) or 'none'}"
    problems.append(f"unknown agent {name!r} in {where}; {hint}")
    return None


def _seats(agents: Sequence[Agent], edges: Sequence[Edge], problems: list[str]) -> dict[str, Seat]:
    by_name = {agent.name: agent for agent in agents}
    handoffs = tool_names(list(by_name))
    seats: dict[str, Seat] = {}
    for agent in agents:
        tools: dict[str, Tool] = {}
        for tool in map(as_tool, agent.tools):
            if tool.name in tools:
                problems.append(f"agent {agent.name!r} has two tools called {tool.name!r}")
            elif tool.name in handoffs.values():
                problems.append(f"agent {agent.name!r} has a tool called {tool.name!r}, which is the name of a handoff")
            tools[tool.name] = tool
        own = [ToolSpec(tool.name, tool.description, tool.parameters) for tool in tools.values()]
        exits = [
            _handoff(edge, by_name[edge.target], handoffs[edge.target]) for edge in edges if edge.source == agent.name
        ]
        seats[agent.name] = Seat(agent, tools, (*own, *exits))
    return seats


def _handoff(edge: Edge, target: Agent, name: str) -> ToolSpec:
    purpose = edge.description or target.description or target.name
    return ToolSpec(
        name,
        f"Hand the conversation over to {target.name}: {purpose}",
        HANDOFF_PARAMETERS,
        target.name,
        tuple(target.examples),
    )


def _policy(tool: Tool) -> ToolPolicy:
    return ToolPolicy(tool.approval_mode == "always_require", tool.repeatable)


def _fingerprint(pattern: Handoff) -> str:
    shape = [pattern.start, pattern.agents, [(edge.source, edge.target) for edge in pattern.edges]]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:12]
