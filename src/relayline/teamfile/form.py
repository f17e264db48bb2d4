"""What may stand in a team's file. The JSON Schema beside this file is made of these models."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator

from relayline.machine.limits import OnLoop
from relayline.machine.roster import OnChange
from relayline.machine.topology import Returns
from relayline.runtime.pool import ConcurrentInput
from relayline.tools import ApprovalMode

Words = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, description="The name of a participant.")]
Reference = Annotated[
    str, Field(min_length=1, description="MODULE:NAME, or a name that whoever loads the file gives a meaning to.")
]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict | BaseModel) else "text"


class Form(BaseModel):
    """Exactly these keys, with values of exactly these types: ``"5"`` is no number, and ``no`` is a text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClientForm(Form):
    """A client that is made in code."""

    client: Reference


Voice: TypeAlias = Annotated[
    Annotated[Words, Tag("text")] | Annotated[ClientForm, Tag("mapping")],
    Discriminator(_kind),
]
Model: TypeAlias = Annotated[
    Annotated[Words, Tag("text")]
    | Annotated[ClientForm, Tag("mapping")]
    | Annotated[list[Voice], Tag("list"), Field(min_length=1)],
    Discriminator(_kind),
]


class ViewForm(Form):
    """A view that is put together of several."""

    show: Annotated[
        Literal["text", "with_results", "full"], Field(description="How much of what colleagues did is shown.")
    ] = "text"
    last: Annotated[Count | None, Field(description="Only so many messages of users and agents.")] = None
    summary: Annotated[Voice | None, Field(description="The model that sums up what went on before.")] = None
    shape: Annotated[
        list[Reference], Field(description="Functions of the messages, one after the other; 'words' leaves media out.")
    ] = []


View: TypeAlias = Annotated[
    Annotated[
        Words, Tag("text"), Field(description="text, with_results, full, words, or the name of a view or a function.")
    ]
    | Annotated[ViewForm, Tag("mapping")],
    Discriminator(_kind),
]


class AgentForm(Form):
    """An agent, or a person."""

    name: Name
    description: Annotated[str, Field(description="For colleagues, who choose by it.")] = ""
    instructions: Annotated[str, Field(description="For its own model.")] = ""
    person: Annotated[bool, Field(description="Whether it is a person, whose turn it is like any agent's.")] = False
    model: Annotated[
        Model | None, Field(description="provider:model, or a list: where one fails, the next is asked.")
    ] = None
    tools: list[Reference] = []
    knowledge: Annotated[list[str], Field(description="What it may rely on and quote.")] = []
    examples: Annotated[list[str], Field(description="Messages it is the right one for.")] = []
    settings: Annotated[dict[str, JsonValue], Field(description="For the model: temperature, max_tokens...")] = {}
    output: Annotated[Reference | None, Field(description="The type that its replies are the JSON of.")] = None
    view: Annotated[View | None, Field(description="How much of the conversation it is given.")] = None


class GivenForm(Form):
    """A participant that is made in code."""

    agent: Reference
    view: View | None = None


def _participant(value: object) -> str:
    given = isinstance(value, GivenForm) or (isinstance(value, dict) and "agent" in value)
    return "GivenForm" if given else "AgentForm"


Participant: TypeAlias = Annotated[
    Annotated[AgentForm, Tag("AgentForm")] | Annotated[GivenForm, Tag("GivenForm")], Discriminator(_participant)
]
Names: TypeAlias = Annotated[
    Annotated[Name, Tag("text")] | Annotated[list[Name], Tag("list"), Field(min_length=1)], Discriminator(_kind)
]


class HandoffForm(Form):
    """Who may hand over to whom."""

    source: Annotated[Name, Field(alias="from")]
    target: Annotated[Names, Field(alias="to")]
    description: Annotated[str, Field(description="What the source is told the target is for.")] = ""
    payload: Annotated[Reference | None, Field(description="The type that the source has to fill in.")] = None
    approval: Annotated[ApprovalMode, Field(description="Whether a person is asked first.")] = "never_require"
    returns: Annotated[Returns, Field(description="Who is next when the target is done.")] = "stay"
    always: Annotated[bool, Field(description="Taken whenever the source is done.")] = False
    when: Annotated[Reference | None, Field(description="A predicate: open while it holds.")] = None
    view: View | None = None


class AutonomyForm(Form):
    """An agent that goes on where it would have asked the user."""

    prompt: Annotated[Words | None, Field(description="What it is told then.")] = None
    turns: Annotated[int | None, Field(ge=0, description="How many times in a row.")] = None


