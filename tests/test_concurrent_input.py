"""Several messages to one session at once, and many sessions on one workflow."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from relayline import (
    Agent,
    BuildError,
    ChatClient,
    ChatRequest,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    RunClosed,
    RunResult,
    SequenceConflict,
    SessionBusy,
    ToolCall,
    ToolContext,
    UsageError,
    Workflow,
    tool,
)
from relayline.agent import Chunk
from relayline.events import Entry, Fact, ToolReturned, UserSpoke, Warned
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.machine.fold import fold
from relayline.machine.view import view
from relayline.runtime.pool import ConcurrentInput, Sessions
from relayline.testing import Reply, ScriptedClient, assert_replays, call
from relayline.testing.requests import check_messages


class Gate:
    """Somebody waits inside, until they are let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go = asyncio.Event()

    async def wait(self) -> None:
        self.entered.set()
        await self.go.wait()


def slowly(gate: Gate, words: Reply = "At last.") -> Callable[[ChatRequest], Awaitable[Any]]:
    async def reply(request: ChatRequest) -> Any:
        await gate.wait()
        return words

    return reply


def team(policy: ConcurrentInput, *replies: Reply, store: Store | None = None, tools: Any = ()) -> Workflow:
    agent = ScriptedClient(*replies).as_agent("desk", tools=tools)
    builder = HandoffBuilder(name="desk", participants=[agent]).with_checkpointing(store or InMemoryCheckpointStorage())
    return builder.with_concurrent_input(policy).build()


async def say(workflow: Workflow, message: str | None = None, **given: Any) -> RunResult:
    return await workflow.run(message, session_id=given.pop("session_id", "s"), **given)


async def heard(workflow: Workflow) -> list[str]:
    return [message.text for message in (await workflow.session("s")).conversation]


# --- Queue


async def test_a_message_waits_its_turn():
    """The default: each is answered in the order they came, and none knows of the others."""
    gate = Gate()
    workflow = team("queue", slowly(gate), "Two.", "Three.")
    runs = [asyncio.create_task(say(workflow, each)) for each in ("one", "two", "three")]
    await gate.entered.wait()
    gate.go.set()
    await asyncio.gather(*runs)
    assert await heard(workflow) == ["one", "At last.", "two", "Two.", "three", "Three."]


# --- Reject


async def test_a_message_may_be_refused_at_once():
    """Nothing of it is written, the one at work is not touched, and later it may be said again."""
    gate = Gate()
    workflow = team("reject", slowly(gate), "Two.")
    first = asyncio.create_task(say(workflow, "one"))
    await gate.entered.wait()
    before = await workflow.store.read("s")
    with pytest.raises(SessionBusy, match="session 's' is at work on something else"):
        await say(workflow, "two")
    assert await workflow.store.read("s") == before
    gate.go.set()
    assert (await first).text == "At last."
    assert (await say(workflow, "two")).text == "Two."


async def test_another_session_is_never_busy_with_this_one():
    """It is about one session."""
    gate = Gate()
    workflow = team("reject", slowly(gate), "Hello.")
    first = asyncio.create_task(say(workflow, "one"))
    await gate.entered.wait()
    assert (await say(workflow, "hi", session_id="t")).text == "Hello."
    gate.go.set()
    await first


@pytest.mark.parametrize("policy", ["queue", "reject", "interrupt"])
async def test_answers_and_resumptions_always_wait(policy: ConcurrentInput):
    """What was asked was asked of somebody: their answer is neither refused nor does it cut off who is at work."""
    gate, store = Gate(), InMemoryCheckpointStorage()

    @tool(approval_mode="always_require")
    def pay(order: str) -> str:
        """Pay."""
        return f"paid {order}"

    @tool
    async def look(order: str) -> str:
        """Look."""
        await gate.wait()
        return "looked"

    replies: Reply = [call("look", order="A"), call("pay", order="A")]
    workflow = team(policy, replies, "Done.", store=store, tools=[look, pay])
    first = asyncio.create_task(say(workflow, "Pay A."))
    await gate.entered.wait()
    answer = asyncio.create_task(say(workflow, responses={"s/r1": True}))
    resumed = asyncio.create_task(say(workflow))
    await asyncio.sleep(0)
    gate.go.set()
    results = await asyncio.gather(first, answer, resumed)
    assert [each.content for message in results[1].conversation for each in message.tool_results] == [
        "looked",
        "paid A",
    ]
    assert results[1].text == "Done."


