"""A team at work, from the caller's side."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import pytest
from inline_snapshot import snapshot
from pydantic import AfterValidator

from relayline import (
    Agent,
    ChatClient,
    ChatRequest,
    ConditionError,
    FunctionApprovalRequestContent,
    HandoffAgentUserRequest,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    Media,
    Message,
    ModelError,
    ReplyInfo,
    RequestNotOpen,
    Run,
    RunClosed,
    SequenceConflict,
    SessionNotFound,
    StoreError,
    ToolCall,
    ToolContext,
    UsageError,
    Workflow,
    WorkflowEvent,
    WorkflowRunState,
    tool,
)
from relayline.agent import Chunk
from relayline.events import Entry, Fact
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.messages import Text
from relayline.testing import ScriptedClient, call, handoff_to

PAID: list[str] = []


@tool(approval_mode="always_require")
def refund(order: str, amount: int, context: ToolContext) -> str:
    """Pay money back."""
    PAID.append(context.idempotency_key)
    return f"refunded {amount} for {order}"


@tool(repeatable=True)
async def find(order: str) -> str:
    """Look an order up."""
    return f"{order} is on its way"


def desk(client: ChatClient, store: Store | None = None, **options: bool) -> Workflow:
    """Triage hands over to orders and back; orders has two tools."""
    triage = Agent("triage", "Route.", "First contact.", client=client)
    orders = Agent("orders", "Help.", "Orders and refunds.", tools=[find, refund], client=client)
    builder = HandoffBuilder(name="desk", participants=[triage, orders]).with_return_to_previous(
        options.get("sticky", True)
    )
    return builder.with_checkpointing(store or InMemoryCheckpointStorage()).build()


def kinds(events: list[WorkflowEvent]) -> list[str]:
    return [event.type if not event.executor_id else f"{event.type} {event.executor_id}" for event in events]


async def test_a_conversation_from_question_to_answer() -> None:
    """A message, a handoff with its reason, a tool and an answer that waits for the user, as numbered events."""
    client = ScriptedClient(
        {
            "triage": [["One moment. ", handoff_to("orders", reason="parcel")]],
            "orders": [call("find", order="A-1"), "It is coming."],
        }
    )
    events = [event async for event in desk(client).run("Where is A-1?", session_id="s", stream=True)]
    client.assert_done()
    assert kinds(events) == snapshot(
        [
            "started",
            "status",
            "session_started",
            "message",
            "executor_invoked triage",
            "message_delta triage",
            "message triage",
            "tool_result triage",
            "executor_completed triage",
            "handoff_sent triage",
            "executor_invoked orders",
            "message orders",
            "tool_call orders",
            "tool_result orders",
            "message_delta orders",
            "message orders",
            "executor_completed orders",
            "request_info orders",
            "status",
        ]
    )
    assert [event.seq for event in events if event.seq] == list(range(1, 15))
    handoff = next(event for event in events if event.type == "handoff_sent").data
    assert (handoff.source, handoff.target, handoff.reason) == ("triage", "orders", "parcel")
    asked = next(event for event in events if event.type == "request_info")
    assert isinstance(asked.data, HandoffAgentUserRequest)
    assert asked.data.agent_response.text == "It is coming."
    assert asked.source_executor_id == "orders"


async def test_awaiting_a_run_gives_its_result() -> None:
    """The words of this run, the whole conversation, where it stands and what it waits for."""
    workflow = desk(ScriptedClient("Hello.", "Bye."))
    first = await workflow.run("hi", session_id="s")
    second = await workflow.run("and?", session_id="s")
    assert (first.text, second.text) == ("Hello.", "Bye.")
    assert [message.text for message in second.messages] == ["and?", "Bye."]
    assert [message.text for message in second.conversation] == ["hi", "Hello.", "and?", "Bye."]
    assert second.state == WorkflowRunState.IDLE_WITH_PENDING_REQUESTS
    assert [event.request_id for event in second.requests] == ["s/r2"]


async def test_streamed_or_not_the_journal_is_the_same() -> None:
    """Deltas come and go; facts are facts."""
    written: list[object] = []
    for stream in (True, False):
        store = InMemoryCheckpointStorage()
        run = desk(ScriptedClient(handoff_to("orders"), ["It ", "is ", "late."]), store).run(
            "hi", session_id="s", stream=stream
        )
        deltas = [event.data async for event in run if event.type == "message_delta"]
        assert deltas == (["It ", "is ", "late."] if stream else [])
        written.append([entry.fact for entry in await store.read("s")])
    assert written[0] == written[1]


async def test_in_memory_and_on_disk_the_journal_is_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One conversation in two stores gives the same facts."""
    stores = [InMemoryCheckpointStorage(), SqliteCheckpointStorage(tmp_path_factory.mktemp("db") / "sessions.db")]
    written: list[object] = []
    for store in stores:
        workflow = desk(ScriptedClient(handoff_to("orders"), call("refund", order="A", amount=3), "Done."), store)
        result = await workflow.run("hi", session_id="s")
        await workflow.run(responses={result.requests[0].request_id: True})
        written.append([entry.fact for entry in await store.read("s")])
        await store.aclose()
    assert written[0] == written[1]


