"""Teams whose order is drawn: one after the other, and all at once."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from relayline import (
    AgentReviewRequest,
    BuildError,
    ConcurrentBuilder,
    ExecutorContext,
    ExecutorError,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    Message,
    ModelError,
    SequentialBuilder,
    UsageError,
    WorkflowRunState,
    executor,
    tool,
)
from relayline.journal.codec import encode
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.testing import Crash, ScriptedClient, assert_replays, call, crash_at

IDLE, WAITING = WorkflowRunState.IDLE, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS


@dataclass
class Draft:
    words: int
    title: str = ""


@executor
async def count(text: str) -> Draft:
    """Count the words."""
    return Draft(len(text.split()))


@executor(repeatable=True)
def title(draft: Draft) -> Draft:
    """Give it a title."""
    return Draft(draft.words, f"In {draft.words} words")


@tool(approval_mode="always_require")
def publish(where: str) -> str:
    """Publish."""
    return f"published {where}"


def seen(client: ScriptedClient, number: int) -> list[str]:
    return [each.text for each in client.requests[number].messages]


async def settle(run, answer: Callable[[object], object], workflow):
    """Answer whatever is asked until nothing is."""
    result = await run
    while result.requests:
        result = await workflow.run(responses={each.request_id: answer(each.data) for each in result.requests[:1]})
    return result


async def test_each_member_goes_on_from_all_that_was_said():
    """Agents and functions in their order; the last one's words are the result."""
    client = ScriptedClient({"writer": ["A draft."], "editor": ["Edited."]})
    team = SequentialBuilder(participants=[client.as_agent("writer"), count, title, client.as_agent("editor")]).build()
    result = await team.run("Write.")
    assert [each.text for each in result.conversation[1:]] == [
        "A draft.",
        '{"words":2,"title":""}',
        '{"words":2,"title":"In 2 words"}',
        "Edited.",
    ]
    assert (result.state, [each.text for each in result.outputs]) == (IDLE, ["Edited."])
    assert seen(client, 1)[:2] == ["Write.", "[writer] A draft."]


async def test_a_chain_is_given_what_the_one_before_said_and_no_more():
    """``chain_only_agent_responses``, in the first message and in later ones; after feedback its own draft as well."""
    client = ScriptedClient({"one": ["1", "1b", "4"], "two": ["2", "5"], "three": ["3", "6"]})
    members = [client.as_agent(name) for name in ("one", "two", "three")]
    builder = SequentialBuilder(participants=members, chain_only_agent_responses=True).with_request_info(["one"])
    team, feedback = builder.build(), iter(["not quite", True, True])
    await settle(team.run("go", session_id="s"), lambda _: next(feedback), team)
    await settle(team.run("again", session_id="s"), lambda _: next(feedback), team)
    assert [seen(client, number) for number in range(7)] == [
        ["go"],
        ["go", "1", "not quite"],
        ["[one] 1b"],
        ["[two] 2"],
        ["again"],
        ["[one] 4"],
        ["[two] 5"],
    ]


async def test_a_person_lets_it_go_on_or_sends_it_back():
    """The pause is a request with what was said; feedback is heard by all, and the agent is looked at again."""
    client = ScriptedClient({"writer": ["Short.", "Longer."], "editor": ["Edited."]})
    team = SequentialBuilder(participants=[client.as_agent("writer"), client.as_agent("editor")])
    team = team.with_request_info(["writer"]).build()
    first = await team.run("Write.", session_id="s")
    assert first.state is WAITING
    data = first.requests[0].data
    assert isinstance(data, AgentReviewRequest)
    assert data.agent_response.text == "Short."
    with pytest.raises(UsageError, match="say what to change"):
        await team.run(responses={first.requests[0].request_id: False})
    second = await team.run("Longer, please.", session_id="s")  # plain words are feedback as well
    assert second.requests[0].data.agent_response.text == "Longer."
    done = await team.run(responses={second.requests[0].request_id: second.requests[0].data.approve()})
    assert (done.state, done.text) == (IDLE, "Edited.")
    assert seen(client, 2)[-3:] == ["[writer] Short.", "Longer, please.", "[writer] Longer."]


