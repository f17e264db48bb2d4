"""Single rules of the patterns that nothing else would miss."""

from collections.abc import Sequence

import pytest

from relayline import (
    ConcurrentBuilder,
    ExecutorContext,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    SequentialBuilder,
    ToolContext,
    UsageError,
    WorkflowBuilder,
    WorkflowRunState,
    executor,
    tool,
)
from relayline.events import Finished
from relayline.machine.fold import fold
from relayline.machine.inputs import Answer, Approval
from relayline.testing import Reply, ScriptedClient, assert_replays, call, check_everywhere, handoff_to

IDLE, WAITING = WorkflowRunState.IDLE, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS

LOST: Sequence[Reply] = [call("nothing")] * 5
"""Replies that come to nothing but errors, as many as are let pass."""


@pytest.mark.parametrize("policy", ["fail", "partial"])
async def test_a_branch_that_is_given_up_counts_as_one_that_failed(policy: str) -> None:
    """Where all of it fails, nobody goes on from the others; where they go on without it, the failure is told them."""
    client = ScriptedClient({"a": LOST, "b": ["B"], "sum": ["S"]})
    members = [client.as_agent("a"), client.as_agent("b")]
    builder = ConcurrentBuilder(participants=members, on_failure=policy)  # type: ignore[arg-type]
    workflow = builder.with_aggregator(client.as_agent("sum")).build()
    events = [event async for event in workflow.run("Go.", session_id="s")]
    assert "repair_limit" in [event.data.code for event in events if event.type == "warning"]
    view = await workflow.session("s")
    assert view.state is IDLE
    asked = [each.agent.name for each in client.requests]
    assert ("sum" in asked) is (policy == "partial")
    assert any(each.text.startswith("No answer: 5 replies of a") for each in view.conversation)
    assert_replays(await workflow.store.read("s"))


async def test_nobody_looks_at_what_failed() -> None:
    """There are no words to let go on."""
    client = ScriptedClient({"a": LOST, "b": ["B"]})
    members = [client.as_agent("a"), client.as_agent("b")]
    workflow = ConcurrentBuilder(participants=members, on_failure="partial").with_request_info(["a"]).build()
    assert (await workflow.run("Go.")).requests == []


async def test_a_function_that_asks_twice_is_told_both_in_order() -> None:
    """Each answer where it asks for it, though it runs from its beginning each time; in other processes, too."""

    @executor
    async def both(text: str, context: ExecutorContext) -> str:
        one = await context.request_info("one?", int)
        two = await context.request_info("two?", int)
        return f"{text} {one}, {two}"

    store = InMemoryCheckpointStorage()
    builder = SequentialBuilder(participants=[both]).with_checkpointing(store)
    (asked,) = (await builder.build().run("Go.", session_id="s")).requests
    (again,) = (await builder.build().run(responses={asked.request_id: 1})).requests
    assert (asked.data.data, again.data.data) == ("one?", "two?")
    assert (await builder.build().run(responses={again.request_id: 2})).text == "Go. 1, 2"


async def test_a_review_is_not_refused() -> None:
    """It says what else can be done, and stays open."""
    client = ScriptedClient({"a": ["A"], "b": ["B"]})
    builder = SequentialBuilder(participants=[client.as_agent("a"), client.as_agent("b")]).with_request_info(["a"])
    workflow = builder.build()
    (request,) = (await workflow.run("Go.", session_id="s")).requests
    with pytest.raises(UsageError):
        await workflow.run(responses={request.request_id: False})
    state = fold(entry.fact for entry in await workflow.store.read("s"))
    with pytest.raises(UsageError, match="is a review: approve it, or say in words what 'a' should change"):
        workflow.machine.decide(state, Answer("r1", Approval(approved=False)))
    assert (await workflow.run(responses={request.request_id: True})).text == "B"


async def test_plain_words_are_feedback_to_whoever_is_looked_at() -> None:
    """The agent speaks again on them, not whoever began, and is looked at again; what comes after has waited."""
    client = ScriptedClient({"a": ["A"], "b": ["Long.", "Short."], "c": ["C"]})
    builder = SequentialBuilder(participants=[client.as_agent(name) for name in "abc"]).with_request_info(["b"])
    workflow = builder.build()
    await workflow.run("Go.", session_id="s")
    result = await workflow.run("Shorter.", session_id="s")
    assert (result.state, result.text) == (WAITING, "Short.")
    assert [message.text for message in client.requests[-1].messages][-1] == "Shorter."
    (request,) = result.requests
    assert (await workflow.run(responses={request.request_id: True})).text == "C"
    client.assert_done()