class LoopForm(Form):
    """What keeps agents from passing the conversation around for ever."""

    max_hops: Annotated[Count | None, Field(description="Handoffs for each message; null for any number.")] = 20
    allow_cycles: bool = False
    on_loop: OnLoop = "tell_model"
    fallback: Name | None = None


class BudgetForm(Form):
    """What one message of the user may cost."""

    turns: Count | None = None
    tokens: Count | None = None
    seconds: Seconds | None = None


class ExpiryForm(Form):
    """How many seconds people have to answer."""

    approvals: Seconds | None = None
    questions: Seconds | None = None
    people: Seconds | None = None
    reviews: Seconds | None = None
    functions: Seconds | None = None


class UpgradeForm(Form):
    """How sessions are taken that were begun with this team as it was before."""

    on_change: OnChange = "continue"
    renamed: Annotated[dict[Name, Name], Field(description="What agents were called before: old name to new.")] = {}
    renamed_tools: Annotated[dict[Words, Words], Field(description="The same of tools.")] = {}


def _one(schema: dict[str, Any]) -> None:
    """Say in the schema as well that there is exactly one key, and that it is not empty."""
    schema |= {"minProperties": 1, "maxProperties": 1}
    for name, value in schema["properties"].items():
        kept = {key: each for key, each in value.items() if key not in ("anyOf", "default")}
        schema["properties"][name] = {**value["anyOf"][0], **kept}


class ConditionForm(Form):
    """One of these keys."""

    model_config = ConfigDict(json_schema_extra=_one)

    any: "Annotated[list[Condition] | None, Field(min_length=1)]" = None
    all: "Annotated[list[Condition] | None, Field(min_length=1)]" = None
    negated: "Annotated[Condition | None, Field(alias='not')]" = None
    max_messages: Count | None = None
    text_mentions: Words | None = None
    said_by: Annotated[str | None, Field(description="An agent's name, or the user's; empty: one without a name.")] = (
        None
    )

    @model_validator(mode="after")
    def _only_one(self) -> Self:
        if len(self.model_fields_set) != 1 or getattr(self, next(iter(self.model_fields_set))) is None:
            raise ValueError("a condition is one of any, all, not, max_messages, text_mentions and said_by")
        return self


Condition: TypeAlias = Annotated[
    Annotated[Reference, Tag("text")] | Annotated[ConditionForm, Tag("mapping")], Discriminator(_kind)
]


class TeamForm(Form):
    """A team whose agents decide themselves who has the conversation next."""

    model_config = ConfigDict(title="A team of relayline")

    version: Annotated[int, Field(alias="relayline", ge=1, le=1, description="The version of this form.")] = 1
    pattern: Annotated[Literal["handoff"], Field(description="Who decides who speaks next.")] = "handoff"
    name: Annotated[str, Field(description="Kept with every conversation of the team.")] = "handoff"
    participants: Annotated[list[Participant], Field(min_length=1)]
    start: Annotated[Name | None, Field(description="Default: the first participant.")] = None
    handoffs: Annotated[list[HandoffForm], Field(description="None: everybody may hand over to everybody.")] = []
    return_to_previous: Annotated[
        bool, Field(description="Whether the user's next message goes to whoever spoke last, or to the start.")
    ] = True
    autonomous: Annotated[
        dict[Name, AutonomyForm | None], Field(description="Who goes on where they would have asked the user.")
    ] = {}
    loop_control: LoopForm = LoopForm()
    budget: BudgetForm = BudgetForm()
    expiry: ExpiryForm = ExpiryForm()
    termination: Annotated[Condition | None, Field(description="When the conversation is over.")] = None
    terminal_agents: Annotated[list[Name], Field(description="Who has no way out on purpose.")] = []
    fallback_agent: Annotated[Name | None, Field(description="Who takes over where a model cannot be had.")] = None
    upgrades: UpgradeForm = UpgradeForm()
    concurrent_input: Annotated[
        ConcurrentInput, Field(description="What becomes of a message to a session that is at work on another.")
    ] = "queue"
    middleware: Annotated[list[Reference], Field(description="Around every effect, the outermost first.")] = []
    share_prefix: Annotated[bool, Field(description="Lay out the requests of all agents alike.")] = False
    repair_announced_handoffs: Annotated[
        bool, Field(description="Tell an agent that says it hands over, and does not.")
    ] = False


def schema() -> dict[str, Any]:
    """The JSON Schema of a team's file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TeamForm.model_json_schema()}