async def test_every_agent_is_looked_at_by_default_and_no_function_is():
    """`with_request_info()` without names."""
    client = ScriptedClient({"writer": ["A draft."], "editor": ["Edited."]})
    members = [client.as_agent("writer"), count, client.as_agent("editor")]
    team = SequentialBuilder(participants=members).with_request_info().build()
    asked: list[str] = []

    def approve(data: AgentReviewRequest) -> bool:
        asked.append(data.agent_response.agent)
        return True

    assert (await settle(team.run("Write."), approve, team)).state is IDLE
    assert asked == ["writer", "editor"]


async def test_a_review_ends_the_conversation_or_is_left_behind():
    """`terminate()` finishes; a message for somebody else withdraws it."""
    client = ScriptedClient("One.", "Two.", "Edited.")
    members = [client.as_agent("writer"), client.as_agent("editor")]
    team = SequentialBuilder(participants=members).with_request_info(["writer"]).build()
    asked = (await team.run("Write.", session_id="a")).requests[0]
    assert (await team.run(responses={asked.request_id: asked.data.terminate()})).state is IDLE
    await team.run("Write.", session_id="b")
    result = await team.run("Just edit this.", session_id="b", to="editor")
    assert (result.state, result.text) == (IDLE, "Edited.")


async def test_all_speak_at_once_and_join_in_declared_order():
    """Nobody hears the others; what they say stands in the order of the declaration, whoever is faster."""
    gates = {name: asyncio.Event() for name in "abc"}
    begun: list[str] = []

    def waits(name: str, after: str):
        async def reply(request):
            begun.append(name)
            gates[name].set()
            await gates[after].wait()
            return f"{name} after {after}"

        return reply

    # a waits for b to have begun, b for c, c for a: only if they are at it at the same time does any of them answer.
    client = ScriptedClient({"a": [waits("a", "b")], "b": [waits("b", "c")], "c": [waits("c", "a")]})
    team = ConcurrentBuilder(participants=[client.as_agent(name) for name in "abc"]).build()
    result = await asyncio.wait_for(team.run("Go."), 10)
    assert [each.text for each in result.outputs] == ["a after b", "b after c", "c after a"]
    assert [each.text for each in result.conversation] == ["Go.", "a after b", "b after c", "c after a"]
    assert all(seen(client, number) == ["Go."] for number in range(3))


@pytest.mark.parametrize(
    ("aggregator", "value"),
    [
        (lambda client: client.as_agent("sum"), None),
        (lambda client: join, "1 + 2"),
        (lambda client: add, 3),
        (lambda client: authors, ["a", "b"]),
    ],
)
async def test_one_result_is_made_of_all(aggregator, value):
    """By an agent who reads what was said, or by a function of texts, of values, or of messages."""
    client = ScriptedClient({"a": ["1"], "b": ["2"], "sum": ["three"]})
    builder = ConcurrentBuilder(participants=[client.as_agent("a"), client.as_agent("b")])
    result = await builder.with_aggregator(aggregator(client)).build().run("Go.")
    assert (result.value, len(result.outputs)) == (value, 1)
    assert value is not None or result.outputs[0].text == "three"


def join(results: list[str]) -> str:
    return " + ".join(results)


async def add(results: list[int]) -> int:
    return sum(results)


def authors(results: Sequence[Message]) -> list[str]:
    return [each.author_name for each in results]


async def test_one_that_fails_fails_the_run_and_can_be_retried():
    """``on_failure="fail"``: the others' replies are kept, if they were in."""
    client = ScriptedClient({"a": ["A"], "b": [RuntimeError("busy"), "B"]})
    team = ConcurrentBuilder(participants=[client.as_agent("a"), client.as_agent("b")]).build()
    with pytest.raises(ModelError, match="busy"):
        await team.run("Go.", session_id="s")
    result = await team.run(session_id="s")
    assert [each.text for each in result.outputs] == ["A", "B"]
    client.assert_done()


async def test_the_others_go_on_without_one_that_fails():
    """``on_failure="partial"``: the result names what failed, and a warning does."""
    client = ScriptedClient({"a": ["A"], "b": [RuntimeError("busy")], "c": ["C"]})
    team = ConcurrentBuilder(participants=[client.as_agent(each) for each in "abc"], on_failure="partial")
    events = [event async for event in team.with_aggregator(join).build().run("Go.")]
    assert [each.data.code for each in events if each.type == "warning"] == ["participant_failed"]
    last = [each.data for each in events if each.type == "message"][-1]
    assert last.text == "A + No answer: b failed: RuntimeError: busy + C"


