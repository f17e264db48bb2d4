"""Who speaks next where several discuss: in turn, as a function says, or as one of them says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relayline.machine.patterns import Route, Speak, Stop
from relayline.machine.state import State, Turn
from relayline.machine.topology import Edge, tool_names


@dataclass(frozen=True, slots=True)
class GroupChat:
    """The members speak one after the other, and everybody hears everybody.

    ``selector``: the agent who is asked before each turn, and gives the word by handing over; when it answers instead,
    the chat is over. ``chosen``: a function outside says who is next. Neither: all in turn. ``rounds``: how many turns
    of members one message of the user may take, None for any number.
    """

    agents: tuple[str, ...]
    selector: str = ""
    chosen: bool = False
    rounds: int | None = None
    _exits: Mapping[str, Edge] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = tool_names(self.agents)
        exits = {names[agent]: Edge(self.selector, agent) for agent in self.agents} if self.selector else {}
        object.__setattr__(self, "_exits", exits)

    @property
    def partial(self) -> bool:
        return False

    def begin(self, state: State, ways: frozenset[str] = frozenset()) -> Route:
        return self._next(state, "", ways)

    def after(self, state: State, turn: Turn, ways: frozenset[str] = frozenset()) -> Route:
        if turn.agent == self.selector:
            return Stop("terminal")
        return self._next(state, turn.agent, ways)

    def _next(self, state: State, last: str, ways: frozenset[str]) -> Route:
        taken = state.since.hops if self.selector else state.since.begun
        if self.rounds is not None and taken >= self.rounds:
            return Stop("condition")
        if self.selector:
            return Speak(self.selector)
        if self.chosen:
            return Speak(min(ways)) if ways else Stop("condition")
        place = self.agents.index(last) + 1 if last in self.agents else 0
        return Speak(self.agents[place % len(self.agents)])

    def onward(self, agent: str) -> Sequence[Edge]:
        del agent
        return ()

    def guarded(self, agent: str) -> bool:
        del agent
        return self.chosen

    def edge(self, agent: str, target: str) -> Edge | None:
        return next((edge for edge in self.exits(agent).values() if edge.target == target), None)

    def exits(self, agent: str) -> Mapping[str, Edge]:
        return self._exits if agent == self.selector else {}