async def test_who_queues_is_before_who_comes_later():
    """Also in the moment between the end of one run and the beginning of the next."""
    workflow = team("reject")
    pool = Sessions(workflow.store)

    async def hold() -> None:
        async with pool.hold("s", workflow.machine):
            pass

    outside = copy_context()  # in which nobody holds anything
    async with pool.hold("s", workflow.machine):
        waiting = asyncio.create_task(hold(), context=outside)
        await asyncio.sleep(0)
    with pytest.raises(SessionBusy):
        async with pool.hold("s", workflow.machine, "reject"):
            pass
    await waiting


# --- Interrupt


async def test_a_message_may_cut_off_what_goes_on():
    """The run before it says why it ends; both messages are heard, and the model that was cut off said nothing."""
    gate = Gate()
    workflow = team("interrupt", slowly(gate), "The other, then.")
    first = asyncio.create_task(say(workflow, "This one."))
    await gate.entered.wait()
    assert (await say(workflow, "No, the other.")).text == "The other, then."
    with pytest.raises(RunClosed, match="this run of session 's' was interrupted by a newer message"):
        await first
    assert await heard(workflow) == ["This one.", "No, the other.", "The other, then."]


async def test_what_a_tool_did_that_was_cut_off_is_not_known():
    """Neither done nor failed: its model is told that nobody knows."""
    gate = Gate()

    @tool
    async def ship(order: str) -> str:
        """Ship."""
        await gate.wait()
        return "shipped"

    workflow = team("interrupt", call("ship", order="A"), "I will find out.", tools=[ship])
    first = asyncio.create_task(say(workflow, "Ship A."))
    await gate.entered.wait()
    result = await say(workflow, "No, wait.")
    assert [(r.outcome, r.name) for m in result.conversation for r in m.tool_results] == [("unknown", "ship")]
    with pytest.raises(RunClosed):
        await first


class GivesWay(InMemoryCheckpointStorage):
    """A store that takes a moment for everything, as one on a disk does."""

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        await asyncio.sleep(0)
        return await super().read(session_id, after=after, upto=upto)

    async def append(self, session_id: str, facts: Any, *, after: int) -> list[Entry]:
        await asyncio.sleep(0)
        return await super().append(session_id, facts, after=after)


async def test_of_many_messages_at_once_all_are_on_record_and_the_last_is_answered():
    """A run is only cut off once its own message is kept, however fast they come."""
    gate = Gate()
    replies = [slowly(gate) for _ in range(20)]
    workflow = team("interrupt", *replies[:-1], "All heard.", *replies[-1:], store=GivesWay())
    runs = [asyncio.create_task(say(workflow, f"m{number}")) for number in range(20)]
    results = await asyncio.gather(*runs, return_exceptions=True)
    said = [text for text in await heard(workflow) if text.startswith("m")]
    assert said == [f"m{number}" for number in range(20)]
    assert [type(each) for each in results[:-1]] == [RunClosed] * 19
    assert isinstance(results[-1], RunResult)
    assert_replays(await workflow.store.read("s"))


async def test_an_answer_is_kept_before_it_is_cut_off():
    """A message that comes together with an approval finds it given, and the tool begun."""

    @tool(approval_mode="always_require")
    async def pay(order: str) -> str:
        """Pay."""
        await asyncio.Event().wait()
        return "paid"

    workflow = team("interrupt", call("pay", order="A"), "Hello.", tools=[pay])
    await say(workflow, "Pay A.")
    answered, said = await asyncio.gather(
        say(workflow, responses={"s/r1": True}), say(workflow, "Are you there?"), return_exceptions=True
    )
    assert isinstance(answered, RunClosed)
    assert isinstance(said, RunResult)
    assert [(r.outcome, r.name) for m in said.conversation for r in m.tool_results] == [("unknown", "pay")]


async def test_a_run_that_is_done_has_its_result_though_a_message_came():
    """Between its last step and its end nothing is left to be cut off, and whoever ran it is not cancelled later."""
    workflow = team("interrupt")
    async with Sessions(workflow.store).hold("s", workflow.machine) as hold:
        hold.begun()
        hold.interrupt()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()


async def test_who_is_cancelled_and_interrupted_is_cancelled():
    """A cancellation from outside is one, whatever else there was."""
    workflow, gate = team("interrupt"), Gate()

    async def hold() -> None:
        async with Sessions(workflow.store).hold("s", workflow.machine) as hold:
            hold.begun()
            hold.interrupt()
            task.cancel()
            await gate.wait()

    task = asyncio.create_task(hold())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_tool_does_not_interrupt_the_session_it_is_called_in():
    """It would cut itself off; it gets an error, as under every policy."""

    @tool
    async def speak() -> str:
        """Speak."""
        await say(workflow, "And another thing.")
        return "spoken"

    workflow = team("interrupt", call("speak"), "So be it.", tools=[speak])
    result = await say(workflow, "Speak.")
    assert "waiting for this very call" in result.conversation[2].tool_results[0].content


