"""What one message may cost: turns, tokens, seconds."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    BuildError,
    ChatClient,
    ChatRequest,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    ReplyInfo,
    Stopped,
    WorkflowEvent,
    WorkflowRunState,
    tool,
)
from relayline.agent import Chunk
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.testing import Reply, ScriptedClient, call, handoff_to

SHORT = 0.03


def circle(script: Mapping[str, Sequence[Reply]], **budget: Any) -> tuple[HandoffBuilder, ScriptedClient]:
    """Three agents, each hands over to the next and the last to the first."""
    client = ScriptedClient(script)
    builder = HandoffBuilder(name="circle", participants=[Agent(name, client=client) for name in "abc"])
    for source, target in ("ab", "bc", "ca"):
        builder.add_handoff(source, target)
    return builder.with_budget(**budget), client


class Hanging(ChatClient):
    """Says a word and nothing more, until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        self.asked += 1
        yield "Well"
        await self.go.wait()
        yield ", hello."


def kinds(events: list[WorkflowEvent]) -> list[str]:
    return [event.type for event in events]


# --- Turns


async def test_a_team_stops_when_it_had_its_turns() -> None:
    """Before the next model is asked; the result says which budget and why, and the run is no failure."""
    builder, client = circle({"a": [handoff_to("b")], "b": [handoff_to("c")], "c": ["Here."]}, turns=2)
    workflow = builder.build()
    run = workflow.run("hi", session_id="s")
    events = [event async for event in run]
    result = await run
    assert result.stopped == Stopped("turns", "the agents had their 2 turns")
    assert result.state == WorkflowRunState.STOPPED
    assert len(client.requests) == 2
    [stopped] = [event for event in events if event.type == "stopped"]
    assert (stopped.data, stopped.seq) == (result.stopped, events[-2].seq)
    assert kinds(events)[-3:] == ["executor_invoked", "stopped", "status"]
    assert (await workflow.session("s")).state == WorkflowRunState.STOPPED
    assert (await workflow.session("s")).active_agent == "c"


async def test_run_on_it_has_as_much_again() -> None:
    """Nothing is lost or done twice: who had the conversation goes on, and the result is as without a budget."""
    script = {"a": [handoff_to("b")], "b": [handoff_to("c")], "c": ["Here."]}
    builder, client = circle(script, turns=1)
    workflow = builder.build()
    assert (await workflow.run("hi", session_id="s")).stopped
    events = [event async for event in workflow.run(session_id="s")]
    assert kinds(events)[2] == "retried"
    assert "stopped" in kinds(events)
    last = await workflow.run(session_id="s")
    assert (last.text, last.stopped) == ("Here.", None)
    client.assert_done()
    free, _ = circle(script)
    assert (await free.build().run("hi")).conversation == last.conversation


async def test_a_new_message_works_as_well() -> None:
    """It is heard, by whoever had the conversation, and has a budget of its own."""
    builder, client = circle({"a": [handoff_to("b")], "b": ["Both heard."]}, turns=1)
    workflow = builder.build()
    await workflow.run("hi", session_id="s")
    result = await workflow.run("and?", session_id="s")
    assert (result.text, result.stopped) == ("Both heard.", None)
    assert [message.text for message in client.requests[-1].messages if not message.author_name] == ["hi", "and?"]


async def test_looking_in_again_at_what_was_stopped_keeps_it_stopped_for_who_only_looks() -> None:
    """The view and the preview run nothing."""
    builder, client = circle({"a": [handoff_to("b")], "b": []}, turns=1)
    workflow = builder.build()
    await workflow.run("hi", session_id="s")
    seq = (await workflow.session("s")).seq
    await workflow.preview("s", "b")
    assert (await workflow.session("s")).seq == seq
    assert len(client.requests) == 1


async def test_an_autonomous_agent_is_stopped_and_goes_on() -> None:
    """Each time it goes on by itself is a turn; its own limit counts on."""
    client = ScriptedClient(*[f"{number}" for number in range(6)])
    builder = HandoffBuilder(participants=[Agent("a", client=client), Agent("b")]).add_handoff("a", "b")
    builder.with_autonomous_mode(["a"], turn_limits={"a": 4}).with_budget(turns=3)
    workflow = builder.build().with_client(client)
    said = [(await workflow.run("hi", session_id="s")).text]
    result = await workflow.run(session_id="s")
    said.append(result.text)
    assert said == ["0\n1\n2", "3\n4"]
    assert (result.stopped, result.state) == (None, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)


