"""What people are asked may have a time by which they answer."""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    HandoffAgentUserRequest,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    RequestNotOpen,
    Workflow,
    WorkflowEvent,
    WorkflowRunState,
    tool,
)
from relayline.events import Answered, Finished
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.testing import Crash, FakeClock, ScriptedClient, assert_replays, call, crash_at, handoff_to

HOUR = timedelta(hours=1)
PAID: list[str] = []


@tool(approval_mode="always_require")
def pay(to: str) -> str:
    """Pay."""
    PAID.append(to)
    return f"paid {to}"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until it is moved."""
    PAID.clear()
    return FakeClock(step=timedelta(0))


def team(client: ScriptedClient, store: Store) -> Workflow:
    """Front can pay, and hand over to jo, who is a person; an hour for everything."""
    front = Agent("front", "", "First contact.", [pay], client)
    builder = HandoffBuilder(name="desk", participants=[front, HumanAgent("jo", description="Signs.")])
    builder.with_request_expiry(approvals=HOUR, questions=3600, people=3600.0)
    return builder.with_checkpointing(store).build()


def memory(clock: FakeClock) -> Store:
    return InMemoryCheckpointStorage(clock)


def settled(events: Sequence[WorkflowEvent]) -> list[str]:
    return [event.data.settled for event in events if event.type == "request_answered"]


async def resumed(workflow: Workflow) -> list[WorkflowEvent]:
    return [event async for event in workflow.run(session_id="s")]


# Approvals


async def test_an_approval_that_comes_too_late_counts_as_refused(clock: FakeClock) -> None:
    """The answer is not taken and says what to do; the next run goes on without it, and the model reads why."""
    client = ScriptedClient(call("pay", to="ann"), "Nobody could say.")
    workflow = team(client, memory(clock))
    (request,) = (await workflow.run("Pay ann.", session_id="s")).requests
    clock.advance(HOUR + timedelta(seconds=1))
    before = len(await workflow.store.read("s"))
    with pytest.raises(RequestNotOpen) as refused:
        await workflow.run(responses={request.request_id: True})
    assert str(refused.value) == snapshot("the time to answer request 's/r1' is over; run the session to go on")
    assert len(await workflow.store.read("s")) == before
    events = await resumed(workflow)
    assert settled(events) == ["expired"]
    [told] = client.requests[-1].messages[-1].tool_results
    assert (told.outcome, told.content) == snapshot(("refused", "Not run: nobody decided about it in time."))
    assert PAID == []
    client.assert_done()


async def test_an_hour_is_an_hour(clock: FakeClock) -> None:
    """Up to the last moment an answer counts."""
    client = ScriptedClient(call("pay", to="ann"), "Paid.")
    workflow = team(client, memory(clock))
    (request,) = (await workflow.run("Pay ann.", session_id="s")).requests
    clock.advance(HOUR)
    assert settled(await resumed(workflow)) == []
    await workflow.run(responses={request.request_id: True})
    assert PAID == ["ann"]


async def test_a_message_after_the_time_is_over(clock: FakeClock) -> None:
    """What was not decided in time is told so, not as withdrawn by the user who writes now."""
    client = ScriptedClient(call("pay", to="ann"), "As you like.")
    workflow = team(client, memory(clock))
    await workflow.run("Pay ann.", session_id="s")
    clock.advance(2 * HOUR)
    events = [event async for event in workflow.run("Never mind.", session_id="s")]
    assert settled(events) == ["expired"]
    results, said = client.requests[-1].messages[-2:]
    assert (results.tool_results[0].content, said.text) == snapshot(
        ("Not run: nobody decided about it in time.", "Never mind.")
    )


async def test_several_are_late_at_once(clock: FakeClock) -> None:
    """Each call has its result, in their order, and the model is called once."""
    client = ScriptedClient([call("pay", to="ann"), call("pay", to="ben"), handoff_to("jo")])
    workflow = team(client, memory(clock))
    first, second = (await workflow.run("Pay both.", session_id="s")).requests
    clock.advance(2 * HOUR)
    with pytest.raises(RequestNotOpen, match="the time to answer"):
        await workflow.run(responses={second.request_id: True, first.request_id: True})
    events = await resumed(workflow)
    assert settled(events) == ["expired", "expired"]
    [message] = [m for m in (await workflow.session("s")).conversation if m.role == "tool"]
    assert [each.outcome for each in message.tool_results] == ["refused", "refused", "transferred"]
    assert (await workflow.session("s")).requests[0].executor_id == "jo"


async def test_one_in_time_and_one_not(clock: FakeClock) -> None:
    """What was allowed in time has run; only what is still open expires."""
    client = ScriptedClient([call("pay", to="ann"), call("pay", to="ben")], "One of two.")
    workflow = team(client, memory(clock))
    first, _ = (await workflow.run("Pay both.", session_id="s")).requests
    await workflow.run(responses={first.request_id: True})
    clock.advance(2 * HOUR)
    assert settled(await resumed(workflow)) == ["expired"]
    assert PAID == ["ann"]
    assert [each.outcome for each in client.requests[-1].messages[-1].tool_results] == ["done", "refused"]


async def test_a_handoff_nobody_agreed_to_in_time_is_not_taken(clock: FakeClock) -> None:
    """The sender goes on and reads so."""
    client = ScriptedClient(handoff_to("desk"), "I do it myself.")
    front, desk = (client.as_agent(name, description=name) for name in ("front", "desk"))
    builder = HandoffBuilder(participants=[front, desk]).add_handoff(front, desk, approval="always_require")
    workflow = builder.with_request_expiry(approvals=60).with_checkpointing(memory(clock)).build()
    await workflow.run("Hi.", session_id="s")
    clock.advance(HOUR)
    await resumed(workflow)
    assert (await workflow.session("s")).active_agent == "front"
    assert client.requests[-1].messages[-1].tool_results[0].outcome == "refused"


# Questions


async def test_a_question_nobody_answers_ends_the_conversation(clock: FakeClock) -> None:
    """It is finished, and said so; a later message takes it up where it was."""
    client = ScriptedClient("Which order?", "I see.")
    workflow = team(client, memory(clock))
    (request,) = (await workflow.run("Pay.", session_id="s")).requests
    clock.advance(2 * HOUR)
    with pytest.raises(RequestNotOpen, match="the time to answer request 's/r1' is over"):
        await workflow.run(responses={request.request_id: "A-1"})
    events = await resumed(workflow)
    assert settled(events) == ["expired"]
    assert [event.type for event in events][-2:] == ["output", "status"]
    assert events[-1].data is WorkflowRunState.IDLE
    assert [entry.fact for entry in await workflow.store.read("s")][-2:] == [
        Answered("r1", "expired"),
        Finished("expired"),
    ]
    assert settled(await resumed(workflow)) == []
    assert (await workflow.run("A-1", session_id="s")).text == "I see."


async def test_a_late_message_is_still_an_answer_to_the_team(clock: FakeClock) -> None:
    """Who writes after the question has expired is heard; the question is not answered by it."""
    client = ScriptedClient("Which order?", "I see.")
    workflow = team(client, memory(clock))
    await workflow.run("Pay.", session_id="s")
    clock.advance(2 * HOUR)
    events = [event async for event in workflow.run("A-1", session_id="s")]
    assert settled(events) == ["expired"]
    assert [message.text for message in client.requests[-1].messages] == ["Pay.", "Which order?", "A-1"]


# People


async def test_a_person_who_does_not_answer_in_time(clock: FakeClock) -> None:
    """The conversation goes back to whoever handed over to them, who reads why."""
    client = ScriptedClient(handoff_to("jo"), "Jo is not in.")
    workflow = team(client, memory(clock))
    (request,) = (await workflow.run("Jo, please.", session_id="s")).requests
    clock.advance(2 * HOUR)
    with pytest.raises(RequestNotOpen, match="the time to answer request 's/r1' is over"):
        await workflow.run(responses={request.request_id: "Here I am!"})
    events = await resumed(workflow)
    assert settled(events) == ["expired"]
    [back] = [event.data for event in events if event.type == "handed_back"]
    assert (back.source, back.target, back.reason) == ("jo", "front", "Nobody answered in time.")
    assert client.requests[-1].messages[-1].text == snapshot(
        "[jo] gives the conversation back to you. Nobody answered in time."
    )
    client.assert_done()


async def test_a_person_nobody_handed_over_to(clock: FakeClock) -> None:
    """There is nobody to go back to: the conversation is finished until somebody writes."""
    workflow = team(ScriptedClient(), memory(clock))
    await workflow.run("Jo?", session_id="s", to="jo")
    clock.advance(2 * HOUR)
    events = await resumed(workflow)
    assert (settled(events), events[-1].data) == (["expired"], WorkflowRunState.IDLE)
    (request,) = (await workflow.run("Jo!", session_id="s")).requests
    clock.advance(HOUR)
    assert (await workflow.run(responses={request.request_id: "Yes?"})).text == "Yes?"


# What does not expire


async def test_nothing_expires_by_itself(clock: FakeClock) -> None:
    """To look at a session changes nothing; what has no time set waits for ever, and so does an interrupted call."""
    client = ScriptedClient(call("pay", to="ann"), "So it was.")
    store = memory(clock)
    workflow = team(client, store)
    (request,) = (await workflow.run("Pay ann.", session_id="s")).requests
    crashing = crash_at(store, 2)
    with pytest.raises(Crash):
        await team(client, crashing).run(responses={request.request_id: True})
    (request,) = (await workflow.run(session_id="s")).requests
    assert isinstance(request.data, InterruptedCallRequest)
    clock.advance(100 * HOUR)
    assert [each.request_id for each in (await workflow.session("s")).requests] == [request.request_id]
    assert settled(await resumed(workflow)) == []
    result = await workflow.run(responses={request.request_id: "It was paid."})
    assert result.text == "So it was."
    front = Agent("front", "", "First contact.", [], ScriptedClient("Well?", "I see."))
    patient = HandoffBuilder(participants=[front, HumanAgent("jo", description="Signs.")]).with_checkpointing(store)
    (request,) = (await patient.build().run("Hi.", session_id="p")).requests
    clock.advance(10_000 * HOUR)
    assert isinstance(request.data, HandoffAgentUserRequest)
    assert (await patient.build().run(responses={request.request_id: "Well."})).text == "I see."


async def test_a_dying_process_has_the_clock_of_its_store(clock: FakeClock) -> None:
    """A store that is made to crash tells the time of the one behind it."""
    assert crash_at(memory(clock), 1).now() == clock.time


# Processes


async def test_time_goes_on_while_no_process_runs(clock: FakeClock, tmp_path: Path) -> None:
    """On disk what was asked keeps its date: another process finds it late."""
    client = ScriptedClient(call("pay", to="ann"), "Nobody could say.", handoff_to("jo"), "Jo is not in.", "Welcome.")

    async def process(message: str | None = None) -> list[WorkflowEvent]:
        async with aclosing(SqliteCheckpointStorage(tmp_path / "s.db", clock)) as store:
            events = [event async for event in team(client, store).run(message, session_id="s")]
            assert_replays(await store.read("s"))
        clock.advance(HOUR + timedelta(seconds=1))
        return events

    await process("Pay ann.")
    for expected in ("expired", "expired"):  # the approval, then the question after it
        assert settled(await process()) == [expected]
    await process("Jo, then.")
    assert settled(await process()) == ["expired"]
    assert settled(await process("Thanks.")) == ["expired"]
    client.assert_done()
