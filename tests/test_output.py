"""Structured output: an agent whose last word is JSON of a type."""

from dataclasses import dataclass, field

import pytest
from inline_snapshot import snapshot
from pydantic import BaseModel, field_validator
from typing_extensions import TypedDict

from relayline import (
    Agent,
    BuildError,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    SequentialBuilder,
    WorkflowBuilder,
    tool,
)
from relayline.errors import UsageError
from relayline.output import Output
from relayline.testing import ScriptedClient, call, handoff_to


class Bill(BaseModel):
    """What is to be paid."""

    amount: int
    lines: list[str] = []

    @field_validator("amount")
    @classmethod
    def check(cls, amount: int) -> int:
        if amount == 13:
            raise ValueError("13 is bad luck")
        if amount == 14:
            raise LookupError("no such amount")
        return amount


@dataclass
class Tree:
    name: str
    branches: "list[Tree]" = field(default_factory=list)


class Point(TypedDict):
    x: int


@tool(repeatable=True)
def look() -> str:
    """Look."""
    return "38 euros"


def desk(client: ScriptedClient) -> HandoffBuilder:
    clerk = client.as_agent("clerk", tools=[look], output_type=Bill)
    return HandoffBuilder(participants=[clerk, client.as_agent("boss")]).with_checkpointing(InMemoryCheckpointStorage())


# --- What a type comes to


@pytest.mark.parametrize(
    ("kind", "text", "value"), [(Point, '{"x": 1}', {"x": 1}), (Bill, '{"amount":"5"}', Bill(amount=5))]
)
def test_models_dataclasses_and_typed_dicts_are_outputs(kind: object, text: str, value: object) -> None:
    """As lenient as pydantic is by default."""
    assert Output.of(kind).read(text) == (value, "")


def test_a_type_that_holds_itself_is_an_object_at_its_top() -> None:
    """No provider takes a reference there."""
    output = Output.of(Tree)
    assert output.schema["type"] == "object"
    assert output.schema["title"] == "Tree"
    assert output.read('{"name":"a","branches":[{"name":"b"}]}')[0] == Tree("a", [Tree("b")])


def test_the_schema_is_named_and_described() -> None:
    """By the class and its docstring; its fields are shown as a tool's parameters are."""
    assert Output.of(Bill).schema == snapshot(
        {
            "title": "Bill",
            "description": "What is to be paid.",
            "properties": {
                "amount": {"type": "integer"},
                "lines": {"default": [], "items": {"type": "string"}, "type": "array"},
            },
            "required": ["amount"],
            "type": "object",
        }
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("38", snapshot("- Input should be an object.")),
        ("It is 38.", snapshot("- Invalid JSON: expected ident at line 1 column 2.")),
        ("", snapshot("- Invalid JSON: EOF while parsing a value at line 1 column 0.")),
        ('```json\n{"amount": 38}\n```', snapshot("- Invalid JSON: expected value at line 1 column 1.")),
        (
            '{"amount": "x", "lines": [1]}',
            snapshot("""\
- 'amount': Input should be a valid integer, unable to parse string as an integer.
- 'lines.0': Input should be a valid string.\
"""),
        ),
        ('{"amount": 13}', snapshot("- 'amount': Value error, 13 is bad luck.")),
        ('{"amount": 14}', snapshot("- It could not be checked: LookupError: no such amount.")),
    ],
)
def test_what_does_not_fit_is_told_line_by_line(text: str, problem: str) -> None:
    """Nothing but the JSON itself fits, because whoever reads the transcript reads it too."""
    assert Output.of(Bill).read(text) == (None, problem)


def test_a_long_list_of_problems_is_cut() -> None:
    """The first few say it."""
    assert len(Output.of(Bill).read(f'{{"amount": 1, "lines": {[1] * 100}}}')[1].splitlines()) == 8


@pytest.mark.parametrize("kind", [str, list[Bill], Bill | Tree, 7, "Nothing", object()])
def test_what_is_no_object_is_refused_when_the_team_is_built(kind: object) -> None:
    """With the agent's name and a code."""
    with pytest.raises(BuildError, match="RL118 .* cannot be the output of 'a': it"):
        HandoffBuilder(participants=[Agent("a", client=ScriptedClient(), output_type=kind)]).build()


def test_a_person_has_no_output_type() -> None:
    """People say what they like."""
    with pytest.raises(BuildError, match="RL114 'jo' is a person"):
        HandoffBuilder(participants=[HumanAgent("jo", output_type=Bill)]).build()