async def test_an_approval_is_asked_in_one_process_and_given_in_another(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The request id alone finds the session; the right agent goes on; the tool runs once, under a stable key."""
    path = tmp_path_factory.mktemp("db") / "sessions.db"
    PAID.clear()
    first = SqliteCheckpointStorage(path)
    client = ScriptedClient(
        {"triage": [handoff_to("orders")], "orders": [["Refunding. ", call("refund", order="A-1", amount=5)]]}
    )
    result = await desk(client, first).run("money back", session_id="s")
    [asked] = result.requests
    assert isinstance(asked.data, FunctionApprovalRequestContent)
    assert asked.data.function_call.name == "refund"
    assert asked.data.function_call.parse_arguments() == {"order": "A-1", "amount": 5}
    assert result.text == "Refunding. "
    await first.aclose()

    second = SqliteCheckpointStorage(path)
    client = ScriptedClient({"orders": ["You have your money."]})
    result = await desk(client, second).run(responses={asked.request_id: asked.data.create_response(approved=True)})
    assert result.text == "You have your money."
    assert PAID == ["s/t2-s1-c0"]
    await second.aclose()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (True, ("done", "refunded 500 for A-1")),
        (False, ("refused", "Not run: a person refused it.")),
        (
            FunctionApprovalRequestContent.create_response(approved=False, reason="ask first"),
            ("refused", "Not run: a person refused it. Reason: ask first"),
        ),
        (
            FunctionApprovalRequestContent.create_response(approved=True, arguments={"order": "A-1", "amount": 5}),
            ("done", "refunded 5 for A-1"),
        ),
    ],
)
async def test_what_a_person_decides_reaches_the_model(answer: object, outcome: tuple[str, str]) -> None:
    """Approval, refusal, a reason and edited arguments, each told to the model as it was."""
    client = ScriptedClient(handoff_to("orders"), call("refund", order="A-1", amount=500), "I see.")
    workflow = desk(client)
    result = await workflow.run("hi", session_id="s")
    await workflow.run(responses={result.requests[0].request_id: answer})
    [told] = client.requests[-1].messages[-1].tool_results
    assert (told.outcome, told.content) == outcome


async def test_edited_arguments_that_do_not_fit_leave_the_request_open() -> None:
    """A person's slip is reported to the person, and nothing has happened."""
    workflow = desk(ScriptedClient(handoff_to("orders"), call("refund", order="A-1", amount=500), "Done."))
    result = await workflow.run("hi", session_id="s")
    request = result.requests[0].request_id
    edited = FunctionApprovalRequestContent.create_response(approved=True, arguments={"order": "A-1", "amount": "lots"})
    with pytest.raises(UsageError, match=r"stays open\..*\s.*'amount'"):
        await workflow.run(responses={request: edited})
    assert [event.request_id for event in (await workflow.session("s")).requests] == [request]


async def test_arguments_are_checked_before_a_person_is_asked() -> None:
    """A call that could not run is the model's to repair, not a person's to approve."""
    client = ScriptedClient(handoff_to("orders"), call("refund", order="A-1", amount="much"), "Sorry.")
    result = await desk(client).run("hi")
    assert isinstance(result.requests[0].data, HandoffAgentUserRequest)
    [told] = client.requests[-1].messages[-1].tool_results
    assert told.outcome == "error"
    assert "'amount'" in told.content


async def test_a_tool_that_raises_is_a_result_the_model_can_read() -> None:
    """The kind of the exception and its message; the conversation goes on."""

    def burn() -> str:
        """Fail."""
        raise RuntimeError("no fuel \ud800")

    client = ScriptedClient(call("burn"), "Never mind.")
    workflow = HandoffBuilder(participants=[Agent("a", tools=[burn], client=client)]).build()
    result = await workflow.run("hi")
    [told] = client.requests[-1].messages[-1].tool_results
    assert (told.outcome, told.content) == ("error", "RuntimeError: no fuel ?")
    assert result.text == "Never mind."


async def test_parallel_calls_really_run_at_once() -> None:
    """Two tools of one reply meet; one after the other they would wait for ever."""
    meeting = asyncio.Barrier(2)

    async def wait_for_the_other() -> str:
        """Wait."""
        await meeting.wait()
        return "met"

    client = ScriptedClient([call("wait_for_the_other"), call("wait_for_the_other")], "Good.")
    workflow = HandoffBuilder(participants=[Agent("a", tools=[wait_for_the_other], client=client)]).build()
    assert (await workflow.run("hi")).text == "Good."


async def test_a_terminal_agent_ends_the_conversation_with_its_output() -> None:
    """`output` is the whole conversation, once; no request; a later message goes on."""
    client = ScriptedClient({"a": [handoff_to("b")], "b": ["The end.", "An encore."]})
    agents = [Agent("a", client=client), Agent("b", client=client)]
    workflow = HandoffBuilder(participants=agents).add_handoff("a", "b").build()
    events = [event async for event in workflow.run("hi", session_id="s")]
    [output] = [event for event in events if event.type == "output"]
    assert [message.text for message in output.data if message.role != "tool"] == ["hi", "", "The end."]
    assert events[-1].data == WorkflowRunState.IDLE
    assert (await workflow.run("more", session_id="s")).text == "An encore."


@pytest.mark.parametrize("sticky", [True, False])
async def test_where_a_follow_up_goes_is_a_setting(sticky: bool) -> None:
    """To whoever spoke last, or to the start agent, who sees all that was said."""
    client = ScriptedClient({"triage": [handoff_to("orders"), "Me again."], "orders": ["Which one?", "That one."]})
    workflow = desk(client, sticky=sticky)
    await workflow.run("hi", session_id="s")
    assert (await workflow.run("A-1", session_id="s")).text == ("That one." if sticky else "Me again.")
    assert [m.text for m in client.requests[-1].messages if m.role == "user" and not m.author_name] == ["hi", "A-1"]


@pytest.mark.parametrize("sync", [True, False])
async def test_a_termination_condition_sees_the_transcript_and_ends_it(sync: bool) -> None:
    """Plain or async; asked after the user and after the agent."""
    lengths: list[int] = []

    def over(conversation: object) -> bool:
        messages = list(conversation)  # type: ignore[call-overload]
        lengths.append(len(messages))
        return "bye" in messages[-1].text

    async def over_later(conversation: object) -> bool:
        return over(conversation)

    team = HandoffBuilder(participants=[Agent("a", client=ScriptedClient("Hello.", "Good bye."))])
    built = team.with_termination_condition(over if sync else over_later).build()
    await built.run("hi", session_id="s")
    events = [event async for event in built.run("go", session_id="s")]
    assert [event.type for event in events if event.type == "output"] == ["output"]
    assert lengths == [1, 2, 3, 4]


async def test_a_condition_that_raises_fails_this_run_only() -> None:
    """The error says so; once it is mended, the same session goes on where it stood."""
    broken = True

    def over(conversation: object) -> bool:
        if broken:
            raise ZeroDivisionError("oops")
        return False

    workflow = (
        HandoffBuilder(participants=[Agent("a", client=ScriptedClient("Hello."))])
        .with_termination_condition(over)
        .build()
    )
    with pytest.raises(ConditionError, match="the termination condition failed: oops"):
        await workflow.run("hi", session_id="s")
    broken = False
    assert (await workflow.run(session_id="s")).text == "Hello."


async def test_a_failed_model_is_reported_and_retried_without_losing_a_word() -> None:
    """Events say what failed, the run raises ours with theirs as the cause, and a retry answers the same message."""
    client = ScriptedClient(RuntimeError("overloaded"), "Hello again.")
    workflow = desk(client)
    seen: list[WorkflowEvent] = []
    with pytest.raises(ModelError, match=r"the model of 'triage' failed: RuntimeError: overloaded") as raised:
        async for event in workflow.run("hi", session_id="s"):
            seen.append(event)
    assert isinstance(raised.value.__cause__, RuntimeError)
    assert kinds(seen)[-3:] == ["executor_failed triage", "failed", "status"]
    assert (await workflow.session("s")).state == WorkflowRunState.FAILED
    assert (await workflow.run(session_id="s")).text == "Hello again."
    assert [message.text for message in client.requests[-1].messages] == ["hi"]


async def test_after_a_failure_a_new_message_works_as_well() -> None:
    """Both messages are there, once each."""
    client = ScriptedClient(RuntimeError("overloaded"), "Hello.")
    workflow = desk(client)
    with pytest.raises(ModelError):
        await workflow.run("hi", session_id="s")
    assert (await workflow.run("anyone?", session_id="s")).text == "Hello."
    assert [message.text for message in client.requests[-1].messages] == ["hi", "anyone?"]


class Slow(ChatClient):
    """Says a word, then waits until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.cancelled = 0

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        yield "Well"
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        yield ", hello."


async def _leave_by_break(run: Run) -> None:
    async for event in run:
        if event.type == "message_delta":
            break


async def _leave_by_closing(run: Run) -> None:
    async with run:
        events = aiter(run)
        while (await anext(events)).type != "message_delta":
            pass


async def _leave_by_cancelling(run: Run) -> None:
    reached = asyncio.Event()

    async def read() -> None:
        async for event in run:
            if event.type == "message_delta":
                reached.set()

    reader = asyncio.create_task(read())
    await reached.wait()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader


@pytest.mark.parametrize("leave", [_leave_by_break, _leave_by_closing, _leave_by_cancelling])
async def test_leaving_a_run_stops_the_model_and_harms_nothing(leave: Callable[[Run], Awaitable[None]]) -> None:
    """However a reader leaves: the call is cancelled, the session is whole, and a retry answers the same message."""
    slow = Slow()
    workflow = desk(slow)
    await leave(workflow.run("hi", session_id="s", stream=True))
    while not slow.cancelled:  # who just walks away is noticed by the event loop, a moment later
        await asyncio.sleep(0)
    slow.go.set()
    assert (await workflow.run(session_id="s")).text == "Well, hello."
    assert slow.cancelled == 1
    assert [message.text for message in (await workflow.session("s")).conversation] == ["hi", "Well, hello."]


async def test_a_message_after_an_abandoned_turn_is_heard_together_with_the_first() -> None:
    """Nothing the user said is lost or doubled."""
    slow = Slow()
    workflow = desk(slow)
    await _leave_by_break(workflow.run("hi", session_id="s", stream=True))
    result = await workflow.with_client(ScriptedClient("Both heard."), override=True).run(
        "still there?", session_id="s"
    )
    assert [message.text for message in result.conversation] == ["hi", "still there?", "Both heard."]


async def test_a_reader_that_is_slow_loses_nothing() -> None:
    """More events than the queue holds arrive in order; a short queue makes the model wait, not the memory grow."""
    words = [f"{number} " for number in range(3_000)]
    run = desk(ScriptedClient(words)).run("hi", stream=True)
    got: list[str] = []
    async for event in run:
        if event.type == "message_delta":
            got.append(event.data)
            await asyncio.sleep(0)
    assert got == words


async def test_many_sessions_at_once_do_not_meet() -> None:
    """A hundred conversations on one workflow: each hears its own words only."""

    class Echo(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            await asyncio.sleep(0)
            yield " ".join(message.text for message in request.messages)

    workflow = desk(Echo())
    for text in ("one", "two"):
        results = await asyncio.gather(*(workflow.run(f"{text}-{n}", session_id=f"s{n}") for n in range(100)))
    for number, result in enumerate(results):
        assert result.text == f"one-{number} one-{number} two-{number}"


async def test_two_messages_to_one_session_queue() -> None:
    """The second run of a session waits for the first; both are answered in order."""
    client = ScriptedClient("First.", "Second.")
    workflow = desk(client)
    first, second = await asyncio.gather(workflow.run("one", session_id="s"), workflow.run("two", session_id="s"))
    assert (first.text, second.text) == ("First.", "Second.")


async def test_two_workflows_on_one_store_cannot_both_write() -> None:
    """As two processes would: one wins, the other is told, and nothing is lost."""
    store, slow = InMemoryCheckpointStorage(), Slow()
    async with desk(slow, store).run("hi", session_id="s", stream=True) as run:
        events = aiter(run)
        while (await anext(events)).type != "message_delta":
            pass
        await desk(ScriptedClient("I was faster."), store).run("hello?", session_id="s")
        slow.go.set()
        with pytest.raises(SequenceConflict):
            await run
    assert [m.text for m in (await desk(slow, store).session("s")).conversation] == ["hi", "hello?", "I was faster."]


class Disk(InMemoryCheckpointStorage):
    """A store with room for a number of facts."""

    room = 3

    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        if after + len(facts) > self.room:
            raise StoreError("no space left on device")
        return await super().append(session_id, facts, after=after)


async def test_a_store_that_fails_stops_the_run_and_shows_nothing_it_did_not_keep() -> None:
    """No event of a batch that was not written; when there is room again the session goes on."""
    store = Disk()
    workflow = desk(ScriptedClient("Hello.", "Hello."), store)
    seen: list[WorkflowEvent] = []
    with pytest.raises(StoreError, match="no space"):
        async for event in workflow.run("hi", session_id="s"):
            seen.append(event)
    assert [event.type for event in seen if event.seq] == ["session_started", "message", "executor_invoked"]
    assert [event.type for event in seen[-2:]] == ["failed", "status"]
    store.room = 99
    assert (await workflow.run(session_id="s")).text == "Hello."


async def test_a_tool_cut_off_by_a_crash_is_not_run_again_unasked() -> None:
    """The person is asked what became of it: told, the model goes on; else it runs under the same key."""
    store = InMemoryCheckpointStorage()
    runs: list[str] = []
    hang = asyncio.Event()

    @tool
    async def send(context: ToolContext) -> str:
        """Send it."""
        runs.append(context.idempotency_key)
        if len(runs) == 1:
            await hang.wait()
        return "sent"

    def team(*replies: object) -> Workflow:
        agent = Agent("a", tools=[send], client=ScriptedClient(*replies))  # type: ignore[arg-type]
        return HandoffBuilder(participants=[agent]).with_checkpointing(store).build()

    async for event in team(call("send")).run("go", session_id="s"):
        if event.type == "tool_call":
            break
    result = await team().run(session_id="s")
    [asked] = result.requests
    assert isinstance(asked.data, InterruptedCallRequest)
    assert asked.data.function_call.name == "send"
    assert len(runs) <= 1
    result = await team("All done.").run(responses={asked.request_id: asked.data.run_again()})
    assert result.text == "All done."
    assert set(runs) == {"s/t1-s1-c0"}


async def test_resuming_shows_again_what_is_pending_and_calls_no_model() -> None:
    """The same question under the same id."""
    workflow = desk(ScriptedClient("Which order?"))
    first = await workflow.run("hi", session_id="s")
    events = [event async for event in workflow.run(session_id="s")]
    assert [(e.request_id, e.data) for e in events if e.type == "request_info"] == [
        (e.request_id, e.data) for e in first.requests
    ]
    assert not [event for event in events if event.seq]


@pytest.mark.parametrize(
    "answer", ["A-1", Message("user", (Text("A-1"),)), ["A-1"], HandoffAgentUserRequest.create_response("A-1")]
)
async def test_anything_unambiguous_answers_a_question(answer: object) -> None:
    """A string, a message, a list of them, or what create_response gives."""
    client = ScriptedClient("Which order?", "Found.")
    workflow = desk(client)
    result = await workflow.run("hi", session_id="s")
    assert (await workflow.run(responses={result.requests[0].request_id: answer})).text == "Found."
    assert client.requests[-1].messages[-1].text == "A-1"


async def test_terminate_ends_a_conversation() -> None:
    """The output comes, and no model is called."""
    workflow = desk(ScriptedClient("Which order?"))
    result = await workflow.run("hi", session_id="s")
    events = [
        e async for e in workflow.run(responses={result.requests[0].request_id: HandoffAgentUserRequest.terminate()})
    ]
    assert events[-1].data == WorkflowRunState.IDLE
    assert [event.type for event in events if event.type == "output"]


async def test_an_answer_to_what_is_not_asked_is_refused() -> None:
    """Unknown, already answered, of the wrong kind, or of two sessions: a sentence, and nothing has changed."""
    workflow = desk(ScriptedClient("Which order?", "Found."))
    result = await workflow.run("hi", session_id="s")
    request = result.requests[0].request_id
    with pytest.raises(UsageError, match="request 'r1' is answered with a str"):
        await workflow.run(responses={request: True})
    with pytest.raises(UsageError, match="all for one session"):
        workflow.run(responses={request: "a", "other/r1": "b"})
    with pytest.raises(SessionNotFound, match="no session 'nobody'"):
        await workflow.run(responses={"nobody/r1": "a"})
    await workflow.run(responses={request: "A-1"})
    with pytest.raises(RequestNotOpen, match="'s/r1' is not waiting.*s/r2"):
        await workflow.run(responses={request: "again"})


def test_a_call_that_makes_no_sense_is_refused_at_once() -> None:
    """Before anything is awaited, with what to do instead."""
    workflow = desk(ScriptedClient())
    with pytest.raises(UsageError, match="nothing to do"):
        workflow.run()
    with pytest.raises(UsageError, match="not both"):
        workflow.run("hi", responses={"s/r1": True})
    with pytest.raises(UsageError, match="the message is empty"):
        workflow.run("  \n")
    with pytest.raises(UsageError, match="not valid Unicode"):
        workflow.run("broken \ud800")
    with pytest.raises(UsageError, match="role 'user'"):
        workflow.run(Message("assistant", (Text("I am you"),)))
    with pytest.raises(UsageError, match="without control characters"):
        workflow.run("hi", session_id="a\nb")
    with pytest.raises(UsageError, match="by request id"):
        workflow.run(responses={5: True})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="str or a Message"):
        workflow.run(42)  # type: ignore[arg-type]


async def test_an_unknown_session_is_named() -> None:
    """Looking at it or resuming it does not make it, and does not tell which others there are."""
    workflow = desk(ScriptedClient("Hello."))
    await workflow.run("hi", session_id="mine")
    with pytest.raises(SessionNotFound, match="no session 'yours' in this store; give a message"):
        await workflow.run(session_id="yours")
    with pytest.raises(SessionNotFound):
        await workflow.session("yours")


async def test_an_agent_without_a_model_says_how_to_give_it_one() -> None:
    """The team builds; running it names the agent and the two ways."""
    workflow = HandoffBuilder(participants=[Agent("a")]).build()
    with pytest.raises(UsageError, match=r"no model for 'a'.*with_client"):
        workflow.run("hi")
    assert (await workflow.with_client(ScriptedClient("Hello.")).run("hi")).text == "Hello."


async def test_what_a_model_says_beside_its_words_is_kept() -> None:
    """Model, tokens and metadata are in the journal; metadata is with the message."""
    from relayline.events import Replied

    store = InMemoryCheckpointStorage()
    client = ScriptedClient([ReplyInfo("m", 10), "Hi.", ReplyInfo(output_tokens=2, metadata={"score": 0.5})])
    result = await desk(client, store).run("hi", session_id="s")
    [replied] = [entry.fact for entry in await store.read("s") if isinstance(entry.fact, Replied)]
    assert (replied.model, replied.input_tokens, replied.output_tokens) == ("m", 10, 2)
    assert result.messages[-1].metadata == {"score": 0.5}


async def test_tools_are_offered_in_declared_order_before_the_handoffs() -> None:
    """The same request every time, with each edge's description, then the target's own."""
    client = ScriptedClient({"a": ["Hi."]})
    agents = [
        Agent("a", tools=[find, refund], client=client),
        Agent("b", description="Bees."),
        Agent("c", examples=["sea"]),
    ]
    workflow = (
        HandoffBuilder(participants=agents).add_handoff("a", "c", description="Swim.").add_handoff("a", "b").build()
    )
    await workflow.with_client(client).run("hi")
    assert [(spec.name, spec.description, spec.target) for spec in client.requests[0].tools] == snapshot(
        [
            ("find", "Look an order up.", ""),
            ("refund", "Pay money back.", ""),
            ("handoff_to_c", "Hand the conversation over to c: Swim.", "c"),
            ("handoff_to_b", "Hand the conversation over to b: Bees.", "b"),
        ]
    )


class Raising(ChatClient):
    """Raises what it is given, where only exceptions are expected."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        raise self.error
        yield ""


class Strange(BaseException):
    """What some test runners raise."""


async def test_a_cancellation_that_comes_out_of_a_client_is_a_failure_like_any_other() -> None:
    """A library that cancels something of its own must not hang or cancel the run."""
    with pytest.raises(ModelError, match="CancelledError"):
        await desk(Raising(asyncio.CancelledError())).run("hi")


async def test_a_cancellation_that_comes_out_of_a_tool_is_a_result() -> None:
    """The model reads it as an error."""

    async def cancelled() -> str:
        """Wait for something that was cancelled."""
        task = asyncio.create_task(asyncio.sleep(9))
        task.cancel()
        await task
        return "never"

    client = ScriptedClient(call("cancelled"), "I see.")
    result = await HandoffBuilder(participants=[Agent("a", tools=[cancelled], client=client)]).build().run("hi")
    assert result.text == "I see."
    assert client.requests[-1].messages[-1].tool_results[0].outcome == "error"


async def test_what_is_no_exception_at_all_goes_through() -> None:
    """It ends the run and reaches whoever runs it; nothing hangs."""
    with pytest.raises(Strange):
        await desk(Raising(Strange())).run("hi")


@pytest.mark.parametrize("name", ["bad name!", "", "x" * 100, "handoff to orders", "find "])
async def test_a_name_no_provider_would_take_back_is_repaired_before_it_is_kept(name: str) -> None:
    """The model is told what it wrote; what it is shown again passes strict providers; nothing ran or moved."""
    client = ScriptedClient(ToolCall("1", name, "{}"), "Sorry.")
    result = await desk(client).run("hi", session_id="s")
    client.assert_done()
    [told] = client.requests[-1].messages[-1].tool_results
    assert told.outcome == "error"
    assert result.text == "Sorry."


async def test_half_characters_of_a_model_are_kept_as_question_marks() -> None:
    """In words, names, arguments and reasons: a run does not fail for them."""
    client = ScriptedClient(
        ["Hm \ud800", ToolCall("1", "handoff_to_orders", '{"reason": "\\ud800!"}')],
        ToolCall("1", "fi\udfffnd", "\ud800"),
        "Well.",
    )
    result = await desk(client).run("hi")
    assert [m.text for m in result.messages if m.role == "assistant"] == ["Hm ?", "", "Well."]
    assert "Reason: ?!" in client.requests[1].messages[-1].text


async def test_a_reply_with_metadata_no_journal_can_keep_fails_by_name() -> None:
    """The client is to blame, and the error says so."""
    client = ScriptedClient(["Hi", ReplyInfo(metadata={"score": float("nan")})])
    with pytest.raises(ModelError, match="'triage' failed: ValueError: nan is not a JSON number"):
        await desk(client).run("hi")


async def test_arguments_nested_without_end_are_an_error_result() -> None:
    """For a handoff as for a tool."""
    client = ScriptedClient(
        [ToolCall("1", "handoff_to_orders", "[" * 100_000)],
        [ToolCall("1", "handoff_to_orders", "{}")],
        [ToolCall("1", "find", "[" * 100_000)],
        "Well.",
    )
    assert (await desk(client).run("hi")).text == "Well."


def test_a_message_that_pretends_to_hold_calls_or_odd_metadata_is_refused() -> None:
    """Only text and media come from users."""
    workflow = desk(ScriptedClient())
    with pytest.raises(UsageError, match="holds text"):
        workflow.run(Message("user", (Text("x"), ToolCall("1", "find"))))
    with pytest.raises(UsageError, match="cannot be shown to a model: the data is not base64"):
        workflow.run(Message("user", (Text("x"), Media("image/png", data="?"))))
    with pytest.raises(UsageError, match="not valid Unicode"):
        workflow.run(Message("user", (Media("image/png", data="AA==", name="\ud800"),)))
    with pytest.raises(UsageError, match="metadata cannot be kept"):
        workflow.run(Message("user", (Text("x"),), metadata={"at": object()}))  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="not valid Unicode"):
        workflow.run(Message("user", (Text("x"),), "\ud800"))


