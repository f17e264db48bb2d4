"""Going on from where a session once rested."""

import asyncio
from pathlib import Path

import pytest

from relayline import (
    Agent,
    ChatRequest,
    FunctionApprovalRequestContent,
    HandoffAgentUserRequest,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    ModelError,
    RequestInfoEvent,
    RequestNotOpen,
    SequenceConflict,
    SessionNotFound,
    ToolContext,
    UsageError,
    Workflow,
    WorkflowRunState,
    tool,
)
from relayline.errors import DamagedJournal
from relayline.events import Entry, Forked, TurnEnded
from relayline.history import compact
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.testing import FakeClock, Reply, ScriptedClient, call, handoff_to

KEYS: list[str] = []


@tool(approval_mode="always_require")
def refund(order: str, context: ToolContext) -> str:
    """Pay money back."""
    KEYS.append(context.idempotency_key)
    return f"refunded {order}"


def desk(store: Store, *replies: Reply, name: str = "desk") -> Workflow:
    """Triage hands over to orders and back; orders has a tool that asks."""
    client = ScriptedClient(*replies)
    triage, orders = Agent("triage", client=client), Agent("orders", client=client, tools=[refund])
    return HandoffBuilder(name=name, participants=[triage, orders]).with_checkpointing(store).build()


async def two_questions(store: Store) -> None:
    """Session s: hi, hello (rests at 6), where?, a handoff and a question (rests at 17)."""
    workflow = desk(store, "Hello.", handoff_to("orders"), "Which order?")
    await workflow.run("Hi.", session_id="s")
    await workflow.run("Where is it?", session_id="s")


async def ids(store: Store, session_id: str | None = None) -> list[str]:
    return [each.checkpoint_id for each in await store.list_checkpoints(session_id)]


# --- Listing them


async def test_a_checkpoint_says_where_the_session_stood():
    """Its id names session and position, its time is that of its last fact, and it knows who spoke and what waited."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    first, second = await store.list_checkpoints("s")
    assert (first.checkpoint_id, first.session_id, first.seq, first.active_agent) == ("s@6", "s", 6, "triage")
    assert (second.checkpoint_id, second.active_agent) == ("s@17", "orders")
    journal = await store.read("s")
    assert [first.timestamp, second.timestamp] == [journal[5].at, journal[16].at]
    assert {key: (asked.ask, asked.agent) for key, asked in second.requests.items()} == {
        "s/r2": ("user_input", "orders")
    }


async def test_of_several_sessions_the_newest_checkpoint_is_the_last():
    """Whichever session it is of."""
    store = InMemoryCheckpointStorage(FakeClock())
    for session_id, message in (("a", "1"), ("b", "2"), ("a", "3")):
        await desk(store, "Yes?").run(message, session_id=session_id)
    assert await ids(store) == ["a@6", "b@6", "a@12"]
    assert await ids(store, "b") == ["b@6"]
    assert await ids(store, "nobody") == []


async def test_a_session_that_was_cut_off_does_not_rest_there():
    """What is in flight is no checkpoint, nor is a position in the middle of a batch."""
    store = InMemoryCheckpointStorage(FakeClock())

    async def think(request: ChatRequest) -> str:
        await asyncio.Event().wait()
        return "too late"

    workflow = desk(store, [call("refund", order="A"), call("refund", order="B")], think)
    result = await workflow.run("Refund both.", session_id="s", to="orders")
    assert await ids(store) == ["s@6"]
    run = workflow.run(responses={result.requests[0].request_id: False, result.requests[1].request_id: False})
    async for event in run:
        if event.type == "tool_result":
            break
    assert await ids(store) == ["s@6"]


async def test_a_failed_turn_is_a_checkpoint():
    """A session that failed rests too: one may go back to it and have it tried again."""
    store = InMemoryCheckpointStorage(FakeClock())
    with pytest.raises(ModelError):
        await desk(store, RuntimeError("overloaded")).run("Hi.", session_id="s")
    assert await ids(store) == ["s@4"]
    await desk(store, "Hello.").run(session_id="s")
    branch = await desk(store, "Hello again.").run(checkpoint_id="s@4")
    assert branch.text == "Hello again."
    assert (await desk(store).session("s")).conversation[-1].text == "Hello."


async def test_a_journal_that_makes_no_sense_is_reported():
    """Nothing is skipped silently."""
    store = InMemoryCheckpointStorage()
    await store.append("s", [TurnEnded(7, "nobody")], after=0)
    with pytest.raises(DamagedJournal, match=r"session 's', entry 1 \(turn_ended\) does not follow"):
        await store.list_checkpoints()


# --- The newest: the session itself


async def test_the_newest_checkpoint_is_the_session_itself(tmp_path: Path):
    """After a restart, the way most programs use it: list, take the latest, see what waits, answer. Nothing is copied."""
    path = tmp_path / "desk.db"
    store = SqliteCheckpointStorage(path)
    await desk(store, call("refund", order="A")).run("Refund A.", session_id="s", to="orders")
    await store.aclose()

    store = SqliteCheckpointStorage(path)
    latest = (await store.list_checkpoints())[-1]
    workflow = desk(store, "Done.")
    run = workflow.run(checkpoint_id=latest.checkpoint_id)
    shown = [event for event in [each async for each in run] if isinstance(event, RequestInfoEvent)]
    assert [event.request_id for event in shown] == list(latest.requests) == ["s/r1"]
    assert isinstance(shown[0].data, FunctionApprovalRequestContent)
    assert await ids(store) == [latest.checkpoint_id]

    result = await workflow.run(responses={shown[0].request_id: shown[0].data.create_response(approved=True)})
    assert (run.session_id, result.session_id, result.text) == ("s", "s", "Done.")
    assert KEYS.pop() == "s/t1-s1-c0"
    assert [each.session_id for each in await store.sessions()] == ["s"]
    await store.aclose()


async def test_the_newest_checkpoint_takes_an_answer_or_a_message_at_once():
    """Nobody has to show the requests first."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    answered = await desk(store, "A-1 is late.").run(checkpoint_id="s@17", responses={"s/r2": "A-1."})
    newest = (await store.list_checkpoints("s"))[-1]
    said = await desk(store, "You are welcome.").run("Thanks.", checkpoint_id=newest.checkpoint_id, session_id="s")
    assert (answered.session_id, said.session_id) == ("s", "s")
    assert [message.text for message in said.conversation[-4:]] == [
        "A-1.",
        "A-1 is late.",
        "Thanks.",
        "You are welcome.",
    ]