async def test_exactly_enough_is_enough() -> None:
    """A budget that is used up by the end is not exceeded."""
    builder, _ = circle({"a": [handoff_to("b")], "b": ["Here."]}, turns=2, tokens=10, seconds=60)
    result = await builder.build().run("hi")
    assert (result.text, result.stopped) == ("Here.", None)


# --- Tokens


async def test_a_team_stops_when_its_models_took_their_tokens() -> None:
    """In and out, of all of them; known once a reply is there, so the last may exceed the budget."""
    costs = ReplyInfo("m", 40, 5)
    script: dict[str, list[Reply]] = {"a": [[handoff_to("b"), costs]], "b": [[handoff_to("c"), costs]], "c": ["Here."]}
    builder, client = circle(script, tokens=80)
    workflow = builder.build()
    result = await workflow.run("hi", session_id="s")
    assert result.stopped == Stopped("tokens", "the models took 90 tokens of 80")
    assert (await workflow.run(session_id="s")).text == "Here."
    client.assert_done()


async def test_what_a_reply_asked_for_is_still_done() -> None:
    """A tool that was called runs, its result is kept, and only then it stops; the answer to the user needs no more."""
    ran: list[str] = []

    @tool
    def pay() -> str:
        """Pay."""
        ran.append("paid")
        return "paid"

    costs = ReplyInfo("m", 100, 5)
    client = ScriptedClient([call("pay"), costs], ["Done.", costs])
    workflow = HandoffBuilder(participants=[Agent("a", tools=[pay], client=client)]).with_budget(tokens=50).build()
    result = await workflow.run("hi", session_id="s")
    assert (ran, result.stopped and result.stopped.budget) == (["paid"], "tokens")
    assert [message.role for message in result.conversation] == ["user", "assistant", "tool"]
    last = await workflow.run(session_id="s")
    assert (last.text, last.stopped, ran) == ("Done.", None, ["paid"])


async def test_a_person_is_asked_though_the_tokens_are_spent() -> None:
    """A question costs nothing; it stops once the answer would need a model."""

    @tool(approval_mode="always_require")
    def pay() -> str:
        """Pay."""
        return "paid"

    client = ScriptedClient([call("pay"), ReplyInfo("m", 100, 5)], "Done.")
    workflow = HandoffBuilder(participants=[Agent("a", tools=[pay], client=client)]).with_budget(tokens=50).build()
    first = await workflow.run("hi", session_id="s")
    assert (first.stopped, first.state) == (None, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)
    second = await workflow.run(responses={first.requests[0].request_id: True})
    assert second.stopped
    assert (await workflow.run(session_id="s")).text == "Done."


# --- Seconds


async def test_a_model_that_never_answers_is_given_up() -> None:
    """The run ends; the same message is answered when it is run again, and half a reply is nowhere."""
    hanging = Hanging()
    workflow = HandoffBuilder(participants=[Agent("a", client=hanging)]).with_budget(seconds=SHORT).build()
    result = await workflow.run("hi", session_id="s")
    assert result.stopped == Stopped("seconds", "the run had 0.03 seconds")
    assert result.state == WorkflowRunState.STOPPED
    assert [message.text for message in result.conversation] == ["hi"]
    hanging.go.set()
    assert (await workflow.run(session_id="s")).text == "Well, hello."
    assert hanging.asked == 2


async def test_a_new_message_is_heard_after_a_model_never_answered() -> None:
    """Together with the one before."""
    workflow = HandoffBuilder(participants=[Agent("a", client=Hanging())]).with_budget(seconds=SHORT).build()
    await workflow.run("hi", session_id="s")
    client = ScriptedClient("Both heard.")
    await workflow.with_client(client, override=True).run("still there?", session_id="s")
    assert [message.text for message in client.requests[0].messages] == ["hi", "still there?"]


