"""Teams within a team that are left and entered again, beside others, after an upgrade and after forgetting."""

import pytest

from relayline import (
    ConcurrentBuilder,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    RequestNotOpen,
    SequentialBuilder,
    Workflow,
    WorkflowBuilder,
    WorkflowRunState,
    tool,
    views,
)
from relayline.history import compact
from relayline.testing import ScriptedClient, assert_replays, call, handoff_to

IDLE, WAITING = WorkflowRunState.IDLE, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS


@tool
def look(order: int) -> str:
    """Look at it."""
    return f"saw {order}"


@tool(approval_mode="always_require")
def pay(order: int) -> str:
    """Pay it back."""
    return f"paid {order}"


def ids(client: ScriptedClient) -> list[str]:
    """The ids of all calls in the last request, which a provider wants to differ."""
    return [each.id for message in client.requests[-1].messages for each in message.tool_calls]


def line(client: ScriptedClient, *names: str) -> Workflow:
    return SequentialBuilder(name="inner", participants=[client.as_agent(name, tools=[look]) for name in names]).build()


async def test_a_team_beside_others_calls_tools_in_every_round():
    """Whichever time it is entered, no two calls of an agent have one id: the strict client takes every request."""
    client = ScriptedClient({"clerk": [call("look", order=1), "one", call("look", order=2), "two"], "mate": ["m", "m"]})
    team = ConcurrentBuilder(participants=[line(client, "clerk").as_agent(), client.as_agent("mate")]).build()
    for words in ("First.", "Second."):
        assert (await team.run(words, session_id="s")).state is IDLE
    clerks = [each for each in client.requests if each.agent.name == "clerk"][-1]
    used = [each.id for message in clerks.messages for each in message.tool_calls]
    assert len(used) == len(set(used)) == 2
    assert_replays(await team.store.read("s"))


async def test_a_circle_through_a_team_beside_others():
    """Also within one message of the user's."""
    client = ScriptedClient(
        {"clerk": [call("look", order=1), "one", call("look", order=2), "two"], "mate": ["m", "m"], "sort": ["s", "s"]}
        | {"end": ["again", "over"]}
    )
    inner = line(client, "clerk").as_agent()
    sort, mate, end = (client.as_agent(name) for name in ("sort", "mate", "end"))
    team = (
        WorkflowBuilder(start_executor=sort)
        .add_fan_out_edges(sort, [inner, mate])
        .add_fan_in_edges([inner, mate], end)
        .add_edge(end, sort, condition=lambda said: said == "again")
        .build()
    )
    assert (await team.run("Go.")).conversation[-1].text == "over"


async def test_an_agent_that_became_a_team_goes_on_with_its_calls():
    """What it called before it was one has other ids than what it calls now."""
    store = InMemoryCheckpointStorage()
    alone = ScriptedClient(call("look", order=1), "one")
    await (
        SequentialBuilder(name="team", participants=[alone.as_agent("clerk", tools=[look])])
        .with_checkpointing(store)
        .build()
        .run("First.", session_id="s")
    )
    client = ScriptedClient(call("look", order=2), "two")
    team = SequentialBuilder(name="team", participants=[line(client, "clerk").as_agent()]).with_checkpointing(store)
    assert (await team.build().run("Second.", session_id="s")).state is IDLE
    assert len(set(ids(client))) == len(ids(client)) == 2


def shop(client: ScriptedClient, store: InMemoryCheckpointStorage, *, boss: bool = False) -> Workflow:
    """Front -> desk (sorter -> clerk, or sorter -> boss -> clerk and back)"""
    sorter = client.as_agent("sorter", description="Sorts.")
    clerk = client.as_agent("clerk", description="Pays.", tools=[pay])
    if boss:
        chief = client.as_agent("boss", description="Decides.")
        desk = HandoffBuilder(name="desk", participants=[sorter, chief, clerk])
        desk = desk.add_handoff(sorter, chief).add_handoff(chief, clerk, returns="caller")
    else:
        desk = HandoffBuilder(name="desk", participants=[sorter, clerk]).add_handoff(sorter, clerk)
    members = [client.as_agent("front"), desk.build().as_agent(description="Money.")]
    return HandoffBuilder(name="shop", participants=members).with_checkpointing(store).build()


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_team_that_was_left_is_entered_where_it_was_left(forgotten: bool):
    """Whoever had the word in it has it again, also when all of that was forgotten."""
    store = InMemoryCheckpointStorage()
    client = ScriptedClient(
        {"front": [handoff_to("desk"), "front"], "sorter": [handoff_to("clerk")], "clerk": ["one", "two"]}
    )
    team = shop(client, store)
    await team.run("Refund.", session_id="s")
    await team.run("Thanks.", to="front", session_id="s")
    if forgotten:
        assert await compact(store, "s", messages=1)
    result = await team.run("Once more.", to="desk", session_id="s")
    assert (result.text, result.conversation[-1].author_name) == ("two", "clerk")


