"""Teams in teams: one conversation, one journal, however deep."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relayline import (
    Agent,
    BuildError,
    ChatRequest,
    ConcurrentBuilder,
    ConditionError,
    ExecutorContext,
    ExecutorError,
    FunctionInfoRequest,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    ModelError,
    ReplyInfo,
    RequestNotOpen,
    SequentialBuilder,
    UsageError,
    Workflow,
    WorkflowBuilder,
    WorkflowRunState,
    executor,
    tool,
)
from relayline.agent import Chunk
from relayline.durable.local import Local
from relayline.events import Cancelled, Retried, UserSpoke, innermost
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.testing import Crash, FakeClock, ScriptedClient, assert_replays, call, crash_at, handoff_to
from tests.durable.fleets import state, worker, working

IDLE, WAITING, STOPPED = (
    WorkflowRunState.IDLE,
    WorkflowRunState.IDLE_WITH_PENDING_REQUESTS,
    WorkflowRunState.STOPPED,
)


@tool(approval_mode="always_require")
def pay(order: int) -> str:
    """Pay it back."""
    return f"paid {order}"


def support(client: ScriptedClient) -> Workflow:
    """Triage -> desk (refunds -> fraud (checker, payer))"""
    fraud = SequentialBuilder(
        name="fraud", participants=[client.as_agent("checker"), client.as_agent("payer", tools=[pay])]
    )
    refunds = client.as_agent("refunds", description="Money.")
    desk = HandoffBuilder(name="desk", participants=[refunds, fraud.build().as_agent(description="Looks closely.")])
    desk = desk.add_handoff(refunds, "fraud").with_terminal_agents(["fraud"]).build()
    members = [client.as_agent("triage"), desk.as_agent(description="Money.")]
    return HandoffBuilder(participants=members).add_handoff("triage", "desk").with_terminal_agents(["desk"]).build()


def script(**more) -> ScriptedClient:
    return ScriptedClient(
        {
            "triage": [handoff_to("desk", reason="money")],
            "refunds": ["Which order?", handoff_to("fraud")],
            "checker": ["Looks fine."],
            "payer": [call("pay", order=7), "Paid."],
            **more,
        }
    )


async def test_everything_inside_is_told_under_its_path():
    """Turns, words, tokens, tool calls, handoffs and requests; and plain words go on in there."""
    client = script()
    team = support(client)
    told = [(event.type, event.executor_id) async for event in team.run("Money!", session_id="s", stream=True)]
    assert told[-8:-1] == [
        ("executor_invoked", "desk"),
        ("executor_invoked", "desk/refunds"),
        ("prompted", "desk/refunds"),
        ("message_delta", "desk/refunds"),
        ("message", "desk/refunds"),
        ("executor_completed", "desk/refunds"),
        ("request_info", "desk/refunds"),
    ]
    view = await team.session("s")
    assert (view.active_agent, view.state, view.requests[0].request_id) == ("desk/refunds", WAITING, "s/t2.r1")
    events = [event async for event in team.run("Order 7.", session_id="s")]
    told = [(event.type, event.executor_id) for event in events]
    assert ("handoff_sent", "desk/refunds") in told
    assert ("executor_invoked", "desk/fraud/checker") in told
    request = next(event for event in events if event.type == "request_info")
    assert (request.executor_id, request.request_id) == ("desk/fraud/payer", "s/t2.t3.r1")
    result = await team.run(responses={request.request_id: True})
    assert (result.state, [each.text for each in result.outputs]) == (IDLE, ["Paid."])
    assert sum(each[0] == "output" for each in told) == 0
    client.assert_done()


async def test_there_is_one_conversation():
    """Who is inside hears what was said outside, and the other way round; a handoff's reason reaches who begins."""
    client = script(after=["Bye."])
    team = support(client)
    await team.run("Money!", session_id="s")
    result = await team.run("Order 7.", session_id="s")
    await team.run(responses={result.requests[0].request_id: True})
    given = {each.agent.name: [m.text for m in each.messages if m.text] for each in client.requests}
    assert given["refunds"][:2] == ["Money!", "[triage] handed the conversation over to you. Reason: money"]
    assert given["payer"] == ["Money!", "[refunds] Which order?", "Order 7.", "[checker] Looks fine."]
    said = [each.text for each in (await team.session("s")).conversation if each.text]
    assert said == ["Money!", "Which order?", "Order 7.", "Looks fine.", "Paid."]