# --- At work


async def test_the_last_reply_is_a_value() -> None:
    """And its text stays JSON in the transcript; the model is given the schema with every request."""
    client = ScriptedClient([call("look")], '{"amount": 38}')
    result = await desk(client).build().run("What is it?")
    assert result.value == Bill(amount=38)
    assert result.text == '{"amount": 38}'
    assert [request.output for request in client.requests] == [Output.of(Bill).schema] * 2


async def test_a_reply_that_does_not_fit_is_repaired() -> None:
    """The agent is told what does not fit, in a note that nobody else sees, and asked again."""
    client = ScriptedClient("38 euros", '{"amount": 38}')
    run = desk(client).build().run("What is it?", session_id="s")
    events = [event async for event in run]
    [note] = [event.data for event in events if event.type == "prompted"]
    assert note.code == "output_invalid"
    assert (
        client.requests[1].messages[-1].text
        == note.text
        == snapshot("""\
Your reply does not fit what it has to be:
- Invalid JSON: trailing characters at line 1 column 4.
Reply again, with one JSON object that fits, and nothing before or after it.\
""")
    )
    assert (await run).value == Bill(amount=38)
    assert [message.text for message in (await run).conversation] == ["What is it?", "38 euros", '{"amount": 38}']


async def test_only_the_last_reply_has_a_value() -> None:
    """Words beside a call need not fit, and a colleague without a type has none."""
    client = ScriptedClient({"clerk": [["One moment.", handoff_to("boss")]], "boss": ["It is free."]})
    result = await desk(client).build().run("What is it?")
    client.assert_done()
    assert (result.text, result.value) == ("One moment.\nIt is free.", None)
    assert client.requests[1].output is None


async def test_a_run_that_says_nothing_has_no_value() -> None:
    """What was said before is in the conversation."""
    client = ScriptedClient('{"amount": 38}')
    workflow = desk(client).build()
    await workflow.run("What is it?", session_id="s")
    assert (await workflow.run(session_id="s")).value is None


async def test_an_object_of_ones_own_may_have_an_output_type() -> None:
    """As it may have tools."""

    class Clerk:
        name = "clerk"
        output_type = Bill
        stream = ScriptedClient("no", '{"amount": 1}').stream

    result = await HandoffBuilder(participants=[Clerk()]).build().run("hi")
    assert result.value == Bill(amount=1)


async def test_the_typed_reply_of_a_team_within_a_team_is_a_value() -> None:
    """However deep, as the result of a run and for the conditions behind it."""
    client = ScriptedClient({"clerk": ['{"amount": 38}'] * 2, "books": ["Booked."]})
    inner = SequentialBuilder(participants=[client.as_agent("clerk", output_type=Bill)]).build().as_agent("desk")
    outer = SequentialBuilder(participants=[inner]).build()
    assert (await outer.run("What is it?")).value == Bill(amount=38)

    asked: list[object] = []
    books, house = client.as_agent("books"), outer.as_agent("house")
    graph = WorkflowBuilder(start_executor=house).add_edge(house, books, lambda value: not asked.append(value))
    result = await graph.build().run("What is it?")
    assert asked == [Bill(amount=38)]
    assert (result.text.splitlines()[-1], result.value) == ("Booked.", None)


# --- Settings of one run


async def test_settings_of_a_run_are_put_over_those_of_the_agents() -> None:
    """For this run alone, and for all who speak in it."""
    client = ScriptedClient({"a": [handoff_to("b"), "."], "b": ["Hi.", "Ho."]})
    agents = [Agent(name, client=client, settings={"temperature": 1.0, "seed": 7}) for name in ("a", "b")]
    workflow = HandoffBuilder(participants=agents).build()
    await workflow.run("hi", session_id="s", settings={"temperature": 0.0})
    await workflow.run("hi", session_id="s")
    given = [dict(request.settings) for request in client.requests]
    assert given == [{"temperature": 0.0, "seed": 7}] * 2 + [{"temperature": 1.0, "seed": 7}]
    assert client.requests[0].agent is agents[0]
    assert not any("temperature" in repr(each.fact) for each in await workflow.store.read("s"))


def test_settings_that_are_no_mapping_are_refused_at_once() -> None:
    """Before anything is awaited."""
    with pytest.raises(UsageError, match="settings are a mapping"):
        desk(ScriptedClient()).build().run("hi", settings=["temperature"])  # type: ignore[arg-type]