async def test_no_condition_is_asked_about_what_failed() -> None:
    """It would be asked about words that nobody said."""

    def short(text: str) -> bool:
        assert not text.startswith("No answer")
        return True

    client = ScriptedClient({"s": ["S"], "a": LOST, "b": ["B"]})
    s, a, b, c = (client.as_agent(name) for name in "sabc")
    builder = WorkflowBuilder(start_executor=s).add_fan_out_edges(s, [a, b]).add_edge(a, c, short)
    result = await builder.build().run("Go.")
    assert (result.state, [each.author_name for each in result.outputs]) == (IDLE, ["a", "b"])


async def test_a_team_beside_others_begins_anew_each_time() -> None:
    """Whoever spoke last in it has no more of it, as what is said beside others is no dialogue."""
    client = ScriptedClient({"a": [handoff_to("b")] * 2, "b": ["One.", "Two."], "c": ["C", "C"]})
    a, b = (client.as_agent(name, description=name) for name in "ab")
    inner = HandoffBuilder(name="inner", participants=[a, b]).add_handoff(a, b).with_terminal_agents([b]).build()
    workflow = ConcurrentBuilder(participants=[inner.as_agent(), client.as_agent("c")]).build()
    for said in ("One.", "Two."):
        assert [each.text for each in (await workflow.run("Go.", session_id="s")).outputs] == [said, "C"]
    client.assert_done()


@tool
def count(context: ToolContext) -> str:
    """Count, in what the team keeps in common."""
    context.state["times"] = context.state.get("times", 0) + 1
    return str(context.state["times"])


@pytest.mark.parametrize("beside", [False, True], ids=["in a row", "at once"])
async def test_what_a_team_keeps_in_common_it_has_in_common_with_teams_within(beside: bool) -> None:
    """Given from outside, changed at depth two, read by whoever is next, and left in the session."""
    client = ScriptedClient({"a": [call("count"), "A"], "b": ["B"], "c": [call("count"), "C"]})
    a, b, c = (client.as_agent(name, tools=[count]) for name in "abc")
    two = SequentialBuilder(name="two", participants=[a]).build()
    one = SequentialBuilder(name="one", participants=[two.as_agent()]).build().as_agent()
    if beside:
        workflow = ConcurrentBuilder(participants=[one, b]).with_aggregator(c).build()
    else:
        workflow = SequentialBuilder(participants=[one, b, c]).build()
    result = await workflow.run("Go.", session_id="s", state={"times": 7})
    assert [each.content for message in result.messages for each in message.tool_results] == ["8", "9"]
    assert (await workflow.session("s")).shared == {"times": 9}


async def test_why_a_team_was_handed_the_conversation_is_told_once() -> None:
    """What the user says next is said to whoever speaks in it, and they know why they do."""
    client = ScriptedClient({"front": [handoff_to("desk", reason="money")], "a": ["One.", "Two."]})
    desk = HandoffBuilder(name="desk", participants=[client.as_agent("a")]).build().as_agent(description="Money.")
    team = HandoffBuilder(participants=[client.as_agent("front"), desk]).add_handoff("front", "desk")
    workflow = team.with_terminal_agents(["desk"]).build()
    told: list[str] = []
    for said in ("1", "2"):
        told += [event.data.text async for event in workflow.run(said, session_id="s") if event.type == "prompted"]
    assert len(told) == 1
    assert "Reason: money" in told[0]
    client.assert_done()


@pytest.mark.parametrize("beside", [False, True], ids=["in a row", "at once"])
async def test_no_two_calls_in_a_conversation_are_called_alike(beside: bool) -> None:
    """Whatever team makes them, however often it has the conversation; providers refuse a request where they are."""
    client = ScriptedClient({name: [call("count"), name] * 3 for name in "abc"})
    a, b, c = (client.as_agent(name, tools=[count]) for name in "abc")
    two = SequentialBuilder(name="two", participants=[a]).build()
    one = SequentialBuilder(name="one", participants=[two.as_agent(), b]).build().as_agent()
    workflow = (ConcurrentBuilder if beside else SequentialBuilder)(participants=[one, c]).build()
    for message in ("1", "2", "3"):
        result = await workflow.run(message, session_id="s")
    ids = [each.id for message in result.conversation for each in message.tool_calls]
    assert len(set(ids)) == len(ids) == 9
    for request in client.requests:
        check_everywhere(request)


async def test_whoever_ends_it_within_a_team_ends_all_of_it() -> None:
    """Nobody who comes after is asked."""
    client = ScriptedClient({"a": ["Which?"]})
    a, other = client.as_agent("a", description="a"), client.as_agent("other", description="o")
    inner = HandoffBuilder(name="inner", participants=[a, other]).build().as_agent()
    workflow = SequentialBuilder(participants=[inner, client.as_agent("b")]).build()
    (request,) = (await workflow.run("Go.", session_id="s")).requests
    result = await workflow.run(responses={request.request_id: request.data.terminate()})
    assert (result.state, result.text) == (IDLE, "")
    assert (await workflow.store.read("s"))[-1].fact == Finished("terminated")