async def test_users_show_images_with_words_and_without() -> None:
    """The model is given them where they stand, also in an answer, and after a handoff so is the colleague."""
    photo = Media.from_bytes(b"png", "image/png", "bike.png")
    client = ScriptedClient({"triage": ["And the bill?", handoff_to("orders")], "orders": ["I see both."]})
    workflow = desk(client)
    first = Message("user", (Text("This."), photo))
    asked = (await workflow.run(first, session_id="s")).requests[0]
    await workflow.run(responses={asked.request_id: Message("user", (photo,))})
    assert [each.media for each in client.requests[-1].messages if each.media] == [(photo,), (photo,)]
    assert client.requests[0].messages == (first,)
    client.assert_done()


async def test_a_caller_may_say_who_takes_a_message() -> None:
    """By name or by itself, for this message; from there the conversation goes on as usual."""
    client = ScriptedClient({"triage": ["Hello."], "orders": ["Orders here.", "Still here."]})
    workflow = desk(client)
    await workflow.run("hi", session_id="s")
    assert (await workflow.run("orders, please", session_id="s", to="orders")).text == "Orders here."
    assert (await workflow.run("and?", session_id="s")).text == "Still here."
    with pytest.raises(UsageError, match="no agent 'nobody'.*there are: triage, orders"):
        workflow.run("hi", to="nobody")
    with pytest.raises(UsageError, match="only be given a message"):
        workflow.run(session_id="s", to="orders")