async def test_somebody_who_was_faster_is_not_spoken_over():
    """Two go on from the newest checkpoint at once: one of them finds that it is the newest no more."""

    class Slow(InMemoryCheckpointStorage):
        async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
            await asyncio.sleep(0)
            return await super().read(session_id, after=after, upto=upto)

    store = Slow(FakeClock())
    await two_questions(store)
    workflow = desk(store, "A-1 is late.", "B-2 is lost.")
    results = await asyncio.gather(
        *(workflow.run(checkpoint_id="s@17", responses={"s/r2": each}) for each in ("A-1.", "B-2.")),
        return_exceptions=True,
    )
    assert isinstance(results[1], SequenceConflict)
    assert [message.text for message in (await workflow.session("s")).conversation[-2:]] == ["A-1.", "A-1 is late."]
    again = await workflow.run(checkpoint_id="s@17", responses={"s/r2": "B-2."})
    assert (again.session_id != "s", again.text) == (True, "B-2 is lost.")


# --- An older one: a branch


async def test_an_older_checkpoint_begins_a_branch():
    """What waited then waits again, in a session of its own that knows nothing of what came later."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    original = await store.read("s")
    workflow = desk(store, "We open at nine.")
    run = workflow.run(checkpoint_id="s@6")
    (asked,) = [event for event in [each async for each in run] if isinstance(event, RequestInfoEvent)]
    assert isinstance(asked.data, HandoffAgentUserRequest)
    assert asked.data.agent_response.text == "Hello."
    assert run.session_id.startswith("session-")
    assert (asked.session_id, asked.request_id) == (run.session_id, f"{run.session_id}/r1")

    result = await workflow.run(responses={asked.request_id: "When do you open?"})
    assert result.session_id == run.session_id
    assert [message.text for message in result.conversation] == [
        "Hi.",
        "Hello.",
        "When do you open?",
        "We open at nine.",
    ]
    assert await store.read("s") == original
    assert await ids(store, run.session_id) == [f"{run.session_id}@{seq}" for seq in (6, 7, 13)]


async def test_a_branch_is_answered_by_the_ids_of_its_checkpoint():
    """In one call, and in a branch of the name that is given; a tool has a key of its own there."""
    store = InMemoryCheckpointStorage(FakeClock())
    asking = desk(store, call("refund", order="A"), "Refused, then.")
    (request,) = (await asking.run("Refund A.", session_id="s", to="orders")).requests
    await asking.run(responses={request.request_id: False})
    (first, _) = await store.list_checkpoints("s")

    workflow = desk(store, "Done.")
    run = workflow.run(
        checkpoint_id=first.checkpoint_id, session_id="second thoughts", responses=dict.fromkeys(first.requests, True)
    )
    assert run.session_id == "second thoughts"
    assert (await run).text == "Done."
    assert KEYS.pop() == "second thoughts/t1-s1-c0"
    assert (await workflow.session("s")).conversation[-1].text == "Refused, then."


async def test_a_branch_takes_a_message():
    """What if the user had said something else?"""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    result = await desk(store, "At nine.").run("When do you open?", checkpoint_id="s@6")
    assert [message.text for message in result.conversation] == ["Hi.", "Hello.", "When do you open?", "At nine."]
    assert result.session_id != "s"


async def test_answers_to_what_a_branch_has_shown_go_to_that_branch():
    """Also if the checkpoint is named again: the ids say which conversation they were asked in."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    workflow = desk(store, "At nine.")
    (asked,) = (await workflow.run(checkpoint_id="s@6")).requests
    result = await workflow.run(checkpoint_id="s@6", responses={asked.request_id: "When do you open?"})
    assert result.session_id == asked.session_id
    assert len(await store.sessions()) == 2