async def test_approvals_people_and_reviews_beside_one_another():
    """Each branch waits for its own, the others go on, and feedback reaches only the one it is for."""
    client = ScriptedClient({"a": [call("publish", where="here"), "A"], "b": ["B1", "B2"], "c": ["C"], "sum": ["all"]})
    members = [client.as_agent("a", tools=[publish]), client.as_agent("b"), HumanAgent("jo"), client.as_agent("c")]
    builder = ConcurrentBuilder(participants=members).with_aggregator(client.as_agent("sum"))
    team = builder.with_request_info(["b"]).build()
    result = await team.run("Go.", session_id="s")
    asked = {each.executor_id: each for each in result.requests}
    assert set(asked) == {"a", "b", "jo"}
    answers = {asked["b"].request_id: "no", asked["jo"].request_id: "Fine by me.", asked["a"].request_id: True}
    result = await team.run(responses=answers)
    assert [each.executor_id for each in result.requests] == ["b"]
    result = await team.run(responses={result.requests[0].request_id: True})
    assert [each.text for each in result.outputs] == ["all"]
    assert [each.text for each in result.conversation if each.author_name in ("a", "b", "jo", "c") and each.text] == [
        "A",
        "B1",
        "Fine by me.",
        "C",
        "B2",
    ]
    again = next(each for each in client.requests if each.agent.name == "b" and len(each.messages) > 1)
    assert [each.text for each in again.messages] == ["Go.", "B1", "no"]


async def test_a_new_message_interrupts_all_of_them():
    """What was pending is withdrawn, what was said joins, and all begin again."""
    client = ScriptedClient({"a": [call("publish", where="here"), "A"], "b": ["B1", "B2"]})
    team = ConcurrentBuilder(participants=[client.as_agent("a", tools=[publish]), client.as_agent("b")]).build()
    await team.run("Go.", session_id="s")
    result = await team.run("No, wait.", session_id="s")
    assert [each.text for each in result.outputs] == ["A", "B2"]
    assert [each.role for each in result.conversation] == [
        *("user", "assistant", "tool", "assistant"),
        *("user", "assistant", "assistant"),
    ]


async def test_a_function_that_fails_is_named_and_run_again():
    """The run fails with an `ExecutorError`, and a retry runs it again, repeatable or not."""
    ran: list[str] = []

    def once(text: str) -> str:
        ran.append(text)
        if len(ran) == 1:
            raise LookupError("not yet")
        return "now"

    team = SequentialBuilder(participants=[once]).build()
    with pytest.raises(ExecutorError, match="'once' failed: LookupError: not yet") as failure:
        await team.run("Go.", session_id="s")
    assert failure.value.executor == "once"
    assert isinstance(failure.value.__cause__, LookupError)
    assert (await team.run(session_id="s")).value == "now"
    assert ran == ["Go.", "Go."]


async def test_a_value_that_does_not_fit_fails_by_name():
    """Both sides are in the sentence."""
    team = SequentialBuilder(participants=[title]).build()
    with pytest.raises(ExecutorError, match="'title' takes Draft, and 'the user' said 'Go.'"):
        await team.run("Go.")


@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_function_that_was_cut_off_is_run_again_or_asked_about(repeatable):
    """The same promises as a tool's: a stable key, and never twice unasked."""
    keys: list[str] = []
    store = InMemoryCheckpointStorage()

    @executor(repeatable=repeatable)
    async def pay(text: str, context: ExecutorContext) -> str:
        keys.append(context.idempotency_key)
        return f"paid {text}"

    team = SequentialBuilder(participants=[pay])
    with pytest.raises(Crash):
        await team.with_checkpointing(crash_at(store, 2, written=False)).build().run("7", session_id="s")
    resumed = team.with_checkpointing(store).build()
    result = await resumed.run(session_id="s")
    if not repeatable:
        assert isinstance(result.requests[0].data, InterruptedCallRequest)
        assert len(keys) == 1
        result = await resumed.run(responses={result.requests[0].request_id: result.requests[0].data.run_again()})
    assert result.text == "paid 7"
    assert keys == ["s/t1-c0"] * 2