async def test_the_next_message_goes_on_with_whoever_had_the_last_word():
    """A team that had the conversation gets it again, and in it the one who spoke."""
    client = ScriptedClient({"a": [handoff_to("inner")], "b": [handoff_to("c")], "c": ["One.", "Two."]})
    b, c = client.as_agent("b"), client.as_agent("c", description="c")
    inner = HandoffBuilder(name="inner", participants=[b, c]).add_handoff(b, c).with_terminal_agents([c]).build()
    team = HandoffBuilder(participants=[client.as_agent("a"), inner.as_agent(description="i")]).add_handoff(
        "a", "inner"
    )
    workflow = team.with_terminal_agents(["inner"]).build()
    await workflow.run("1", session_id="s")
    assert (await workflow.run("2", session_id="s")).text == "Two."
    client.assert_done()


def flat(client, review):
    builder = SequentialBuilder(participants=[client.as_agent(each) for each in "abcde"])
    return builder.with_request_info([review]) if review else builder


def deep(client, review):
    """a, (b, (c, (d))), e"""
    inner = SequentialBuilder(name="three", participants=[client.as_agent("d")])
    inner = (inner.with_request_info(["d"]) if review else inner).build()
    middle = SequentialBuilder(name="two", participants=[client.as_agent("c"), inner.as_agent()]).build()
    outer = SequentialBuilder(name="one", participants=[client.as_agent("b"), middle.as_agent()]).build()
    return SequentialBuilder(participants=[client.as_agent("a"), outer.as_agent(), client.as_agent("e")])


class Counting(ScriptedClient):
    """Says who it is, and on how much."""

    async def stream(self, request):
        yield f"{request.agent.name} on {' '.join(each.text for each in request.messages)!r}"
        yield ReplyInfo("m", 10, 1)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("written", [True, False])
async def test_killed_at_every_append_at_depth_three_it_is_as_if_it_were_flat(kind, written, tmp_path: Path):
    """The words, and what every model was given, of the same members in a row; a review on the way."""
    client = Counting()

    async def whole(builder, store) -> list[str]:
        team = builder.with_checkpointing(store).build()
        result = await team.run(None if await store.read("s", upto=1) else "Go.", session_id="s")
        while result.requests:
            result = await team.run(responses={result.requests[0].request_id: True})
        return [each.text for each in result.conversation]

    wanted = await whole(flat(client, "d"), InMemoryCheckpointStorage())
    assert len(wanted) == 6
    at = crashed = 0
    while crashed == at:
        at += 1
        store = InMemoryCheckpointStorage() if kind == "memory" else SqliteCheckpointStorage(tmp_path / f"{at}.db")
        try:
            assert await whole(deep(client, "d"), crash_at(store, at, written=written)) == wanted
        except Crash:
            crashed = at
            assert await whole(deep(client, "d"), store) == wanted
        assert_replays(await store.read("s"))
        await store.aclose()
    assert at > 7


async def test_usage_and_budgets_count_what_is_inside():
    """By path, and for the outer team's budget as if it were its own."""
    team = deep(Counting(), None)
    workflow = team.build()
    await workflow.run("Go.", session_id="s")
    usage = await workflow.usage("s", lambda *_: 0)
    assert list(usage.by_agent) == ["a", "one/b", "one/two/c", "one/two/three/d", "e"]
    assert usage.total.input_tokens == 50
    short = deep(Counting(), None).with_budget(tokens=25).build()
    result = await short.run("Go.", session_id="s")
    assert (result.state, len(result.conversation)) == (STOPPED, 4)
    assert (await short.run(session_id="s")).state is IDLE


