"""Handoffs that exist only while a predicate holds: those a model chooses, and those that nobody does."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    BuildError,
    ConditionError,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    Message,
    ToolContext,
    WorkflowRunState,
    tool,
)
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.messages import JSON
from relayline.testing import Crash, Reply, ScriptedClient, call, crash_at, handoff_to

Shared = Mapping[str, JSON]
Transcript = Sequence[Message]


@tool(repeatable=True)
def verify(context: ToolContext) -> str:
    """Find out who it is."""
    context.state["verified"] = True
    return "it is Kim"


def verified(transcript: Transcript, state: Shared) -> bool:
    return bool(state.get("verified"))


async def verified_later(transcript: Transcript, state: Shared) -> bool:
    await asyncio.sleep(0)
    return verified(transcript, state)


def bank(script: Mapping[str, Sequence[Reply]], when: Any = verified) -> tuple[HandoffBuilder, ScriptedClient]:
    """Front may always go to back, and to the vault only once it is known who asks."""
    client = ScriptedClient(script)
    agents = [
        Agent("front", tools=[verify], client=client),
        *(Agent(name, client=client) for name in ("back", "vault")),
    ]
    builder = HandoffBuilder(name="bank", participants=agents).add_handoff("front", "back")
    return builder.add_handoff("front", "vault", when=when).add_handoff("vault", "front"), client


def offered(client: ScriptedClient) -> list[list[str]]:
    return [[spec.name for spec in request.tools] for request in client.requests]


# --- Those a model chooses


@pytest.mark.parametrize("when", [verified, verified_later])
async def test_a_handoff_is_offered_only_while_its_predicate_holds(when: Callable[..., object]) -> None:
    """It is asked before each reply, sync or async: what a tool changed opens it within the same turn."""
    builder, client = bank({"front": [call("verify"), handoff_to("vault")], "vault": ["Open."]}, when)
    assert (await builder.build().run("hi")).text == "Open."
    client.assert_done()
    assert offered(client)[:2] == snapshot(
        [["verify", "handoff_to_back"], ["verify", "handoff_to_back", "handoff_to_vault"]]
    )


async def test_it_may_be_closed_again() -> None:
    """What was offered once is offered no more when the predicate no longer holds."""
    builder, client = bank(
        {"front": ["Yes?", "Yes?", "Yes?"]}, lambda transcript, state: "vault" in transcript[-1].text
    )
    workflow = builder.build()
    for words in ("hi", "the vault!", "no, sorry"):
        await workflow.run(words, session_id="s")
    assert ["handoff_to_vault" in names for names in offered(client)] == [False, True, False]


async def test_a_model_that_calls_it_anyway_is_told_and_can_repair_it() -> None:
    """A closed handoff that is called is an error result, and the conversation stays."""
    builder, client = bank({"front": [handoff_to("vault"), handoff_to("back")], "back": ["Here."]})
    result = await builder.build().run("hi")
    assert result.text == "Here."
    [told] = client.requests[1].messages[-1].tool_results
    assert (told.outcome, told.content) == snapshot(("error", "Not taken: the handoff to 'vault' is not open now."))


async def test_a_predicate_is_asked_before_the_reply_and_not_after() -> None:
    """A tool beside the handoff cannot open it for the call that was made with it."""
    both: Reply = [call("verify"), handoff_to("vault")]
    builder, client = bank({"front": [both, handoff_to("vault")], "vault": ["Open."]})
    await builder.build().run("hi")
    assert [each.outcome for each in client.requests[1].messages[-1].tool_results] == ["done", "error"]


async def test_a_predicate_that_fails_fails_the_run_and_harms_nothing() -> None:
    """A ConditionError that names the handoff, with its cause; once it is mended the same message is answered."""
    broken = True

    def when(transcript: Transcript, state: Shared) -> bool:
        if broken:
            raise ZeroDivisionError("oops")
        return True

    builder, client = bank({"front": ["Hello."]}, when)
    workflow = builder.build()
    with pytest.raises(ConditionError) as raised:
        await workflow.run("hi", session_id="s")
    assert str(raised.value) == snapshot(
        "the predicate of the handoff from 'front' to 'vault' failed: ZeroDivisionError: oops"
    )
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert (await workflow.session("s")).state == WorkflowRunState.FAILED
    assert client.requests == []
    broken = False
    result = await workflow.run(session_id="s")
    assert [message.text for message in result.conversation] == ["hi", "Hello."]


async def test_after_a_predicate_failed_a_new_message_works_as_well() -> None:
    """Both messages are answered."""
    answers = iter([RuntimeError("down"), True])

    def when(transcript: Transcript, state: Shared) -> bool:
        if isinstance(answer := next(answers), Exception):
            raise answer
        return bool(answer)

    builder, client = bank({"front": ["Hello."]}, when)
    workflow = builder.build()
    with pytest.raises(ConditionError):
        await workflow.run("hi", session_id="s")
    await workflow.run("anyone?", session_id="s")
    assert [message.text for message in client.requests[-1].messages] == ["hi", "anyone?"]


async def test_a_preview_offers_what_the_model_would_be_offered() -> None:
    """The predicate is asked for it, and one that fails says so."""
    builder, _ = bank({"front": ["Yes?"]})
    workflow = builder.build()
    await workflow.run("hi", session_id="s")
    assert [spec.name for spec in (await workflow.preview("s", "front")).tools] == ["verify", "handoff_to_back"]
    await workflow.with_client(ScriptedClient("Hm."), override=True).run("on", session_id="s", state={"verified": True})
    assert [spec.name for spec in (await workflow.preview("s", "front")).tools][-1] == "handoff_to_vault"

    builder, _ = bank({"vault": ["Yes?"]}, lambda transcript, state: state["nobody set this"])
    workflow = builder.build()
    await workflow.run("hi", session_id="s", to="vault")
    with pytest.raises(ConditionError, match="'front' to 'vault' failed: KeyError"):
        await workflow.preview("s", "front")


async def test_the_predicate_of_an_edge_is_its_own() -> None:
    """Two sources of one target, each with its predicate; and one call may guard several targets."""
    client = ScriptedClient("Yes?", "Yes?", "Yes?")
    agents = [Agent(name, client=client) for name in "abcd"]
    builder = HandoffBuilder(participants=agents)
    builder.add_handoff("a", ["c", "d"], when=lambda transcript, state: state.get("who") == "a")
    builder.add_handoff("b", "c", when=lambda transcript, state: state.get("who") == "b").add_handoff("b", "a")
    workflow = builder.build()
    await workflow.run("hi", session_id="s", to="a", state={"who": "a"})
    await workflow.run("hi", session_id="s", to="b")
    await workflow.run("hi", session_id="s", to="b", state={"who": "b"})
    assert offered(client) == [
        ["handoff_to_c", "handoff_to_d"],
        ["handoff_to_a"],
        ["handoff_to_c", "handoff_to_a"],
    ]


async def test_a_predicate_cannot_change_what_it_decides_about() -> None:
    """It is given copies, all the way down."""

    def when(transcript: Transcript, state: Any) -> bool:
        state["basket"].append("a gift")
        state["basket"][0]["price"] = 0
        state["new"] = 1
        return True

    builder, _ = bank({"front": ["Yes?"], "back": ["No."], "vault": ["Open."]}, when)
    workflow = builder.add_handoff("back", "vault", always=True, when=when).build()
    await workflow.run("hi", session_id="s", state={"basket": [{"price": 5}]})
    await workflow.run("hi", session_id="s", to="back")
    assert (await workflow.session("s")).shared == {"basket": [{"price": 5}]}


@pytest.mark.parametrize("wrong", [lambda: True, lambda transcript: True, lambda *, transcript, state: True, 7, "yes"])
def test_a_predicate_takes_the_transcript_and_the_state(wrong: Any) -> None:
    """Anything else is a problem at build, not in the middle of a conversation."""
    builder, _ = bank({}, wrong)
    with pytest.raises(BuildError, match=r"RL103 when is .* it is a function of the transcript and the state"):
        builder.build()


def test_whatever_can_be_called_with_two_is_a_predicate() -> None:
    """A method, a callable object, one with more that has defaults, a built-in."""

    class Rule:
        def __call__(self, transcript: Transcript, state: Shared, strict: bool = True) -> bool:
            return strict

        def method(self, transcript: Transcript, state: Shared) -> bool:
            return True

    for good in (Rule(), Rule().method, max, lambda *both: True):
        bank({}, good)[0].build()


# --- Those nobody chooses


def chain(script: Mapping[str, Sequence[Reply]], **ways: Any) -> tuple[HandoffBuilder, ScriptedClient]:
    """From a to each named target, unconditionally or as its predicate says, in this order."""
    client = ScriptedClient(script)
    builder = HandoffBuilder(name="chain", participants=[Agent(name, client=client) for name in "abcd"])
    for target, when in ways.items():
        builder.add_handoff("a", target, always=True, when=when)
    return builder, client


def says(words: str) -> Callable[..., bool]:
    return lambda transcript, state: words in transcript[-1].text


@pytest.mark.parametrize(("words", "next_agent"), [("to b", "b"), ("to c", "c"), ("to c, or to b", "b"), ("on", "d")])
async def test_guarded_edges_are_tried_in_declared_order_and_the_plain_one_last(words: str, next_agent: str) -> None:
    """The first whose predicate holds is taken; where none does, the one without."""
    builder, client = chain({"a": [words], next_agent: ["Mine."]}, b=says("to b"), c=says("to c"), d=None)
    events = [event async for event in builder.build().run("hi")]
    client.assert_done()
    assert [(e.data.source, e.data.target) for e in events if e.type == "handoff_sent"] == [("a", next_agent)]


async def test_no_further_predicate_is_asked_once_one_holds() -> None:
    """They may be slow, or fail for want of what another one would have seen."""
    asked: list[str] = []

    def when(name: str, answer: bool) -> Callable[..., bool]:
        return lambda transcript, state: bool(asked.append(name)) or answer

    builder, _ = chain({"a": ["x"], "c": ["y"]}, b=when("b", False), c=when("c", True), d=when("d", True))
    await builder.build().run("hi")
    assert asked == ["b", "c"]


async def test_where_no_way_is_open_it_goes_on_as_without_them() -> None:
    """An agent with exits asks the user; one that is left with none ends the conversation."""
    for exits, state in ((["c"], WorkflowRunState.IDLE_WITH_PENDING_REQUESTS), ([], WorkflowRunState.IDLE)):
        builder, _ = chain({"a": ["x"]}, b=says("never"))
        for target in exits:
            builder.add_handoff("a", target)
        assert (await builder.build().run("hi")).state == state


async def test_a_guarded_edge_is_never_offered_to_the_model() -> None:
    """But the model may be offered another one to the same target."""
    builder, client = chain({"a": [handoff_to("c")], "c": ["x"]}, b=says("never"), c=says("never"))
    builder.add_handoff("a", "c")
    await builder.build().run("hi")
    assert offered(client)[0] == ["handoff_to_c"]


@pytest.mark.parametrize("stops", [True, False])
async def test_a_termination_condition_comes_first(stops: bool) -> None:
    """It ends the conversation though a way on is open; where it does not, the way is taken."""
    builder, _client = chain({"a": ["x"], "b": ["y"]}, b=says("x"))
    builder.with_termination_condition(lambda transcript: stops and transcript[-1].text == "x")
    result = await builder.build().run("hi")
    assert result.text == ("x" if stops else "x\ny")


@pytest.mark.parametrize("condition", [True, False])
async def test_a_guard_may_be_async_and_may_fail(condition: bool) -> None:
    """Then the run fails with a ConditionError that names the edge, and a retry asks it again; no word is lost."""
    broken = True

    async def when(transcript: Transcript, state: Shared) -> bool:
        await asyncio.sleep(0)
        if broken:
            raise OSError("no route")
        return True

    builder, client = chain({"a": ["x"], "b": ["y"]}, b=when)
    if condition:
        builder.with_termination_condition(lambda transcript: False)
    workflow = builder.build()
    with pytest.raises(ConditionError, match="the handoff from 'a' to 'b' failed: OSError: no route"):
        await workflow.run("hi", session_id="s")
    assert (await workflow.session("s")).state == WorkflowRunState.FAILED
    broken = False
    assert (await workflow.run(session_id="s")).text == "y"
    client.assert_done()


async def test_a_circle_of_guarded_edges_ends_as_loop_control_says() -> None:
    """Open for ever, it is walked once; with on_loop="stop" the conversation is finished, else the user is asked."""
    ends = {"tell_model": "IDLE_WITH_PENDING_REQUESTS", "ask_user": "IDLE_WITH_PENDING_REQUESTS", "stop": "IDLE"}
    for on_loop, state in ends.items():
        builder, client = chain({"a": ["1", "3"], "b": ["2"]}, b=lambda transcript, state: True)
        builder.add_handoff("b", "a", always=True, when=lambda transcript, state: True)
        events = [event async for event in builder.with_loop_control(on_loop=on_loop).build().run("hi")]  # type: ignore[arg-type]
        assert [event.data.code for event in events if event.type == "warning"] == ["cycle"]
        assert events[-1].data == state
        client.assert_done()


async def test_a_circle_that_its_guard_ends_is_no_loop() -> None:
    """A draft goes back and forth until the editor is content."""
    script = {"a": ["draft 1", "draft 2", "draft 3"], "b": ["no", "no", "good"]}
    builder, client = chain(script, b=None)
    builder.add_handoff("b", "a", always=True, when=lambda transcript, state: transcript[-1].text != "good")
    builder.with_loop_control(allow_cycles=True)
    result = await builder.build().run("hi")
    client.assert_done()
    assert (result.messages[-1].text, result.state) == ("good", WorkflowRunState.IDLE)


async def test_an_autonomous_agent_goes_on_until_its_guard_opens() -> None:
    """A way that is open comes before autonomy; one that is not leaves the agent its turns."""
    builder, client = chain({"a": ["plan", "draft", "DONE"], "b": ["Mine."]}, b=says("DONE"))
    result = await builder.with_autonomous_mode(["a"], turn_limits={"a": 5}).build().run("hi")
    client.assert_done()
    assert result.text.split("\n") == ["plan", "draft", "DONE", "Mine."]


async def test_whoever_consulted_waits_while_a_guard_is_open() -> None:
    """A way on comes before giving back; where none is open it is given back."""
    for words, order in (("done", "b a"), ("to c", "b c")):
        builder, _client = chain({"a": [handoff_to("b"), "end"], "b": [words], "c": ["end"]})
        builder.add_handoff("a", "b", returns="caller").add_handoff("b", "c", always=True, when=says("to c"))
        result = await builder.build().run("hi")
        assert (
            " ".join(
                message.author_name
                for message in result.messages
                if message.text and message.author_name and message.role == "assistant"
            )
            == order
        )


async def test_what_was_decided_about_a_guard_is_kept_and_what_was_not_is_asked_again() -> None:
    """Dying at any append: each ending is the same, and a handoff that is on record is not decided anew."""
    endings: set[str] = set()
    for append in range(1, 6):
        for written in (True, False):
            builder, _ = chain({"a": ["x"] * 2, "b": ["y"] * 2}, b=says("x"))
            store = InMemoryCheckpointStorage()
            workflow = builder.with_checkpointing(store).build()
            try:
                await workflow.with_store(crash_at(store, append, written=written)).run("hi", session_id="s")
            except Crash:
                if not await store.read("s"):
                    continue
                await workflow.run(session_id="s")
            conversation = (await workflow.session("s")).conversation
            endings.add(" ".join(message.text for message in conversation))
    assert endings == {"hi x y"}


async def test_a_guard_is_asked_in_the_process_that_resumes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """On what the team kept in common before the first one died."""
    path = tmp_path_factory.mktemp("db") / "sessions.db"
    for broken in (True, False):

        def when(transcript: Transcript, state: Shared, broken: bool = broken) -> bool:
            if broken:
                raise RuntimeError("died here")
            return state["urgent"] is True

        store = SqliteCheckpointStorage(path)
        builder, _ = chain({"a": ["x"] if broken else [], "b": ["y"]}, b=when)
        workflow = builder.with_checkpointing(store).build()
        if broken:
            with pytest.raises(ConditionError):
                await workflow.run("hi", session_id="s", state={"urgent": True})
        else:
            assert (await workflow.run(session_id="s")).text == "y"
        await store.aclose()


def test_guards_that_can_never_be_reached_are_told_at_build() -> None:
    """Behind an unconditional edge, and beside a second one."""
    builder, _ = chain({}, b=None, c=says("c"))
    with pytest.raises(BuildError, match="RL111 'a' always hands over to 'b', so nothing declared after it is reached"):
        builder.build()
    builder, _ = chain({}, b=None, c=None)
    with pytest.raises(BuildError, match="RL111 'a' always hands over to 'b' and to 'c'"):
        builder.build()
