"""A batch of facts being written."""

from relayline.events import Ask, Asked, Fact, ToolReturned, ToolStarted, TurnStarted
from relayline.machine.effects import model_call
from relayline.machine.fold import evolve
from relayline.machine.rules import Rules
from relayline.machine.state import State, Turn
from relayline.messages import Outcome, ToolCall, ToolResult


class Draft:
    """Every fact is folded at once, so that the next rule sees what the last one did."""

    def __init__(self, rules: Rules, state: State) -> None:
        self.rules = rules
        self.state = state
        self.facts: list[Fact] = []

    def add(self, fact: Fact) -> None:
        """Append ``fact`` to the batch."""
        self.facts.append(fact)
        self.state = evolve(self.state, fact)

    def start(self, agent: str, after: tuple[int, ...] = (), *, apart: bool = False, key: str = "") -> None:
        """Give ``agent`` the next turn."""
        self.add(TurnStarted(self.state.turns + 1, agent, after, apart, key))
        if agent in self.rules.functions:
            turn = self.state.open[self.state.turns]
            self.add(ToolStarted(turn.number, ToolCall(f"{turn.key}-c0", agent)))
        if agent in self.rules.people:
            self.ask_person(self.state.turns, agent)

    def ask_person(self, turn: int, agent: str) -> None:
        """It is the turn of a participant who is a person: ask them."""
        ways = tuple(edge.target for edge in self.rules.pattern.exits(agent).values())
        self.add(Asked(f"r{self.state.asked + 1}", "reply", turn, agent, ways=ways))

    def ask(self, turn: Turn, ask: Ask, call: ToolCall | None = None, note: str = "") -> None:
        """Ask a person."""
        self.add(Asked(f"r{self.state.asked + 1}", ask, turn.number, turn.agent, call, note=note))

    def result(self, turn: int, call: ToolCall, content: str, outcome: Outcome) -> None:
        """Give ``call`` its result."""
        self.add(ToolReturned(turn, ToolResult(call.id, call.name, content, outcome)))

    def caller(self, effect: str) -> Turn | None:
        """The turn that waits for this model call, if one does."""
        return next((turn for turn in self.state.open.values() if not turn.calls and model_call(turn) == effect), None)