async def test_teams_beside_one_another():
    """Each hears what there was before, and waits for its own; the outer team answers both."""
    client = ScriptedClient(
        {"a": [call("pay", order=1), "A"], "b": ["B"], "c": [call("pay", order=2), "C"], "z": ["Z"]}
    )
    one = SequentialBuilder(name="one", participants=[client.as_agent("a", tools=[pay]), client.as_agent("b")]).build()
    two = SequentialBuilder(name="two", participants=[client.as_agent("c", tools=[pay])]).build()
    team = (
        ConcurrentBuilder(participants=[one.as_agent(), two.as_agent()]).with_aggregator(client.as_agent("z")).build()
    )
    result = await team.run("Go.")
    assert [each.executor_id for each in result.requests] == ["one/a", "two/c"]
    result = await team.run(responses={each.request_id: True for each in reversed(result.requests)})
    assert [each.author_name for each in result.conversation if each.role == "assistant" and each.text] == [
        "a",
        "b",
        "c",
        "z",
    ]
    given = {each.agent.name: [m.text for m in each.messages if m.text] for each in client.requests}
    assert given["b"] == ["Go.", "[a] A"]
    assert given["c"] == ["Go."]
    assert given["z"] == ["Go.", "[a] A", "[b] B", "[c] C"]


async def test_people_functions_and_questions_inside():
    """A person's turn, a function's question and its retry are the outer run's."""
    tries: list[int] = []

    @executor
    async def ask(text: str, context: ExecutorContext) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("not yet")
        return f"{text} {await context.request_info('how many?', int)}"

    inner = SequentialBuilder(name="inner", participants=[HumanAgent("jo"), ask]).build()
    team = (
        WorkflowBuilder(start_executor=(node := inner.as_agent()))
        .add_edge(node, executor(str.upper, name="up"))
        .build()
    )
    result = await team.run("Go.", session_id="s")
    assert result.requests[0].executor_id == "inner/jo"
    with pytest.raises(ExecutorError, match="'inner/ask' failed: LookupError"):
        await team.run(responses={result.requests[0].request_id: "about"})
    result = await team.run(session_id="s")
    assert isinstance(result.requests[0].data, FunctionInfoRequest)
    assert (await team.run(responses={result.requests[0].request_id: 3})).value == "ABOUT 3"


async def test_a_failure_inside_fails_the_run_by_its_path_and_is_retried():
    """Or, where the others go on without it, ends the team's turn."""
    client = ScriptedClient({"a": [OSError("no route"), "A", OSError("no route")], "b": ["B"]})
    inner = SequentialBuilder(name="inner", participants=[client.as_agent("a")]).build()
    team = SequentialBuilder(participants=[inner.as_agent()]).build()
    with pytest.raises(ModelError, match="inner/a") as failure:
        await team.run("Go.", session_id="s")
    assert isinstance(failure.value.__cause__, OSError)
    assert (await team.run(session_id="s")).text == "A"
    team = ConcurrentBuilder(participants=[inner.as_agent(), client.as_agent("b")], on_failure="partial").build()
    assert [each.text for each in (await team.run("Go.")).outputs] == [
        "No answer: inner/a failed: OSError: no route",
        "B",
    ]


class Hanging(ScriptedClient):
    """The first reply of ``who`` never comes."""

    def __init__(self, replies, who: str) -> None:
        super().__init__(replies)
        self._who = who
        self.hung = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        if request.agent.name == self._who and not self.hung.is_set():
            self.hung.set()
            await asyncio.Event().wait()
        async for chunk in super().stream(request):
            yield chunk


