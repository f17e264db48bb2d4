"""Patterns answer one question: who speaks next?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from relayline.events import Ending
from relayline.machine.state import State, Turn
from relayline.machine.topology import Edge, tool_names


@dataclass(frozen=True, slots=True)
class Speak:
    """This agent has the next turn. ``prompt``: what it is told, if it has to go on without the user."""

    agent: str
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class AskUser:
    """Wait for the user, on behalf of this agent."""

    agent: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The conversation is finished, for now."""

    reason: Ending


Route: TypeAlias = Speak | AskUser | Stop


class Pattern(Protocol):
    """Pure: the same state always gets the same answer."""

    def begin(self, state: State) -> Route:
        """Who takes what the user just said."""
        ...

    def after(self, state: State, turn: Turn) -> Route:
        """Who is next when ``turn`` ended without a handoff."""
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

    An agent that has exits and used none asks the user, or goes on by itself if it is autonomous; one that has none is
    terminal and ends the conversation. What
    the user says next goes to whoever spoke last, or always to ``start`` with ``return_to_previous=False``.
    """

    start: str
    agents: tuple[str, ...]
    edges: tuple[Edge, ...]
    return_to_previous: bool = True
    autonomous: Mapping[str, Autonomy] = field(default_factory=dict[str, Autonomy])
    _exits: Mapping[str, Mapping[str, Edge]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tool_names(self.agents)
        exits: dict[str, dict[str, Edge]] = {agent: {} for agent in self.agents}
        for edge in self.edges:
            exits[edge.source][names[edge.target]] = edge
        object.__setattr__(self, "_exits", exits)

    def begin(self, state: State) -> Route:
        keeps = self.return_to_previous and state.speaker in self._exits
        return Speak(state.speaker if keeps else self.start)

    def after(self, state: State, turn: Turn) -> Route:
        alone = self.autonomous.get(turn.agent)
        if alone and state.alone < alone.turns:
            return Speak(turn.agent, alone.prompt)
        return AskUser(turn.agent) if self.exits(turn.agent) else Stop("terminal")

    def exits(self, agent: str) -> Mapping[str, Edge]:
        return self._exits.get(agent, {})
