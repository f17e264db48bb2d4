"""Patterns answer one question: who speaks next?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from relayline.events import Ending
from relayline.machine.limits import Objection
from relayline.machine.state import State, Turn
from relayline.machine.topology import Edge, tool_names


@dataclass(frozen=True, slots=True)
class Speak:
    """This agent has the next turn. ``prompt``: what it is told, if it has to go on without the user."""

    agent: str
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Pass:
    """The conversation goes along this edge, without any model having chosen it."""

    edge: Edge


@dataclass(frozen=True, slots=True)
class GiveBack:
    """The conversation goes back to this agent, who had handed over."""

    agent: str


@dataclass(frozen=True, slots=True)
class AskUser:
    """Wait for the user, on behalf of this agent."""

    agent: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The conversation is finished, for now."""

    reason: Ending


@dataclass(frozen=True, slots=True)
class Branch:
    """A turn that begins beside others. ``after``: the turns it goes on from. ``key``: what its ids begin with."""

    agent: str
    after: tuple[int, ...] = ()
    key: str = ""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several turns begin, or one goes on beside others, or none for now.

    ``turn``: the one that ended, if it was apart. ``held``: who waits for it and for others. ``apart``: whether the new
    ones are. ``joined``: the turns whose words join the conversation before that, in this order. ``over``: nothing is
    left to wait for.
    """

    branches: tuple[Branch, ...] = ()
    turn: int = 0
    held: tuple[str, ...] = ()
    apart: bool = True
    joined: tuple[int, ...] = ()
    over: bool = False
    objection: Objection | None = None


Route: TypeAlias = Speak | Pass | GiveBack | AskUser | Stop | Spread


class Pattern(Protocol):
    """Pure: the same state always gets the same answer."""

    @property
    def partial(self) -> bool:
        """Whether the others go on without one of several that fails."""
        ...

    def begin(self, state: State, ways: frozenset[str] = frozenset()) -> Route:
        """Who takes what the user just said. ``ways``: as in `after`."""
        ...

    def after(self, state: State, turn: Turn, ways: frozenset[str]) -> Route:
        """Who is next when ``turn`` ended without a handoff. ``ways``: where the guarded edges that are open lead."""
        ...

    def onward(self, agent: str) -> Sequence[Edge]:
        """The ways on from ``agent`` that no model chooses, in declared order."""
        ...

    def guarded(self, agent: str) -> bool:
        """Whether somebody outside is asked where it goes on from ``agent``; "": where it begins."""
        ...

    def edge(self, agent: str, target: str) -> Edge | None:
        """The way out of ``agent`` to ``target``, if there is one."""
        ...

    def exits(self, agent: str) -> Mapping[str, Edge]:
        """The ways out of ``agent``: handoff tool name -> edge, in declared order."""
        ...


AUTONOMOUS_PROMPT = "The user is not here to answer. Go on by yourself."
AUTONOMOUS_TURNS = 50


@dataclass(frozen=True, slots=True)
class Autonomy:
    """An agent may go on without the user: told ``prompt``, ``turns`` times in a row at the most."""

    prompt: str = AUTONOMOUS_PROMPT
    turns: int = AUTONOMOUS_TURNS


@dataclass(frozen=True, slots=True)
class Handoff:
    """The agents decide, along declared edges.

    An agent that is done without a handoff passes the conversation along the first open edge that no model chooses, if
    it has one; goes on by itself, if it is autonomous; gives it back, if somebody waits for it; asks the user, if it
    could have handed over; and otherwise is terminal and ends it. What the user says next goes to whoever spoke last,
    or always to ``start`` with ``return_to_previous=False``.
    """

    start: str
    agents: tuple[str, ...]
    edges: tuple[Edge, ...]
    return_to_previous: bool = True
    autonomous: Mapping[str, Autonomy] = field(default_factory=dict[str, Autonomy])
    _exits: Mapping[str, Mapping[str, Edge]] = field(init=False, repr=False, compare=False)
    _always: Mapping[str, Sequence[Edge]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tool_names(self.agents)
        exits: dict[str, dict[str, Edge]] = {agent: {} for agent in self.agents}
        for edge in self.edges:
            if not edge.always:
                exits[edge.source][names[edge.target]] = edge
        object.__setattr__(self, "_exits", exits)
        always = {agent: tuple(e for e in self.edges if e.always and e.source == agent) for agent in self.agents}
        object.__setattr__(self, "_always", always)

    @property
    def partial(self) -> bool:
        return False

    def begin(self, state: State, ways: frozenset[str] = frozenset()) -> Route:
        del ways
        floor = state.floor
        keeps = self.return_to_previous and floor.sticky and floor.speaker in self._exits
        return Speak(floor.speaker if keeps else self.start)

    def after(self, state: State, turn: Turn, ways: frozenset[str] = frozenset()) -> Route:
        for edge in self.onward(turn.agent):
            if not edge.guarded or edge.target in ways:
                return Pass(edge)
        alone = self.autonomous.get(turn.agent)
        if alone and state.since.alone < alone.turns:
            return Speak(turn.agent, alone.prompt)
        if state.floor.callers:
            return GiveBack(state.floor.callers[-1])
        return AskUser(turn.agent) if self.exits(turn.agent) else Stop("terminal")

    def onward(self, agent: str) -> Sequence[Edge]:
        return self._always.get(agent, ())

    def guarded(self, agent: str) -> bool:
        return any(edge.guarded for edge in self.onward(agent))

    def edge(self, agent: str, target: str) -> Edge | None:
        return next((edge for edge in self.exits(agent).values() if edge.target == target), None)

    def exits(self, agent: str) -> Mapping[str, Edge]:
        return self._exits.get(agent, {})