async def test_a_finished_conversation_can_be_branched():
    """A checkpoint need not wait for anybody."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    await desk(store).run(responses={"s/r2": HandoffAgentUserRequest.terminate()})
    ended = (await store.list_checkpoints("s"))[-1]
    assert ended.requests == {}
    await desk(store, "Welcome back.").run("One more thing.", session_id="s")
    result = await desk(store).run(checkpoint_id=ended.checkpoint_id)
    assert (result.state, result.text) == (WorkflowRunState.IDLE, "")


async def test_the_original_may_be_at_work_meanwhile():
    """A tool can branch the very session that waits for it."""
    store = InMemoryCheckpointStorage(FakeClock())

    @tool
    async def what_if() -> str:
        """Try another way."""
        return (await desk(store, "Another way.").run("What if?", checkpoint_id="s@6")).text

    client = ScriptedClient("Hello.", call("what_if"), "So be it.")
    agent = client.as_agent("triage", tools=[what_if])
    workflow = (
        HandoffBuilder(name="desk", participants=[agent, Agent("orders", client=client)]).build().with_store(store)
    )
    await workflow.run("Hi.", session_id="s")
    result = await workflow.run("Think.", session_id="s")
    assert [each.content for message in result.messages for each in message.tool_results] == ["Another way."]


# --- What is refused


@pytest.mark.parametrize(
    "bad", ["", "s", "s@", "@6", 6, "s@six", "s@06", "s@0", "s@-1", "s@ 6", "s@6\n", "s@٦", f"s@{'9' * 5000}"]
)
async def test_what_is_no_checkpoint_is_refused_at_once(bad: str):
    """And the error says where to find one."""
    with pytest.raises(
        UsageError, match=r"is no checkpoint, which is SESSION@SEQ; storage\.list_checkpoints\(\) gives"
    ):
        desk(InMemoryCheckpointStorage()).run(checkpoint_id=bad)


async def test_a_position_that_does_not_exist_is_refused():
    """The error says which do."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    with pytest.raises(UsageError, match=r"session 's' has the facts 1 to 17; 18 is no position in it"):
        await desk(store).run(checkpoint_id="s@18")


async def test_a_checkpoint_of_an_unknown_session_is_not_found():
    """A typing error starts nothing."""
    store = InMemoryCheckpointStorage()
    with pytest.raises(SessionNotFound, match="no session 't' in this store, so no checkpoint 't@6'"):
        await desk(store).run("Hi.", checkpoint_id="t@6")
    assert await store.sessions() == []