async def test_what_became_of_a_function_can_be_told():
    """Its result is what the person says."""
    store = InMemoryCheckpointStorage()
    team = SequentialBuilder(participants=[count])
    with pytest.raises(Crash):
        await team.with_checkpointing(crash_at(store, 2, written=False)).build().run("7", session_id="s")
    resumed = team.with_checkpointing(store).build()
    asked = (await resumed.run(session_id="s")).requests[0]
    result = await resumed.run(responses={asked.request_id: '{"words": 9}'})
    assert result.value == Draft(9)


async def test_a_handoff_may_lead_to_a_function():
    """Which ends the conversation, or passes it on where that is declared."""
    client = ScriptedClient({"desk": [[call("handoff_to_count")]], "after": ["Noted."]})
    desk, after = client.as_agent("desk"), client.as_agent("after", description="takes notes")
    builder = HandoffBuilder(participants=[desk, count, after]).add_handoff(desk, count, description="counts")
    result = await builder.add_handoff(count, after, always=True).with_terminal_agents([after]).build().run("Go on.")
    assert (result.state, [each.text for each in result.messages][-2:]) == (IDLE, ['{"words":2,"title":""}', "Noted."])


STORES = {
    "memory": lambda path: InMemoryCheckpointStorage(),
    "sqlite": lambda path: SqliteCheckpointStorage(path / "s"),
}


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("pattern", ["sequential", "concurrent"])
async def test_killed_at_every_append_it_comes_to_the_same_end(pattern, kind, written, tmp_path: Path):
    """The transcript of the run that nobody killed; agents, a gated tool, a review and functions on the way."""

    class Says(ScriptedClient):
        async def stream(self, request):
            if request.agent.name == "gated" and request.messages[-1].role != "tool":
                yield call("publish", where="here")
            else:
                yield f"{request.agent.name} on {len(request.messages)}"

    client = Says()
    members = [client.as_agent("writer"), client.as_agent("gated", tools=[publish]), title_of]
    builder = (
        SequentialBuilder(participants=members)
        if pattern == "sequential"
        else ConcurrentBuilder(participants=members).with_aggregator(join)
    ).with_request_info(["writer"])

    async def whole(store: Store) -> None:
        team = builder.with_checkpointing(store).build()
        known = await store.read("s", upto=1)
        await settle(team.run(None if known else "Go.", session_id="s"), answer, team)

    def answer(data: object) -> object:
        return data.run_again() if isinstance(data, InterruptedCallRequest) else True

    smooth = InMemoryCheckpointStorage()
    await whole(smooth)
    wanted = (await builder.with_checkpointing(smooth).build().session("s")).conversation
    at = crashed = 0
    while crashed == at:
        at += 1
        (tmp_path / str(at)).mkdir()
        store = STORES[kind](tmp_path / str(at))
        try:
            await whole(crash_at(store, at, written=written))
        except Crash:
            crashed = at
            await whole(store)
        view = await builder.with_checkpointing(store).build().session("s")
        assert list(view.conversation) == list(wanted)
        assert_replays(await store.read("s"))
        await store.aclose()
    assert at > 6


@executor(repeatable=True)
def title_of(text: str) -> str:
    """A title."""
    return f"About {text.split()[0]}"


async def test_no_fact_says_more_than_it_has_to():
    """A sequence of agents writes the facts of a handoff team, and where a turn goes on from."""
    client = ScriptedClient({"a": ["A"], "b": ["B"]})
    team = SequentialBuilder(participants=[client.as_agent("a"), client.as_agent("b")]).build()
    await team.run("Go.", session_id="s")
    written = [encode(each.fact) for each in await team.store.read("s")]
    assert written[2] == '{"type":"turn_started","turn":1,"agent":"a"}'
    assert written[5] == '{"type":"turn_started","turn":2,"agent":"b","after":[1]}'
    assert len(written) == 9


def test_what_is_wrong_with_the_declaration_is_said():
    """All of it at once, each with a code."""
    with pytest.raises(BuildError) as none:
        SequentialBuilder().build()
    assert none.value.problems[0].startswith("RL105")
    with pytest.raises(BuildError) as odd:
        ConcurrentBuilder(participants=[count, count, 7], on_failure="maybe").with_request_info(["count", "x"]).build()
    assert [each[:5] for each in odd.value.problems] == ["RL103", "RL102", "RL103", "RL101", "RL101"]