def test_a_policy_that_there_is_not_is_a_build_problem():
    """With those that there are."""
    with pytest.raises(
        BuildError, match="RL103 the policy is 'ignore' in with_concurrent_input; allowed: queue, reject, interrupt"
    ):
        team("ignore")  # type: ignore[arg-type]


# --- Between processes


class Busy(InMemoryCheckpointStorage):
    """A store in which others write a message in the same moment, ``times`` times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.other: Workflow | None = None

    async def append(self, session_id: str, facts: Any, *, after: int) -> list[Entry]:
        if (
            self.times
            and self.other
            and any(isinstance(fact, UserSpoke) and "other" not in fact.message.text for fact in facts)
        ):
            self.times -= 1
            await self.other.run(f"other {self.times}", session_id=session_id)
        return await super().append(session_id, facts, after=after)


async def test_a_message_that_came_second_is_heard_after():
    """The other process was faster: nobody has to say it again, and both are answered."""
    store = Busy(3)
    workflow = team("queue", "Hello.", store=store)
    store.other = team("queue", "One.", "Two.", "Three.", store=store)
    result = await say(workflow, "mine")
    assert (result.text, [m.text for m in result.messages]) == ("Hello.", ["mine", "Hello."])
    assert await heard(workflow) == ["other 2", "One.", "other 1", "Two.", "other 0", "Three.", "mine", "Hello."]


async def test_an_answer_that_came_second_counts_if_it_is_still_asked():
    """Else the caller learns that it is not."""
    store = InMemoryCheckpointStorage()
    answers = ["Which?", "Here.", "There."]
    workflow = team("queue", *answers, store=store)
    agents = [ScriptedClient(*answers).as_agent("desk"), Agent("other", client=ScriptedClient())]
    workflow = HandoffBuilder(name="desk", participants=agents).with_checkpointing(store).build()
    await say(workflow, "Where?")
    slow = Slow(store)
    late = workflow.with_store(slow)
    second = asyncio.create_task(say(late, responses={"s/r1": "Late."}))
    await slow.gate.entered.wait()
    await say(workflow, responses={"s/r1": "In time."})
    slow.gate.go.set()
    with pytest.raises(UsageError, match="request 's/r1' is not waiting for an answer"):
        await second
    assert (await heard(workflow))[2:] == ["In time.", "Here."]


class Slow(InMemoryCheckpointStorage):
    """The same journals, to a process that takes its time before it writes first."""

    def __init__(self, inner: InMemoryCheckpointStorage) -> None:
        super().__init__()
        self._journals = inner._journals
        self.gate = Gate()

    async def append(self, session_id: str, facts: list[Fact], *, after: int) -> list[Entry]:
        if not self.gate.go.is_set():
            await self.gate.wait()
        return await super().append(session_id, facts, after=after)


@pytest.mark.parametrize(("policy", "times"), [("reject", 1), ("queue", 99), ("interrupt", 99)])
async def test_a_message_is_not_decided_anew_for_ever(policy: ConcurrentInput, times: int):
    """A team that takes no message meanwhile refuses at once, any other in the end; nothing of it is written."""
    store = Busy(times)
    store.other = team("queue", *["Yes."] * 99, store=store)
    with pytest.raises(SessionBusy):
        await say(team(policy, "Hello.", store=store), "mine")
    assert "mine" not in await heard(store.other)


async def test_who_only_resumes_leaves_it_to_who_is_at_work():
    """With somebody else there, there is nothing to take up."""
    store = InMemoryCheckpointStorage()
    with pytest.raises(Exception, match="overloaded"):
        await say(team("queue", RuntimeError("overloaded"), store=store), "Hi.")
    slow = Slow(store)
    resumed = asyncio.create_task(say(team("queue", "Hello.", store=slow)))
    await slow.gate.entered.wait()
    await say(team("queue", "Hello.", store=store))
    slow.gate.go.set()
    with pytest.raises(SequenceConflict):
        await resumed


async def test_what_a_tool_did_is_kept_though_others_write_all_the_time():
    """Its result is brought as often as it takes."""
    store, gate = InMemoryCheckpointStorage(), Gate()

    @tool
    async def ship(order: str) -> str:
        """Ship."""
        await gate.wait()
        return "shipped"

    slow = Racing(store)
    first = asyncio.create_task(say(team("queue", call("ship", order="A"), store=slow, tools=[ship]), "Ship A."))
    await gate.entered.wait()
    await say(team("queue", store=store, tools=[ship]))
    slow.races = 3
    gate.go.set()
    with pytest.raises(SequenceConflict):
        await first
    (result,) = [entry.fact.result for entry in await store.read("s") if isinstance(entry.fact, ToolReturned)]
    assert result.content == "shipped"


class Racing(InMemoryCheckpointStorage):
    """The same journals, and somebody who writes a warning in front of every append, ``races`` times."""

    def __init__(self, inner: InMemoryCheckpointStorage) -> None:
        super().__init__()
        self._journals = inner._journals
        self.races = 0

    async def append(self, session_id: str, facts: Any, *, after: int) -> list[Entry]:
        if self.races:
            self.races -= 1
            last = self._journals[session_id].last
            await super().append(session_id, [Warned("race", "somebody was here")], after=last)
        return await super().append(session_id, facts, after=after)


MESSAGES = 200


async def test_two_processes_talk_to_one_session_and_every_word_is_heard_once(tmp_path: Path):
    """Two hundred messages each, as fast as they can: none is lost, none is there twice, none has to be said again, and
    every request of either is one that providers accept.
    """
    path = tmp_path / "two.db"
    program = [sys.executable, str(Path(__file__).parent / "speaker.py"), str(path), "s"]
    pipe = asyncio.subprocess.PIPE
    speakers = [
        await asyncio.create_subprocess_exec(*program, name, str(MESSAGES), stdin=pipe, stdout=pipe)
        for name in ("ann", "bob")
    ]
    for each in speakers:
        assert each.stdout
        assert await each.stdout.readline() == b"ready\n"
    told = [json.loads(out) for out, _ in await asyncio.gather(*(each.communicate(b"go\n") for each in speakers))]
    assert [each.returncode for each in speakers] == [0, 0]
    assert [each["problems"] for each in told] == [[], []]
    store = SqliteCheckpointStorage(path)
    facts = [entry.fact for entry in await store.read("s")]
    await store.aclose()
    said = Counter(fact.message.text for fact in facts if isinstance(fact, UserSpoke))
    assert said == Counter(f"{name} {number}" for name in ("ann", "bob") for number in range(MESSAGES))
    for name in ("ann", "bob"):
        order = [
            fact.message.text for fact in facts if isinstance(fact, UserSpoke) and fact.message.text.startswith(name)
        ]
        assert order == [f"{name} {number}" for number in range(MESSAGES)]
    state = fold(facts)
    for agent in ("ann", "bob"):
        check_messages(list(view(state.spoken, agent)))
    assert all(sum(each.get(fate, 0) for fate in ("answered", "taken over")) == MESSAGES for each in told)
    assert any(each.get("taken over") for each in told), "they never met"


# --- Many sessions


class Canary(ChatClient):
    """Fails the test if a request holds a word of another session; calls a tool, hands over, answers."""

    def __init__(self) -> None:
        self.strangers: list[str] = []

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        own = request.session
        for message in request.messages:
            for word in message.in_words.split() + [each.content for each in message.tool_results]:
                if word.startswith("canary-") and word.strip("[]") != f"canary-{own}":
                    self.strangers.append(f"{own} reads {word}")
        await asyncio.sleep(0)
        last = request.messages[-1]
        if request.agent.name == "front" and last.role == "user":
            yield ToolCall("1", "note", "{}")
        elif request.agent.name == "front":
            yield ToolCall("1", "handoff_to_desk", json.dumps({"reason": f"canary-{own}"}))
        else:
            yield f"canary-{own}"


async def test_a_thousand_sessions_at_once_do_not_see_each_other():
    """On one workflow: words, tools, common state, handoffs, events and answers are each session's own."""

    @tool(repeatable=True)
    async def note(context: ToolContext) -> str:
        """Note it."""
        mine = f"canary-{context.session_id}"
        assert context.state.setdefault("mine", mine) == mine
        assert all(mine in message.text for message in context.transcript if message.role == "user")
        await asyncio.sleep(0)
        return mine

    client = Canary()
    agents = [Agent("front", tools=[note], client=client), Agent("desk", client=client)]
    workflow = HandoffBuilder(name="many", participants=agents).build()

    async def talk(name: str) -> None:
        for _ in range(2):
            events = [event async for event in workflow.run(f"canary-{name}", session_id=name, to="front")]
            assert {event.session_id for event in events} == {name}
        view = await workflow.session(name)
        assert view.shared == {"mine": f"canary-{name}"}
        assert [m.text for m in view.conversation if m.role == "assistant" and m.text] == [f"canary-{name}"] * 2
        assert [each.request_id for each in view.requests] == [f"{name}/r2"]

    await asyncio.gather(*(talk(f"s{number}") for number in range(1_000)))
    assert client.strangers == []