@pytest.mark.parametrize("message", [None, "Order 8."])
async def test_cancelling_reaches_every_depth(message):
    """A reply in a team in a team ends, and is asked for again when the session is run, or somebody says something."""
    replies = {
        "triage": [handoff_to("desk")],
        "refunds": [handoff_to("fraud")],
        "checker": ["Looks fine."],
        "payer": [call("pay", order=7)],
    }
    client = Hanging(replies, "checker")
    team = support(client).with_store(InMemoryCheckpointStorage())
    async with working(worker(team, Local())):
        await team.submit("Money!", session_id="s")
        await asyncio.wait_for(client.hung.wait(), 30)
        assert await team.cancel("s")
        await state(team, "s", WorkflowRunState.CANCELLED)
    result = await team.run(message, session_id="s")
    assert (result.state, result.requests[0].executor_id) == (WAITING, "desk/fraud/payer")
    said = [each.text for each in result.conversation if each.text]
    assert said == ["Money!", *([message] if message else []), "Looks fine."]
    entries = await team.store.read("s")
    assert_replays(entries)
    assert [type(each.fact) for each in entries if isinstance(each.fact, Cancelled | Retried)] == [Cancelled, Retried]
    client.assert_done()


async def test_a_message_after_a_failure_inside_is_taken_inside():
    """The session goes on, as it does without teams."""
    client = ScriptedClient({"a": [OSError("no route"), "A"]})
    inner = HandoffBuilder(name="inner", participants=[client.as_agent("a")]).build()
    members = [client.as_agent("b"), inner.as_agent(description="i")]
    team = HandoffBuilder(participants=members).add_handoff("b", "inner").build()
    with pytest.raises(ModelError, match="inner/a"):
        await team.run("Go.", session_id="s", to="inner")
    assert (await team.run("Again.", session_id="s")).text == "A"
    client.assert_done()


async def test_a_condition_inside_is_asked_inside():
    """It ends the inner team's turn; should it raise, the run fails and is retried."""
    answers = [LookupError("hm"), True]

    def over(conversation) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = ScriptedClient({"b": ["B"]})
    inner = HandoffBuilder(name="inner", participants=[client.as_agent("a")]).with_termination_condition(over).build()
    team = SequentialBuilder(participants=[inner.as_agent(), client.as_agent("b")]).build()
    with pytest.raises(ConditionError, match="hm"):
        await team.run("Go.", session_id="s")
    assert (await team.run(session_id="s")).text == "B"


async def test_ending_it_inside_ends_it_all():
    """`terminate()` is meant for the conversation."""
    client = script()
    team = support(client)
    result = await team.run("Money!", session_id="s")
    result = await team.run(responses={result.requests[0].request_id: result.requests[0].data.terminate()})
    assert (result.state, result.requests) == (IDLE, [])


async def test_what_was_said_in_a_team_can_be_edited():
    """In a branch that begins where somebody in it waited: whoever asked takes the message and what was told with it."""
    store = InMemoryCheckpointStorage(FakeClock())
    client = ScriptedClient({"refunds": ["Which order?", "Order 7 it is.", "Order 8 it is."]})
    inside = [client.as_agent("refunds"), client.as_agent("clerk", description="Decides.")]
    desk = HandoffBuilder(name="desk", participants=inside).add_handoff("refunds", "clerk").build().as_agent()
    team = HandoffBuilder(participants=[desk]).with_checkpointing(store).build()
    await team.run("Money!", session_id="s")
    await team.run("Order 7.", session_id="s", state={"customer": "Ann"})
    original = await store.read("s")
    [first, said] = [entry.seq for entry in original if isinstance(innermost(entry.fact), UserSpoke)]
    result = await team.edit("s", said, "Order 8.")
    assert [each.text for each in result.conversation] == ["Money!", "Which order?", "Order 8.", "Order 8 it is."]
    assert (result.state, result.requests[0].executor_id) == (WAITING, "desk/refunds")
    assert (await team.session(result.session_id)).shared == {"customer": "Ann"}
    assert await store.read("s") == original
    with pytest.raises(UsageError, match=f"no message of the user's; the newest are: {first}, {said}"):
        await team.edit("s", said - 1, "Order 8.")


