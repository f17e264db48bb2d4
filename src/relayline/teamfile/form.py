"""What may stand in a team's file. The JSON Schema beside this file is made of these models."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, cast

from pydantic import Discriminator, Field, Tag, TypeAdapter

from relayline.graphs import MAX_TURNS
from relayline.pipelines import OnFailure
from relayline.runtime.pool import ConcurrentInput
from relayline.teamfile.parts import (
    AgentForm,
    AutonomyForm,
    BudgetForm,
    Condition,
    Count,
    ExpiryForm,
    Form,
    FunctionForm,
    GivenForm,
    GraphEdge,
    HandoffForm,
    LoopForm,
    Name,
    Reference,
    Reviewed,
    SeenAgentForm,
    SeenForm,
    SeenFunctionForm,
    SeenGivenForm,
    UpgradeForm,
)


def _member(value: object) -> str:
    keys = cast("Mapping[object, object]", value if isinstance(value, dict) else {})
    made = {"agent": "GivenForm", "function": "FunctionForm", "team": "NestedForm"}
    return next((form for key, form in made.items() if key in keys), "AgentForm")


def _seen(value: object) -> str:
    return f"Seen{_member(value)}"


class NestedForm(Form):
    """A whole team as a participant, as it would stand in a file of its own."""

    name: Annotated[Name | None, Field(description="Default: the team's.")] = None
    description: Annotated[str, Field(description="For colleagues, who choose by it.")] = ""
    team: "Team"


class SeenNestedForm(SeenForm, NestedForm):
    """A whole team as a participant, as it would stand in a file of its own."""


Member: TypeAlias = Annotated[
    Annotated[AgentForm, Tag("AgentForm")]
    | Annotated[GivenForm, Tag("GivenForm")]
    | Annotated[FunctionForm, Tag("FunctionForm")]
    | Annotated[NestedForm, Tag("NestedForm")],
    Discriminator(_member),
]
SeenMember: TypeAlias = Annotated[
    Annotated[SeenAgentForm, Tag("SeenAgentForm")]
    | Annotated[SeenGivenForm, Tag("SeenGivenForm")]
    | Annotated[SeenFunctionForm, Tag("SeenFunctionForm")]
    | Annotated[SeenNestedForm, Tag("SeenNestedForm")],
    Discriminator(_seen),
]
AnyMember: TypeAlias = AgentForm | GivenForm | FunctionForm | NestedForm
Members: TypeAlias = Annotated[list[Member], Field(min_length=1)]


class TeamForm(Form):
    """What can be said of a team whatever its pattern is."""

    version: Annotated[int, Field(alias="relayline", ge=1, le=1, description="The version of this form.")] = 1
    budget: BudgetForm = BudgetForm()
    expiry: ExpiryForm = ExpiryForm()
    upgrades: UpgradeForm = UpgradeForm()
    concurrent_input: Annotated[
        ConcurrentInput, Field(description="What becomes of a message to a session that is at work on another.")
    ] = "queue"
    middleware: Annotated[list[Reference], Field(description="Around every effect, the outermost first.")] = []


Called = Annotated[str, Field(description="Kept with every conversation of the team.")]
Ends = Annotated[Condition | None, Field(description="When the conversation is over.")]
PausesAfter = Annotated[
    Reviewed, Field(description="After whom a person lets it go on, or says what to change; true: after everybody.")
]


class HandoffTeam(TeamForm):
    """A team whose agents decide themselves who has the conversation next."""

    pattern: Annotated[Literal["handoff"], Field(description="Who decides who speaks next.")] = "handoff"
    name: Called = "handoff"
    participants: Annotated[list[SeenMember], Field(min_length=1)]
    start: Annotated[Name | None, Field(description="Default: the first participant.")] = None
    handoffs: Annotated[list[HandoffForm], Field(description="None: everybody may hand over to everybody.")] = []
    return_to_previous: Annotated[
        bool, Field(description="Whether the user's next message goes to whoever spoke last, or to the start.")
    ] = True
    autonomous: Annotated[
        dict[Name, AutonomyForm | None], Field(description="Who goes on where they would have asked the user.")
    ] = {}
    loop_control: LoopForm = LoopForm()
    termination: Ends = None
    terminal_agents: Annotated[list[Name], Field(description="Who has no way out on purpose.")] = []
    fallback_agent: Annotated[Name | None, Field(description="Who takes over where a model cannot be had.")] = None
    share_prefix: Annotated[bool, Field(description="Lay out the requests of all agents alike.")] = False
    repair_announced_handoffs: Annotated[
        bool, Field(description="Tell an agent that says it hands over, and does not.")
    ] = False


class SequentialTeam(TeamForm):
    """A team whose members have their turns one after the other."""

    pattern: Literal["sequential"]
    name: Called = "sequential"
    participants: Members
    chain_only_agent_responses: Annotated[
        bool, Field(description="Each is given only what the one before it said.")
    ] = False
    request_info: PausesAfter = False


class ConcurrentTeam(TeamForm):
    """A team whose members all have their turns at once."""

    pattern: Literal["concurrent"]
    name: Called = "concurrent"
    participants: Members
    on_failure: Annotated[OnFailure, Field(description="What happens when one of them fails.")] = "fail"
    aggregator: Annotated[Member | None, Field(description="Who makes one result of all.")] = None
    request_info: PausesAfter = False


class GroupChatTeam(TeamForm):
    """A team that discusses: in turn, or as a function or an agent says."""

    pattern: Literal["group_chat"]
    name: Called = "group chat"
    participants: Members
    selection_func: Annotated[Reference | None, Field(description="A function that says who speaks next.")] = None
    selector: Annotated[Member | None, Field(description="An agent of its own that says who speaks next.")] = None
    max_rounds: Annotated[Count | None, Field(description="Turns of participants for each message.")] = None
    termination: Ends = None


class GraphTeam(TeamForm):
    """A graph of agents, people, functions and teams."""

    pattern: Literal["graph"]
    name: Called = "workflow"
    participants: Members
    start: Annotated[Name | None, Field(description="Default: the first participant.")] = None
    edges: list[GraphEdge] = []
    max_turns: Annotated[Count | None, Field(description="Turns for each message; null for any number.")] = MAX_TURNS


PATTERNS: Mapping[str, type[TeamForm]] = {
    "handoff": HandoffTeam,
    "sequential": SequentialTeam,
    "concurrent": ConcurrentTeam,
    "group_chat": GroupChatTeam,
    "graph": GraphTeam,
}
"""The forms of a team, by what stands as its ``pattern``."""


def _pattern(value: object) -> str:
    given = cast("Mapping[object, object]", value).get("pattern", "handoff") if isinstance(value, dict) else "handoff"
    form = PATTERNS.get(given) if isinstance(given, str) else None
    return form.__name__ if form else str(given)


Team: TypeAlias = Annotated[
    Annotated[HandoffTeam, Tag("HandoffTeam")]
    | Annotated[SequentialTeam, Tag("SequentialTeam")]
    | Annotated[ConcurrentTeam, Tag("ConcurrentTeam")]
    | Annotated[GroupChatTeam, Tag("GroupChatTeam")]
    | Annotated[GraphTeam, Tag("GraphTeam")],
    Discriminator(_pattern),
]
AnyTeam: TypeAlias = HandoffTeam | SequentialTeam | ConcurrentTeam | GroupChatTeam | GraphTeam

for form in (NestedForm, SeenNestedForm, *PATTERNS.values()):
    form.model_rebuild()
TEAM: TypeAdapter[AnyTeam] = TypeAdapter(Team)
"""Reads a team of any pattern."""


def schema() -> dict[str, Any]:
    """The JSON Schema of a team's file, for editors."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A team of relayline"}
    return {**head, **TEAM.json_schema()}
