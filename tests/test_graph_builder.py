"""Graphs of agents and functions."""

import asyncio
from dataclasses import dataclass

import pytest
from pydantic import BaseModel

from relayline import (
    BuildError,
    Case,
    ConditionError,
    Default,
    ExecutorContext,
    HumanAgent,
    InMemoryCheckpointStorage,
    WorkflowBuilder,
    WorkflowRunState,
    executor,
)
from relayline.testing import Crash, ScriptedClient, assert_replays, crash_at


class Ticket(BaseModel):
    kind: str
    words: int = 0


@executor(repeatable=True)
async def sort(text: str) -> Ticket:
    """Sort a message."""
    return Ticket(kind=text.split()[0], words=len(text.split()))


@executor(repeatable=True)
def pay(ticket: Ticket) -> str:
    return f"paid for {ticket.words} words"


@executor(repeatable=True)
def send(ticket: Ticket) -> str:
    return f"sent {ticket.words} words"


@executor(repeatable=True)
def other(ticket: Ticket) -> str:
    return "what?"


@executor(repeatable=True)
def both(said: list[str]) -> str:
    return " and ".join(said)


def texts(result) -> list[str]:
    return [each.text for each in result.outputs]


async def test_the_first_case_that_holds_is_taken():
    """Or the default; the conditions are given the value, not its JSON."""
    team = (
        WorkflowBuilder(start_executor=sort)
        .add_switch_case_edge_group(
            sort,
            [
                Case(lambda ticket: ticket.kind == "refund", pay),
                Case(lambda ticket: ticket.words > 1, send),
                Default(other),
            ],
        )
        .build()
    )
    assert texts(await team.run("refund me now")) == ["paid for 3 words"]
    assert texts(await team.run("send it")) == ["sent 2 words"]
    assert texts(await team.run("hm")) == ["what?"]


async def test_an_edge_may_have_a_condition():
    """Sync or async; where none holds, the node is an end."""

    async def refund(ticket: Ticket) -> bool:
        return ticket.kind == "refund"

    team = WorkflowBuilder(start_executor=sort).add_edge(sort, pay, refund).build()
    assert texts(await team.run("refund me")) == ["paid for 2 words"]
    assert texts(await team.run("hm")) == ['{"kind":"hm","words":1}']


async def test_several_may_be_selected_and_are_waited_for():
    """A fan-in gets its list in declared order, whoever was first."""
    gate = asyncio.Event()

    @executor
    async def slow(ticket: Ticket) -> str:
        await gate.wait()
        return "slow"

    @executor
    async def quick(ticket: Ticket) -> str:
        gate.set()
        return "quick"

    team = (
        WorkflowBuilder(start_executor=sort)
        .add_fan_out_edges(sort, [slow, quick])
        .add_fan_in_edges([slow, quick], both)
        .build()
    )
    result = await asyncio.wait_for(team.run("go"), 10)
    assert texts(result) == ["slow and quick"]
    assert [each.author_name for each in result.conversation[1:]] == ["sort", "slow", "quick", "both"]


async def test_a_selection_names_some():
    """Given the value and the names; one that is none of them fails the run by name, and can be retried."""
    answers = [["send", "pay"], ["pay", "nobody"], ["pay"]]
    team = (
        WorkflowBuilder(start_executor=sort)
        .add_multi_selection_edge_group(sort, [pay, send], lambda ticket, names: answers.pop(0))
        .build()
    )
    assert texts(await team.run("a b")) == ["paid for 2 words", "sent 2 words"]
    with pytest.raises(ConditionError, match="from 'sort' named 'nobody'; there are: pay, send"):
        await team.run("a b", session_id="s")
    assert texts(await team.run(session_id="s")) == ["paid for 2 words"]


async def test_a_fan_in_that_is_never_met_says_so():
    """Where not all that it waits for were taken, the run ends, with a warning that has the names."""
    team = (
        WorkflowBuilder(start_executor=sort)
        .add_multi_selection_edge_group(sort, [pay, send], lambda ticket, names: ["pay"])
        .add_fan_in_edges([pay, send], both)
        .build()
    )
    events = [event async for event in team.run("go")]
    warned = [each.data for each in events if each.type == "warning"]
    assert [(each.code, each.message) for each in warned] == [
        ("never_met", "both waits for all of pay, send, and not all of them led to it")
    ]
    assert events[-1].data is WorkflowRunState.IDLE