async def test_a_run_may_be_awaited_by_many() -> None:
    """All get the same result, at once or later."""
    run = desk(ScriptedClient("Hello.")).run("hi")
    first, second = await asyncio.gather(_result(run), _result(run))
    assert first is second
    assert await run is first


async def _result(run: Run) -> object:
    return await run


async def test_a_run_is_iterated_once() -> None:
    """A second reader would miss what the first one got, and is told so."""
    run = desk(ScriptedClient("Hello.")).run("hi")
    assert [event async for event in run]
    with pytest.raises(UsageError, match="iterated once"):
        async for _ in run:
            pass


async def test_a_reader_of_a_run_that_is_stopped_by_somebody_else_just_ends() -> None:
    """Nobody cancelled the reader; who wants the result is told that there is none."""
    slow = Slow()
    run = desk(slow).run("hi", stream=True)
    started = asyncio.Event()

    async def read() -> str:
        async for event in run:
            if event.type == "message_delta":
                started.set()
        return "ended"

    reader = asyncio.create_task(read())
    await started.wait()
    await run.aclose()
    assert await reader == "ended"
    with pytest.raises(RunClosed):
        await run


async def test_a_run_that_was_closed_before_it_began_never_does() -> None:
    """No model is called, nothing is written."""
    workflow = desk(ScriptedClient())
    run = workflow.run("hi", session_id="s")
    await run.aclose()
    with pytest.raises(RunClosed):
        await run
    with pytest.raises(SessionNotFound):
        await workflow.session("s")


