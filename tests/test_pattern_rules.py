"""Single rules of the patterns that nothing else would miss."""

from collections.abc import Sequence

import pytest

from relayline import (
    ConcurrentBuilder,
    ExecutorContext,
    InMemoryCheckpointStorage,
    SequentialBuilder,
    UsageError,
    WorkflowRunState,
    executor,
)
from relayline.machine.inputs import Answer, Approval
from relayline.machine.fold import fold
from relayline.testing import Reply, ScriptedClient, assert_replays, call

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