async def test_circles_go_on_until_a_condition_or_the_budget_ends_them():
    """A writer and a critic; without an end in it, ``max_turns`` is one."""
    client = ScriptedClient({"writer": ["1", "2", "3"], "critic": ["no", "no", "good"]})
    writer, critic = client.as_agent("writer"), client.as_agent("critic")
    builder = WorkflowBuilder(start_executor=writer).add_edge(writer, critic)
    result = await builder.add_edge(critic, writer, lambda text: text != "good").build().run("Write.")
    assert texts(result) == ["good"]
    assert [each.text for each in client.requests[-1].messages] == [
        *("Write.", "[writer] 1", "no", "[writer] 2", "no", "[writer] 3")
    ]

    @executor
    def again(text: str) -> str:
        return text

    forever = WorkflowBuilder(start_executor=again, max_turns=5).add_edge(again, again).build()
    events = [event async for event in forever.run("go")]
    assert [each.data.code for each in events if each.type == "warning"] == ["step_budget"]
    assert sum(each.type == "executor_invoked" for each in events) == 5


async def test_agents_people_and_questions_are_nodes_like_any():
    """An agent with an output gives its value; a person answers; a function asks; each pause is a request."""

    @executor
    async def confirm(ticket: Ticket, context: ExecutorContext) -> Ticket:
        words = await context.request_info(ticket, int)
        return Ticket(kind=ticket.kind, words=words)

    client = ScriptedClient('{"kind": "refund"}')
    clerk = client.as_agent("clerk", output_type=Ticket)
    jo = HumanAgent("jo")
    team = WorkflowBuilder(start_executor=clerk).add_chain([clerk, confirm, pay, jo]).build()
    result = await team.run("Money!", session_id="s")
    assert result.requests[0].data.data == {"kind": "refund", "words": 0}
    result = await team.run(responses={result.requests[0].request_id: 4})
    assert result.requests[0].data.messages[-1].text == "[pay] paid for 4 words"
    result = await team.run(responses={result.requests[0].request_id: "Fine."})
    assert texts(result) == ["Fine."]


@pytest.mark.parametrize("written", [True, False])
async def test_killed_at_every_append_a_graph_comes_to_the_same_end(written):
    """Predicates, lanes of several turns and a fan-in: the same words, and no function twice unasked."""
    client = ScriptedClient(*[lambda request: f"on {len(request.messages)}"] * 100)
    reader, writer = client.as_agent("reader"), client.as_agent("writer")
    builder = (
        WorkflowBuilder(start_executor=sort)
        .add_edge(sort, pay)
        .add_edge(sort, send, lambda ticket: ticket.words > 1)
        .add_edge(pay, reader)
        .add_edge(reader, writer)
        .add_fan_in_edges([writer, send], both)
    )
    smooth = (await builder.build().run("refund me", session_id="s")).conversation
    assert len(smooth) == 7
    at = crashed = 0
    while crashed == at:
        store, at = InMemoryCheckpointStorage(), at + 1
        try:
            await (
                builder.with_checkpointing(crash_at(store, at, written=written))
                .build()
                .run("refund me", session_id="s")
            )
        except Crash:
            crashed = at
            team = builder.with_checkpointing(store).build()
            known = await store.read("s", upto=1)
            await team.run(None if known else "refund me", session_id="s")
        assert list((await builder.with_checkpointing(store).build().session("s")).conversation) == list(smooth)
        assert_replays(await store.read("s"))
    assert at > 6


@dataclass
class Other:
    x: int


@executor
def takes_other(other: Other) -> int:
    return other.x


@executor
def takes_others(others: list[Other]) -> int:
    return len(others)


@executor
def number(text: str) -> int:
    return 1


@executor
def real(value: float) -> float | None:
    return value