@pytest.mark.parametrize("taken", ["s", "t"])
async def test_a_branch_does_not_begin_in_a_session_that_is_there(taken: str):
    """Neither the original, which went on, nor another one."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    await desk(store, "Yes?").run("Hi.", session_id="t")
    with pytest.raises(UsageError, match=f"there is a session '{taken}' already; choose another name"):
        await desk(store).run(checkpoint_id="s@6", session_id=taken)


async def test_a_wrong_call_begins_no_branch():
    """Wrong answers and another team are found before anything is written."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    with pytest.raises(RequestNotOpen, match="request 's/r2' is not waiting .* waiting in session 's': s/r1"):
        await desk(store).run(checkpoint_id="s@6", responses={"s/r2": "A-1."})
    with pytest.raises(UsageError, match="is answered with a str"):
        await desk(store).run(checkpoint_id="s@6", responses={"s/r1": True})
    with pytest.raises(UsageError, match="belongs to the team 'desk', not to 'other'"):
        await desk(store, name="other").run("Hi.", checkpoint_id="s@6")
    with pytest.raises(UsageError, match="all for one session"):
        desk(store).run(checkpoint_id="s@6", responses={"s/r1": "Hi.", "t/r1": "Hi."})
    with pytest.raises(SessionNotFound):
        await desk(store).run(checkpoint_id="s@6", responses={"t/r1": "Hi."})
    assert [each.session_id for each in await store.sessions()] == ["s"]


# --- Any position


async def test_the_state_at_any_position_is_what_it_was_then():
    """Also in the middle of a batch: who had the conversation, what was said, what waited."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    workflow = desk(store)
    shown = [await workflow.session("s", at=seq) for seq in range(1, 18)]
    assert [each.seq for each in shown] == [*range(1, 18)]
    assert [len(each.conversation) for each in shown] == [0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 5, 5, 5, 5, 6, 6, 6]
    assert [each.active_agent for each in shown] == [""] * 2 + ["triage"] * 11 + ["orders"] * 4
    assert [each.requests[0].request_id for each in shown if each.requests] == ["s/r1", "s/r2"]
    assert shown[-1] == await workflow.session("s")
    for at in (0, -1, 18):
        with pytest.raises(UsageError, match=f"has the facts 1 to 17; {at} is no position"):
            await workflow.session("s", at=at)
    with pytest.raises(SessionNotFound):
        await workflow.session("nobody", at=1)


async def test_a_run_goes_on_from_any_position():
    """Where a process might have died the branch goes on from there, and is resumed like a session that was cut off."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    original = await store.read("s")
    result = await desk(store, "You are with orders.").run(checkpoint_id="s@14")
    assert [message.text for message in result.conversation][-2:] == ["", "You are with orders."]
    assert result.conversation[-1].author_name == "orders"
    assert (await store.read(result.session_id))[:14] == original[:14]
    assert await store.read("s") == original


async def test_within_a_batch_a_branch_begins_at_the_last_position_where_the_session_stood():
    """Half a step was never taken: here the handoff is reported, and has yet to happen."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    found = [entry.fact.type for entry in (await store.read("s"))[8:14]]
    assert found == ["turn_started", "replied", "tool_returned", "turn_ended", "handoff_sent", "turn_started"]
    workflow = desk(store)
    for at, begins in ((9, 9), (10, 9), (11, 9), (12, 9), (13, 9), (14, 14)):
        branch = await workflow.fork("s", at=at)
        assert (await store.read(branch))[-1].fact == Forked("s", begins)
        assert (await workflow.session(branch)).state is WorkflowRunState.IN_PROGRESS
    result = await desk(store, "At nine.").run("When do you open?", checkpoint_id="s@12")
    assert [message.text for message in result.conversation[-3:]] == ["Where is it?", "When do you open?", "At nine."]


async def test_a_fork_is_a_branch_that_nobody_runs_yet():
    """It waits for what the original waits for, under request ids of its own."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    workflow = desk(store, "A-1 is late.")
    assert await workflow.fork("s", branch="t") == "t"
    view = await workflow.session("t")
    assert ([each.request_id for each in view.requests], view.seq) == (["t/r2"], 18)
    result = await workflow.run(responses={"t/r2": "A-1."})
    assert (result.session_id, result.text) == ("t", "A-1 is late.")
    assert (await workflow.session("s")).seq == 17
    with pytest.raises(UsageError, match="belongs to the team 'desk', not to 'other'"):
        await desk(store, name="other").fork("s")


