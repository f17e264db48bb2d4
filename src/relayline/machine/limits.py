"""When a conversation among agents is going nowhere, and what is done about it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from relayline.events import Stopped
from relayline.machine.state import State, Turn
from relayline.machine.topology import Edge

OnLoop: TypeAlias = Literal["tell_model", "ask_user", "stop"]
"""``tell_model``: the handoff is refused, and the agent reads why. ``ask_user``: the agent's turn ends, and the user is
asked. ``stop``: the conversation is finished for now."""


class Objection(NamedTuple):
    """Why something should not go on: a stable code, and a sentence."""

    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What one message of the user may cost before the team stops and waits to be told to go on.

    ``turns`` of agents and ``tokens`` of their models, in and out; ``seconds`` per run, which the driver counts. None:
    as much as it takes.
    """

    turns: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def spent(self, state: State) -> Stopped | None:
        """That nothing more may be begun, or None."""
        since = state.since
        if self.turns is not None and since.turns > self.turns:
            return Stopped("turns", f"the agents had their {self.turns} turns")
        if self.tokens is not None and since.tokens >= self.tokens:
            return Stopped("tokens", f"the models took {since.tokens} tokens of {self.tokens}")
        return None


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps agents from talking among themselves for ever.

    ``hops``: handoffs between two messages of the user, None for any number. ``cycles``: whether an edge may be taken
    again although nothing new came in since, neither words of the user nor a tool's result nor a person's turn.
    ``misses``: replies in a row that come to nothing but errors, or are no output that fits, before the agent's turn is
    ended. ``on_loop``: what happens at the first two; ``fallback`` names an agent that gets the conversation instead.
    """

    hops: int | None = 20
    cycles: bool = False
    misses: int = 5
    steps: int | None = 100
    on_loop: OnLoop = "tell_model"
    fallback: str = ""

    def objection(self, state: State, edge: Edge) -> Objection | None:
        """Why ``edge`` should not be taken now, or None."""
        since = state.since
        if self.hops is not None and since.hops >= self.hops:
            why = f"the conversation was handed over {since.hops} times since the user last spoke"
            return Objection("hop_budget", why)
        if not self.cycles and (edge.source, edge.target) in since.walked:
            why = f"{edge.source} handed over to {edge.target} before, and nothing new has come in since"
            return Objection("cycle", why)
        return None

    def exhausted(self, turn: Turn) -> Objection | None:
        """Why ``turn`` should end, or None."""
        if turn.misses >= self.misses:
            return Objection(
                "repair_limit", f"{turn.misses} replies of {turn.agent} in a row came to nothing but errors"
            )
        if self.steps is not None and turn.step >= self.steps:
            return Objection("step_limit", f"{turn.agent} called tools in {turn.step} replies of one turn")
        return None

    def unfit(self, turn: Turn) -> Objection | None:
        """Why ``turn`` should end with a reply that is not the output it has to be; None: its agent may try again."""
        if turn.misses + 1 >= self.misses or (self.steps is not None and turn.step >= self.steps):
            missed = f"{turn.misses + 1} replies of {turn.agent} in a row came to nothing"
            return Objection("output_invalid", f"{missed}; the last is not the JSON it has to be")
        return None
