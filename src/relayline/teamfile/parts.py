"""The parts of a team's file: participants, views, conditions, edges and what a team may cost."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator

from relayline.assembled import LONGEST
from relayline.machine.limits import OnLoop
from relayline.machine.roster import OnChange
from relayline.machine.topology import Returns
from relayline.tools import ApprovalMode

Words = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(min_length=1, description="The name of a participant.")]
Reference = Annotated[
    str, Field(min_length=1, description="MODULE:NAME, or a name that whoever loads the file gives a meaning to.")
]
Seconds = Annotated[float, Field(gt=0, le=LONGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict | BaseModel) else "text"


def _flag_or_names(value: object) -> str:
    return "list" if isinstance(value, list) else "flag" if isinstance(value, bool) else "neither"


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


class GivenForm(Form):
    """A participant that is made in code."""

    agent: Reference


class FunctionForm(Form):
    """A function as a participant."""

    function: Annotated[Reference, Field(description="The function, or what @executor made of it.")]


class SeenForm(Form):
    """Where members of a team may each see another part of the conversation."""

    view: Annotated[View | None, Field(description="How much of the conversation it is given.")] = None


class SeenAgentForm(SeenForm, AgentForm):
    """An agent, or a person."""


class SeenGivenForm(SeenForm, GivenForm):
    """A participant that is made in code."""


class SeenFunctionForm(SeenForm, FunctionForm):
    """A function as a participant."""


Names: TypeAlias = Annotated[
    Annotated[Name, Tag("text")] | Annotated[list[Name], Tag("list"), Field(min_length=1)], Discriminator(_kind)
]


Reviewed: TypeAlias = Annotated[
    Annotated[bool, Tag("flag")] | Annotated[list[Name], Tag("list")],
    Discriminator(_flag_or_names),
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


class EdgeForm(Form):
    """From one node to another, or to several at once."""

    source: Annotated[Name, Field(alias="from")]
    target: Annotated[Names, Field(alias="to")]
    condition: Annotated[Reference | None, Field(description="A function of what the source came to.")] = None


class JoinForm(Form):
    """From several nodes to one, which waits for all of them."""

    sources: Annotated[list[Name], Field(alias="from", min_length=1)]
    target: Annotated[Name, Field(alias="to")]


class CaseForm(Form):
    """Where it goes if this condition holds, and none before it did."""

    condition: Reference
    target: Annotated[Name, Field(alias="to")]


class SwitchForm(Form):
    """From one node to the first of several whose condition holds."""

    source: Annotated[Name, Field(alias="from")]
    cases: list[CaseForm]
    default: Annotated[Name | None, Field(description="Where it goes if no case holds.")] = None


class SelectionForm(Form):
    """From one node to those of several that a function names."""

    source: Annotated[Name, Field(alias="from")]
    targets: Annotated[list[Name], Field(alias="to", min_length=1)]
    selection_func: Annotated[Reference, Field(description="A function of what the source came to, and of the names.")]


def _edge(value: object) -> str:
    keys = cast("Mapping[object, object]", value if isinstance(value, dict) else {})
    if "cases" in keys or "default" in keys:
        return "SwitchForm"
    if "selection_func" in keys:
        return "SelectionForm"
    return "JoinForm" if isinstance(keys.get("from"), list) else "EdgeForm"


GraphEdge: TypeAlias = Annotated[
    Annotated[EdgeForm, Tag("EdgeForm")]
    | Annotated[JoinForm, Tag("JoinForm")]
    | Annotated[SwitchForm, Tag("SwitchForm")]
    | Annotated[SelectionForm, Tag("SelectionForm")],
    Discriminator(_edge),
]


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