@pytest.mark.parametrize("forgotten", [False, True])
async def test_an_answer_that_was_used_up_stays_so(forgotten: bool):
    """What is asked next in a team has an id of its own, also when the beginning was forgotten meanwhile."""
    store = InMemoryCheckpointStorage()
    client = ScriptedClient(
        {
            "front": [handoff_to("desk"), "front", "front"],
            "sorter": [handoff_to("clerk")],
            "clerk": [call("pay", order=1), "done", call("pay", order=2)],
        }
    )
    team = shop(client, store)
    (first,) = (await team.run("Refund.", session_id="s")).requests
    await team.run(responses={first.request_id: True})
    await team.run("Thanks.", to="front", session_id="s")
    await team.run("Bye.", to="front", session_id="s")
    if forgotten:
        assert await compact(store, "s", messages=1)
    (second,) = (await team.run("Another refund.", to="desk", session_id="s")).requests
    assert second.request_id.rpartition(".")[2] != first.request_id.rpartition(".")[2]
    with pytest.raises(RequestNotOpen):
        await team.run(responses={first.request_id: True})


async def test_what_is_said_within_a_team_counts_when_the_beginning_is_forgotten():
    """The last messages are kept wherever they were said; where a team has them all, from the one that led into it."""
    store = InMemoryCheckpointStorage()
    client = ScriptedClient({"front": ["one", handoff_to("desk")], "sorter": ["two", "three", "four"]})
    team = shop(client, store)
    for words in ("a", "b", "c", "d"):
        await team.run(words, session_id="s")
    assert await compact(store, "s", messages=2)
    said = [each.text for each in (await team.session("s")).conversation if each.role == "user"]
    assert said == ["b", "c", "d"]


async def test_nobody_within_gives_back_to_who_is_gone():
    """A team that was left while one of its agents waited for the word, and lost that agent, goes on without it."""
    store = InMemoryCheckpointStorage()
    script = {"front": [handoff_to("desk"), "front"], "sorter": [handoff_to("boss")], "boss": [handoff_to("clerk")]}
    before = shop(ScriptedClient(script | {"clerk": [call("pay", order=1)]}), store, boss=True)
    assert (await before.run("Refund.", session_id="s")).state is WAITING
    await before.run("Something else.", to="front", session_id="s")
    after = shop(ScriptedClient({"clerk": ["here"], "sorter": ["here"]}), store)
    assert (await after.run("The refund.", to="desk", session_id="s")).text.endswith("here")


async def test_a_summary_within_a_team_is_made_once():
    """However often the team is entered, what was summed up for an agent in it is not summed up again."""
    made: list[str] = []

    def sum_up(_: object) -> str:
        made.append("x")
        return "It was about parcels."

    client = ScriptedClient({"sorter": ["Hello.", handoff_to("clerk")], "clerk": ["1", "2", "3"]})
    sorter, clerk = client.as_agent("sorter"), client.as_agent("clerk", description="Parcels.")
    inner = HandoffBuilder(name="inner", participants=[sorter, clerk]).add_handoff(sorter, clerk)
    inner = inner.with_terminal_agents([clerk]).with_view(clerk, views.summary(ScriptedClient(*[sum_up] * 9)))
    team = HandoffBuilder(name="outer", participants=[inner.build().as_agent(description="Parcels.")]).build()
    for words in ("a", "b", "c", "d"):
        await team.run(words, session_id="s")
    assert len(made) == 1


async def test_an_answer_with_state_goes_to_whoever_asked():
    """A question within a team is answered by a message that puts something into what all have in common, too."""
    client = ScriptedClient({"triage": ["Fine."], "clerk": ["Which order?", "Thanks."]})
    desk = HandoffBuilder(name="desk", participants=[client.as_agent("clerk"), client.as_agent("other")]).build()
    team = SequentialBuilder(participants=[client.as_agent("triage"), desk.as_agent()]).build()
    assert (await team.run("Hello.", session_id="s")).state is WAITING
    result = await team.run("Order 7.", session_id="s", state={"language": "en"})
    assert result.text == "Thanks."
    assert (await team.session("s")).shared == {"language": "en"}


async def test_the_only_question_of_a_team_beside_others_is_answered_by_what_is_said_next():
    """Nobody else begins anew."""
    client = ScriptedClient({"asks": ["Which order?", "Order 7, then."], "mate": ["I am done."]})
    desk = HandoffBuilder(name="desk", participants=[client.as_agent("asks"), client.as_agent("other")]).build()
    team = ConcurrentBuilder(participants=[desk.as_agent(), client.as_agent("mate")]).build()
    assert (await team.run("Hello.", session_id="s")).state is WAITING
    await team.run("Order 7.", session_id="s")
    assert [each.agent.name for each in client.requests] == ["asks", "mate", "asks"]
    assert_replays(await team.store.read("s"))
