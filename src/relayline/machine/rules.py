"""What a team laid down for its conversations, once and for all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from relayline.events import Ask, Fact, Roster
from relayline.machine.inputs import Input
from relayline.machine.limits import Budget, Limits
from relayline.machine.patterns import Pattern
from relayline.machine.roster import Upgrades
from relayline.machine.state import State
from relayline.machine.topology import ToolPolicy


class Team(Protocol):
    """A team as another one needs it: it decides on its own session."""

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def roster(self) -> Roster | None: ...
    @property
    def upgrades(self) -> Upgrades: ...
    @property
    def expires(self) -> Mapping[Ask, float]: ...
    @property
    def teams(self) -> Mapping[str, "Team"]: ...
    def decide(self, state: State, given: Input) -> tuple[list[Fact], State]: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """Holds no session: everything that follows from it depends on its arguments alone.

    ``policies``: per agent, its own tools by name. ``condition``: whether there is a termination condition to ask.
    ``people``: the agents who are persons. ``nudge``: whether an agent that says it hands over, and does not, is told.
    ``rescue``: who takes over from an agent whose model cannot be had. ``functions``: the participants that are
    functions. ``reviewed``: whose words a person looks at before it goes on. ``teams``: the participants that are teams
    themselves.
    ``expires``: how many seconds people have to answer; a kind of request that is not there waits for ever.
    ``roster``: the team as journals remember it, with its ``fingerprint``. ``upgrades``: how it takes sessions that
    were begun with another.
    """

    name: str
    pattern: Pattern
    policies: Mapping[str, Mapping[str, ToolPolicy]] = field(default_factory=dict[str, Mapping[str, ToolPolicy]])
    fingerprint: str = ""
    condition: bool = False
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Budget)
    people: frozenset[str] = frozenset()
    nudge: bool = False
    rescue: str = ""
    functions: Mapping[str, ToolPolicy] = field(default_factory=dict[str, ToolPolicy])
    reviewed: frozenset[str] = frozenset()
    teams: Mapping[str, Team] = field(default_factory=dict[str, "Team"])
    expires: Mapping[Ask, float] = field(default_factory=dict[Ask, float])
    roster: Roster | None = None
    upgrades: Upgrades = field(default_factory=Upgrades)

    def gone(self, agent: str) -> bool:
        """Whether ``agent`` is not in the team; it may have been when it got the conversation."""
        return agent not in self.policies and bool(self.policies)