def test_types_are_checked_where_nodes_are_connected():
    """Both sides are named; what fits in spirit fits."""
    builder = WorkflowBuilder(start_executor=sort).add_edge(sort, takes_other).add_edge(takes_other, real)
    with pytest.raises(BuildError) as raised:
        builder.add_fan_in_edges([real, sort], takes_others).build()
    assert raised.value.problems == (
        "RL151 'sort' gives Ticket, and 'takes_other' takes Other",
        "RL151 'real' gives float | None, and 'takes_others' takes list[tests.test_graph_builder.Other], one list of what all it waits for give",
        "RL151 'sort' gives Ticket, and 'takes_others' takes list[tests.test_graph_builder.Other], one list of what all it waits for give",
    )
    with pytest.raises(BuildError, match="'a' gives str, and 'pay' takes Ticket; give 'a' an output_type"):
        agent = ScriptedClient().as_agent("a")
        WorkflowBuilder(start_executor=agent).add_edge(agent, pay).build()
    WorkflowBuilder(start_executor=number).add_edge(number, real).build()


def test_what_is_wrong_with_the_edges_is_said():
    """Twice the same, nobody's way, two kinds of ways into one node, a default that is not the last."""
    builder = WorkflowBuilder(start_executor=sort, max_turns=0).add_edge(sort, pay).add_edge(sort, pay)
    with pytest.raises(BuildError) as raised:
        builder.add_switch_case_edge_group(sort, [Default(send), Case(bool, other)]).build()
    assert [each[:5] for each in raised.value.problems] == ["RL150", "RL153", "RL108"]
    builder = WorkflowBuilder(start_executor=sort).add_edge(sort, both).add_edge(pay, number)
    with pytest.raises(BuildError) as raised:
        builder.add_fan_in_edges([send, other], both).add_fan_out_edges(sort, [send, other]).build()
    assert [each[:5] for each in raised.value.problems] == ["RL152", "RL152", "RL154", "RL151"]


async def test_edges_may_call_nodes_by_their_names():
    """Of ``participants``, whose order the graph keeps; by names or by themselves it is the same graph."""
    by_name = (
        WorkflowBuilder(start_executor="sort", participants=[sort, send, pay, both])
        .add_switch_case_edge_group("sort", [Case(lambda _: False, pay), Default("send")])
        .add_fan_in_edges(["pay", send], "both")
        .build()
    )
    assert [agent.name for agent in by_name.agents] == ["sort", "send", "pay", "both"]
    assert [(edge.source, edge.target) for edge in by_name.pattern.edges] == [
        ("sort", "pay"),
        ("sort", "send"),
        ("pay", "both"),
        ("send", "both"),
    ]
    by_themselves = WorkflowBuilder(start_executor=sort).add_edge(sort, pay).build()
    again = WorkflowBuilder(start_executor=sort, participants=[sort, pay]).add_edge("sort", "pay").build()
    assert again.machine == by_themselves.machine


def test_a_name_that_nobody_has_is_told():
    """With where it was said, and the nearest; so is a selection that can name nobody."""
    builder = WorkflowBuilder(start_executor="sort", participants=[sort, pay]).add_edge("sort", "payy")
    builder.add_edge(sort, pay).add_multi_selection_edge_group(sort, [], lambda value, names: names)
    with pytest.raises(BuildError) as raised:
        builder.build()
    assert raised.value.problems == (
        "RL107 add_multi_selection_edge_group from 'sort' names no target",
        "RL101 unknown agent 'payy' in add_edge; did you mean 'pay'?",
    )


async def test_an_agent_that_an_edge_leads_back_to_is_told_to_go_on():
    """Its own words are no question to it; alone, and beside others."""
    client = ScriptedClient("draft", "better", "good")
    writer = client.as_agent("writer")
    again = (
        WorkflowBuilder(start_executor=writer).add_edge(writer, writer, condition=lambda said: said != "good").build()
    )
    assert texts(await again.run("Write.")) == ["good"]
    assert [each.text for each in client.requests[-1].messages] == ["Write.", "draft", "Go on.", "better", "Go on."]
    beside = ScriptedClient("other")
    client = ScriptedClient("draft", "good")
    writer, reader = client.as_agent("writer"), beside.as_agent("reader")

    @executor
    def begin(text: str) -> str:
        return text

    team = (
        WorkflowBuilder(start_executor=begin)
        .add_fan_out_edges(begin, [writer, reader])
        .add_edge(writer, writer, condition=lambda said: said != "good")
        .build()
    )
    await team.run("Write.")
    assert [each.text for each in client.requests[-1].messages][-2:] == ["draft", "Go on."]