async def test_a_clients_generator_is_closed_in_the_task_that_ran_it() -> None:
    """Wherever the reply is given up: what it opened is closed in order, at once."""
    closed: list[object] = []

    class Careful(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            task = asyncio.current_task()
            try:
                yield "Hm."
                yield 7  # type: ignore[misc]
            finally:
                closed.append(asyncio.current_task() is task)

    with pytest.raises(ModelError, match="yields str, ToolCall or ReplyInfo; got 7"):
        await desk(Careful()).run("hi")
    assert closed == [True]


@pytest.mark.parametrize(
    "odd",
    [
        ReplyInfo(input_tokens=1.5),
        ReplyInfo(output_tokens=-1),
        ReplyInfo(model=None),
        ToolCall("1", "find", {"a": 1}),
        ToolCall(["x"], "find"),
        b"bytes",
    ],
)  # type: ignore[arg-type]
async def test_what_a_client_must_not_yield_fails_before_it_is_kept(odd: object) -> None:
    """The error names it, and the session can be read and retried."""

    class Odd(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            yield odd  # type: ignore[misc]

    workflow = desk(Odd())
    with pytest.raises(ModelError, match="TypeError"):
        await workflow.run("hi", session_id="s")
    assert (await workflow.with_client(ScriptedClient("Fine."), override=True).run(session_id="s")).text == "Fine."


async def test_a_tool_cannot_run_the_session_it_is_called_in() -> None:
    """It would wait for itself; the model reads why, and another session is no trouble."""

    @tool
    async def ask(session: str) -> str:
        """Ask."""
        return (await workflow.run("inner", session_id=session)).text

    client = ScriptedClient(call("ask", session="s"), call("ask", session="other"), "Inner.", "Done.")
    workflow = HandoffBuilder(participants=[Agent("a", tools=[ask], client=client)]).build()
    assert (await workflow.run("hi", session_id="s")).text == "Done."
    told = [m.tool_results[0] for m in client.requests[-1].messages if m.role == "tool"]
    assert [each.outcome for each in told] == ["error", "done"]
    assert "waiting for this very call" in told[0].content


async def test_copies_of_a_workflow_queue_as_one() -> None:
    """A client per request is a common way to serve; nobody's turn is thrown away."""
    base = desk(ScriptedClient())
    runs = [base.with_client(ScriptedClient("Yes."), override=True).run(f"m{n}", session_id="s") for n in range(3)]
    assert [result.text for result in await asyncio.gather(*(_result(run) for run in runs))] == ["Yes."] * 3  # type: ignore[attr-defined]


async def test_two_teams_do_not_share_a_session_by_accident() -> None:
    """A session belongs to the team that began it, by the team's name."""
    store = InMemoryCheckpointStorage()
    for name in ("hr", "sales"):
        agents = [Agent("a", client=ScriptedClient("Noted."))]
        workflow = HandoffBuilder(name=name, participants=agents).with_checkpointing(store).build()
        if name == "hr":
            await workflow.run("secret", session_id="user-7")
        else:
            with pytest.raises(UsageError, match="belongs to the team 'hr', not to 'sales'"):
                await workflow.run("hi", session_id="user-7")


async def test_what_a_tool_did_is_kept_though_somebody_else_took_the_session_up() -> None:
    """The slow tool's result settles the question that its absence raised."""
    store = InMemoryCheckpointStorage()
    entered, go = asyncio.Event(), asyncio.Event()

    @tool
    async def book() -> str:
        """Book it."""
        entered.set()
        await go.wait()
        return "booked"

    def team(*replies: object) -> Workflow:
        agents = [Agent("a", tools=[book], client=ScriptedClient(*replies))]  # type: ignore[arg-type]
        return HandoffBuilder(participants=agents).with_checkpointing(store).build()

    slow = asyncio.create_task(_result(team(call("book")).run("go", session_id="s")))
    await entered.wait()
    [asked] = (await team().run(session_id="s")).requests
    assert isinstance(asked.data, InterruptedCallRequest)
    go.set()
    with pytest.raises(SequenceConflict):
        await slow
    result = await team("All done.").run(session_id="s")
    assert result.text == "All done."
    assert [r.content for m in result.conversation for r in m.tool_results] == ["booked"]


def test_one_workflow_serves_several_event_loops() -> None:
    """Threads with loops of their own, as some web servers have them, and one session: one is first, the others are told."""
    workflow = desk(ScriptedClient(*["Hello."] * 4, delay=0.01))

    def serve(number: int) -> str:
        try:
            return asyncio.run(_text(workflow, f"m{number}"))
        except SequenceConflict:
            return "conflict"

    async def _text(workflow: Workflow, message: str) -> str:
        return (await workflow.run(message, session_id="s")).text

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(serve, range(4)))
    assert "Hello." in answers
    assert set(answers) <= {"Hello.", "conflict"}


async def test_a_validator_that_raises_is_told_to_the_model() -> None:
    """It is the call that fails, not the run."""

    def known(value: str) -> str:
        raise KeyError(value)

    def check(x: Annotated[str, AfterValidator(known)]) -> str:
        """Check."""
        return x

    client = ScriptedClient(call("check", x="a"), "I see.")
    workflow = HandoffBuilder(participants=[Agent("a", tools=[check], client=client)]).build()
    assert (await workflow.run("hi")).text == "I see."


async def test_a_model_that_only_calls_tools_is_stopped() -> None:
    """A turn has a hundred replies; then the user has the conversation."""

    class Eager(ChatClient):
        calls = 0

        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            self.calls += 1
            yield ToolCall("1", "find", '{"order": "A"}')

    eager = Eager()
    workflow = HandoffBuilder(participants=[Agent("a", tools=[find], client=eager)]).build()
    events = [event async for event in workflow.run("hi")]
    assert [event.data.code for event in events if event.type == "warning"] == ["step_limit"]
    assert eager.calls == 100


def test_what_a_message_is_made_of_does_not_change_later() -> None:
    """A list that goes on growing is copied."""
    parts = [Text("a")]
    message = Message("user", parts)  # type: ignore[arg-type]
    parts.append(Text("b"))
    assert message.text == "a"


async def test_a_turn_calls_no_more_functions_than_it_did():
    """What a conversation with a handoff costs is in benchmarks/README.md, and grows by somebody's decision."""
    client = ScriptedClient(*[handoff_to("bob"), "Hello."] * 4)
    agents = [Agent("ann", client=client), Agent("bob", client=client)]
    team = HandoffBuilder(participants=agents).build()
    counts: list[int] = []

    def count(frame: object, event: str, argument: object) -> None:
        counts[-1] += event == "call"

    for _ in range(4):
        counts.append(0)
        sys.setprofile(count)
        try:
            await team.run("Hi.")
        finally:
            sys.setprofile(None)
    assert min(counts) <= 1_030, counts