async def test_where_several_have_the_conversation_at_once_the_team_has_it():
    """However deep: the path ends with the team, as nobody in it has the conversation alone."""
    panel = ConcurrentBuilder(name="panel", participants=[HumanAgent("jo"), Agent("ann")]).build().as_agent()
    desk = SequentialBuilder(name="desk", participants=[panel]).build().as_agent()
    team = SequentialBuilder(participants=[desk]).build().with_client(ScriptedClient("Yes."))
    await team.run("Shall we?", session_id="s")
    assert (await team.session("s")).active_agent == "desk/panel"


async def test_a_message_to_somebody_else_leaves_the_team():
    """Whatever waited in it is withdrawn, and no answer reaches it any more."""
    client = script(triage=[handoff_to("desk", reason="money"), "Hello again."])
    team = support(client)
    await team.run("Money!", session_id="s")
    asked = (await team.run("Order 7.", session_id="s")).requests[0]
    assert (await team.run("Never mind.", session_id="s", to="triage")).requests[0].executor_id == "triage"
    with pytest.raises(RequestNotOpen):
        await team.run(responses={asked.request_id: True})


async def test_a_model_for_all_is_one_for_those_inside():
    """`with_client` reaches them, and who still needs one is named by its path."""
    inner = SequentialBuilder(name="inner", participants=[Agent("a")]).build()
    team = SequentialBuilder(participants=[inner.as_agent(), Agent("b")]).build()
    with pytest.raises(UsageError, match="no model for 'b', 'inner/a'"):
        team.run("Go.")
    assert (await team.with_client(ScriptedClient("A", "B")).run("Go.")).text == "A\nB"


def test_names_differ_in_all_teams_of_a_team():
    """In one conversation a name tells who spoke."""
    inner = SequentialBuilder(name="inner", participants=[Agent("a")]).build()
    with pytest.raises(BuildError, match="RL144 'a' is the name of several"):
        SequentialBuilder(participants=[Agent("a"), inner.as_agent()]).build()


async def test_who_is_called_otherwise_now_goes_on_under_the_new_name():
    """With a review and a question open in lanes and in a team within; functions as well as agents."""

    def members(client: ScriptedClient, writer: str, asker: str):
        @executor(name=asker)
        async def ask(text: str, context: ExecutorContext) -> str:
            return f"{await context.request_info('how many?', int)} for {text}"

        inner = SequentialBuilder(name="inner", participants=[client.as_agent("first"), ask]).build()
        return ConcurrentBuilder(participants=[client.as_agent(writer), ask_too(asker), inner.as_agent()])

    def ask_too(asker: str):
        @executor(name=f"{asker}_too")
        async def ask(text: str, context: ExecutorContext) -> str:
            return str(await context.request_info("and you?", int))

        return ask

    store = InMemoryCheckpointStorage()
    old = members(ScriptedClient({"writer": ["W"], "first": ["F"]}), "writer", "asker").with_request_info(["writer"])
    result = await old.with_checkpointing(store).build().run("Go.", session_id="s")
    assert len(result.requests) == 3
    new = members(ScriptedClient(), "author", "asker").with_request_info(["author"])
    renamed = {"writer": "author"}
    team = new.with_upgrades(renamed=renamed).with_checkpointing(store).build()
    answers = {each.request_id: True if each.executor_id == "writer" else 3 for each in result.requests}
    result = await team.run(responses=answers)
    assert [(each.author_name, each.text) for each in result.outputs] == [
        ("author", "W"),
        ("asker_too", "3"),
        ("asker", "3 for F"),
    ]
    assert_replays(await store.read("s"))