async def test_a_model_that_answers_at_once_for_ever_is_stopped_too() -> None:
    """Also one that gives nobody else a chance to look at the clock."""

    class Busy(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            yield "x"

    client = Busy()
    builder = HandoffBuilder(participants=[Agent("a", client=client), Agent("b", client=client)])
    builder.with_autonomous_mode(turn_limits={"a": 10**9}).with_budget(seconds=SHORT)
    async with asyncio.timeout(5):
        result = await builder.build().run("hi")
    assert result.stopped
    assert len(result.conversation) > 2


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("thread", [True, False])
async def test_a_tool_that_never_returns_is_cut_off_as_by_a_crash(
    repeatable: bool, thread: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One that may run twice runs again; of any other a person is asked what became of it."""
    go = threading.Event()
    ran: list[int] = []

    @tool(repeatable=repeatable)
    async def in_the_loop() -> str:
        """Hang the first time."""
        ran.append(1)
        if len(ran) == 1:
            await asyncio.Event().wait()
        return "returned"

    @tool(repeatable=repeatable)
    def in_a_thread() -> str:
        """Hang the first time."""
        ran.append(1)
        if len(ran) == 1:
            go.wait(5)
        return "returned"

    store = SqliteCheckpointStorage(tmp_path_factory.mktemp("db") / "sessions.db")
    client = ScriptedClient(call("in_a_thread" if thread else "in_the_loop"), "Done.")
    agent = Agent("a", tools=[in_the_loop, in_a_thread], client=client)
    workflow = HandoffBuilder(participants=[agent]).with_checkpointing(store).with_budget(seconds=SHORT).build()
    result = await workflow.run("hi", session_id="s")
    assert result.stopped
    assert result.requests == []
    again = await workflow.run(session_id="s")
    if repeatable:
        assert (again.text, len(ran)) == ("Done.", 2)
    else:
        [asked] = again.requests
        assert isinstance(asked.data, InterruptedCallRequest)
        assert len(ran) == 1
        assert (await workflow.run(responses={asked.request_id: "It worked."})).text == "Done."
        assert len(ran) == 1
    go.set()
    await store.aclose()


async def test_what_was_done_beside_it_is_kept() -> None:
    """Of two tools the one that returned has its result; the other's is open."""

    @tool
    async def hang() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return "never"

    @tool
    def quick() -> str:
        """Be quick."""
        return "quick"

    agent = Agent("a", tools=[hang, quick], client=ScriptedClient([call("hang"), call("quick")], "I see."))
    workflow = HandoffBuilder(participants=[agent]).with_budget(seconds=SHORT).build()
    events = [event async for event in workflow.run("hi", session_id="s")]
    assert [event.data.name for event in events if event.type == "tool_result"] == ["quick"]
    result = await workflow.run("go on", session_id="s")
    [message] = [message for message in result.messages if message.role == "tool"]
    assert [(each.name, each.outcome) for each in message.tool_results] == [("hang", "unknown"), ("quick", "done")]
    assert result.text == "I see."


async def test_a_condition_that_never_answers_is_given_up_and_asked_again() -> None:
    """Nothing is lost by it."""
    asked: list[int] = []

    async def over(transcript: object) -> bool:
        asked.append(1)
        if len(asked) == 1:
            await asyncio.Event().wait()
        return False

    client = ScriptedClient("Hello.")
    builder = HandoffBuilder(participants=[Agent("a", client=client)]).with_budget(seconds=SHORT)
    workflow = builder.with_termination_condition(over).build()
    assert (await workflow.run("hi", session_id="s")).stopped
    assert (await workflow.run(session_id="s")).text == "Hello."


# --- All of them


async def test_a_stop_is_in_the_journal() -> None:
    """And what goes on after it; another process goes on as this one would."""
    store = InMemoryCheckpointStorage()
    script = {"a": [handoff_to("b")], "b": ["Here."]}
    builder, _ = circle(script, turns=1)
    await builder.with_checkpointing(store).build().run("hi", session_id="s")
    builder, _ = circle({"a": [], "b": ["Here."], "c": []}, turns=1)
    await builder.with_checkpointing(store).build().run(session_id="s")
    assert [entry.fact.type for entry in await store.read("s")][-6:] == snapshot(
        ["turn_started", "stopped", "retried", "replied", "turn_ended", "asked"]
    )


@pytest.mark.parametrize(
    ("budget", "problem"),
    [
        ({"turns": 0}, "RL108 the budget of turns is 0"),
        ({"turns": True}, "RL108 the budget of turns is True"),
        ({"tokens": 1.5}, "RL108 the budget of tokens is 1.5"),
        ({"tokens": -1}, "RL108 the budget of tokens is -1"),
        ({"seconds": 0}, "RL108 the budget of seconds is 0"),
        ({"seconds": float("inf")}, "RL108 the budget of seconds is inf"),
        ({"seconds": float("nan")}, "RL108 the budget of seconds is nan"),
        ({"seconds": "1"}, "RL108 the budget of seconds is '1'"),
    ],
)
def test_a_budget_that_cannot_be_meant_is_told_at_build(budget: Any, problem: str) -> None:
    """Nothing, less, or something else altogether."""
    with pytest.raises(BuildError, match=problem):
        circle({}, **budget)[0].build()