async def test_a_running_program_notices_that_a_session_was_compacted():
    """What was forgotten is shown to no model, though this process knew it."""
    store = InMemoryCheckpointStorage(FakeClock())
    client = ScriptedClient("Hello.", "At nine.", "Bye.")
    workflow = HandoffBuilder(name="desk", participants=[client.as_agent("triage")]).with_checkpointing(store).build()
    await workflow.run("My name is Ann.", session_id="s")
    await workflow.run("When do you open?", session_id="s")
    await compact(store, "s", messages=1)
    result = await workflow.run("Thanks.", session_id="s")
    assert [message.text for message in client.requests[-1].messages] == ["When do you open?", "At nine.", "Thanks."]
    assert result.conversation[0].text == "When do you open?"


async def test_a_checkpoint_of_a_compacted_session_is_branched_and_resumed():
    """Its positions count on from what was forgotten."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    await compact(store, "s", messages=1)
    assert await ids(store, "s") == ["s@17"]
    workflow = desk(store, "At nine.", "A-1 is late.")
    older = await workflow.run("When do you open?", checkpoint_id="s@7")
    assert [message.text for message in older.conversation] == ["When do you open?", "At nine."]
    newest = await workflow.run(checkpoint_id="s@17", responses={"s/r2": "A-1."})
    assert (newest.session_id, newest.text) == ("s", "A-1 is late.")
    with pytest.raises(UsageError, match="has the facts 7 to 23; 3 is no position"):
        await workflow.run(checkpoint_id="s@3")
    with pytest.raises(UsageError, match="there is a session 's' already"):
        await workflow.run(checkpoint_id="s@7", session_id="s")


# --- Editing a message


async def test_a_message_is_edited_in_a_branch():
    """The first as well as any other: what was before it stands, what came after it does not."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    original = await store.read("s")
    run = desk(store, "At nine.").edit("s", 8, "When do you open?")
    events = [event async for event in run]
    result = await run
    assert [message.text for message in result.conversation] == ["Hi.", "Hello.", "When do you open?", "At nine."]
    assert {event.session_id for event in events} == {run.session_id} != {"s"}
    first = await desk(store, "Salut!").edit("s", 2, "Bonjour.", branch="français")
    assert [message.text for message in first.conversation] == ["Bonjour.", "Salut!"]
    assert first.session_id == "français"
    assert await store.read("s") == original


async def test_an_edited_message_goes_to_whom_it_went_and_finds_what_came_with_it():
    """To the agent that was named, with the values the team was told beside it."""
    store = InMemoryCheckpointStorage(FakeClock())
    await desk(store, "Which?").run("Where is it?", session_id="s", to="orders", state={"customer": "Ann"})
    (said,) = [entry for entry in await store.read("s") if entry.fact.type == "user_spoke"]
    assert said.seq == 3
    result = await desk(store, "Late.").edit("s", 3, "Where is A-1?")
    view = await desk(store).session(result.session_id)
    assert (view.active_agent, view.shared, result.text) == ("orders", {"customer": "Ann"}, "Late.")


async def test_only_a_message_of_the_user_can_be_edited():
    """The error says which there are; a message that says nothing is refused at once."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    workflow = desk(store)
    for seq in (1, 3, 9, 18, 0):
        with pytest.raises(UsageError, match=f"fact {seq} of session 's' is no message of the user's; .*: 2, 8"):
            await workflow.edit("s", seq, "Hello?")
    with pytest.raises(SessionNotFound):
        await workflow.edit("nobody", 2, "Hello?")
    with pytest.raises(UsageError, match="the message is empty"):
        workflow.edit("s", 2, " ")
    with pytest.raises(UsageError, match="there is a session 's' already"):
        await workflow.edit("s", 2, "Hello?", branch="s")
    assert [each.session_id for each in await store.sessions()] == ["s"]


async def test_an_edit_that_fails_can_be_run_again():
    """It is a run like any other: its branch stands at the last fact."""
    store = InMemoryCheckpointStorage(FakeClock())
    await two_questions(store)
    run = desk(store, RuntimeError("overloaded")).edit("s", 8, "When do you open?")
    with pytest.raises(ModelError):
        await run
    result = await desk(store, "At nine.").run(session_id=run.session_id)
    assert result.text == "At nine."
