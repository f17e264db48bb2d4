"""What a tool may know and do beside its arguments: state, handoffs, a payload, progress."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot
from pydantic import BaseModel

from relayline import (
    Agent,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    Run,
    RunResult,
    ToolContext,
    UsageError,
    Workflow,
    WorkflowEvent,
    tool,
)
from relayline.context import SharedState
from relayline.events import StateChanged, ToolReturned, Transfer
from relayline.journal.codec import encode
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.messages import ToolResult
from relayline.testing import Crash, Reply, ScriptedClient, call, crash_at, handoff_to


class Ticket(BaseModel):
    """What the desk has to know."""

    order: str
    amount: float = 0.0


def alone(*replies: Reply, tools: Sequence[Any]) -> Workflow:
    return HandoffBuilder(participants=[Agent("a", tools=tools, client=ScriptedClient(*replies))]).build()


def results(result: RunResult) -> list[ToolResult]:
    return [each for message in result.messages for each in message.tool_results]


async def once_returned(run: Run, name: str, then: asyncio.Event) -> list[WorkflowEvent]:
    """Let the other tools go on once the result of this one is kept."""
    events: list[WorkflowEvent] = []
    async for event in run:
        events.append(event)
        if event.type == "tool_result" and event.data.name == name:
            then.set()
    return events


# --- State


def put(context: ToolContext, key: str, value: Any) -> str:
    """Set a key."""
    context.state[key] = value
    return "set"


async def test_state_is_common_to_the_agents_of_a_session_and_to_no_other() -> None:
    """One sets it, another reads it, in a later run too; a session of its own has its own."""
    seen: list[object] = []

    @tool
    def look(context: ToolContext) -> None:
        """Look."""
        seen.append(dict(context.state))

    look_twice: list[Reply] = [call("look"), "Yes?"] * 2
    client = ScriptedClient({"a": [call("put", key="order", value="A-1"), handoff_to("b")], "b": look_twice})
    agents = [Agent("a", tools=[put], client=client), Agent("b", tools=[look], client=client)]
    workflow = HandoffBuilder(participants=agents).build()
    await workflow.run("hi", session_id="s")
    await workflow.run("hi", session_id="other", to="b")
    assert seen == [{"order": "A-1"}, {}]
    assert (await workflow.session("s")).shared == {"order": "A-1"}


async def test_state_survives_the_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is in the journal: another process, on the same file, finds it."""
    path = tmp_path_factory.mktemp("db") / "sessions.db"
    value = {"list": [1, 2.5, None, True, "ä"], "empty": {}}
    store = SqliteCheckpointStorage(path)
    agent = Agent("a", tools=[put], client=ScriptedClient(call("put", key="x", value=value), "Kept."))
    await HandoffBuilder(participants=[agent]).with_checkpointing(store).build().run("hi", session_id="s")
    await store.aclose()

    store = SqliteCheckpointStorage(path)

    @tool
    def look(context: ToolContext) -> object:
        """Look."""
        del context.state["x"]
        return dict(context.state)

    agent = Agent("a", tools=[look], client=ScriptedClient(call("look"), "Gone."))
    workflow = HandoffBuilder(participants=[agent]).with_checkpointing(store).build()
    assert (await workflow.session("s")).shared == {"x": value}
    [told] = results(await workflow.run("hi", session_id="s"))
    assert told.content == "{}"
    assert (await workflow.session("s")).shared == {}
    await store.aclose()


async def test_what_a_tool_changed_is_one_fact_before_its_result() -> None:
    """What was set and what was deleted, by which call; nothing if nothing changed."""
    store = InMemoryCheckpointStorage()

    @tool
    def change(context: ToolContext) -> None:
        """Change."""
        context.state["kept"] = 1
        del context.state["old"]
        context.state["passing"] = 1
        del context.state["passing"]

    agent = Agent(
        "a", tools=[change, put], client=ScriptedClient(call("change"), call("put", key="kept", value=1), ".")
    )
    workflow = HandoffBuilder(participants=[agent]).with_checkpointing(store).build()
    events = [event async for event in workflow.run("hi", session_id="s", state={"old": 0, "kept": 0})]
    assert [event.type for event in events if event.type in ("state_changed", "tool_call", "tool_result")] == [
        "state_changed",
        "tool_call",
        "state_changed",
        "tool_result",
        "tool_call",
        "tool_result",
    ]
    entries = await store.read("s")
    [changed] = [each for each in entries if isinstance(each.fact, StateChanged) and each.fact.call_id]
    assert (entries[changed.seq].fact.type, entries[changed.seq].at) == ("tool_returned", changed.at)  # one batch
    changes = [entry.fact for entry in entries if isinstance(entry.fact, StateChanged)]
    assert changes == [StateChanged({"old": 0, "kept": 0}), StateChanged({"kept": 1}, ("old",), "t1-s1-c0")]


async def test_a_list_that_is_changed_in_place_is_a_change() -> None:
    """However deep, and by whatever way it was come by; what was only read is none."""

    @tool
    def change(context: ToolContext) -> None:
        """Change."""
        context.state["items"].append("pen")  # type: ignore[union-attr,call-arg]
        context.state["deep"]["er"][0]["n"] += 1  # type: ignore[index,call-overload]
        context.state.setdefault("log", []).append("bought")  # type: ignore[union-attr]
        for value in context.state.values():
            if isinstance(value, dict):
                value["seen"] = True
        assert context.state["untouched"] == [0]

    events = [
        event
        async for event in alone(call("change"), "Done.", tools=[change]).run(
            "hi", state={"items": [], "deep": {"er": [{"n": 1}]}, "untouched": [0]}
        )
    ]
    assert [event.data for event in events if event.type == "state_changed"][1:] == [
        StateChanged({"items": ["pen"], "deep": {"er": [{"n": 2}], "seen": True}, "log": ["bought"]}, (), "t1-s1-c0")
    ]


@pytest.mark.parametrize(("old", "new"), [(0, False), (1, True), (1, 1.0), ([0], [False]), ({"a": 1}, {"a": True})])
async def test_what_python_takes_for_equal_and_json_does_not_is_a_change(old: Any, new: Any) -> None:
    """No is not nothing."""
    workflow = alone(call("put", key="x", value=new), ".", tools=[put])
    await workflow.run("hi", session_id="s", state={"x": old})
    assert repr((await workflow.session("s")).shared["x"]) == repr(new)


async def test_what_a_tool_only_read_does_not_undo_what_another_one_wrote() -> None:
    """Two calls side by side: the reader returns later, and the writer's change stays."""
    read, kept = asyncio.Event(), asyncio.Event()

    @tool
    async def reader(context: ToolContext) -> object:
        """Read."""
        before = list(context.state["items"])  # type: ignore[arg-type]
        read.set()
        await kept.wait()
        return before

    @tool
    async def writer(context: ToolContext) -> str:
        """Write."""
        await read.wait()
        context.state["items"].append("pen")  # type: ignore[union-attr]
        return "written"

    workflow = alone([call("reader"), call("writer")], ".", tools=[reader, writer])
    run = workflow.run("hi", session_id="s", state={"items": []})
    await once_returned(run, "writer", kept)
    assert [each.content for each in results(await run)] == ["[]", "written"]
    assert (await workflow.session("s")).shared == {"items": ["pen"]}


async def test_of_two_calls_that_change_one_key_the_later_one_wins() -> None:
    """And each keeps what else it changed."""
    first = asyncio.Event()

    @tool
    async def one(context: ToolContext) -> None:
        """One."""
        context.state["who"], context.state["one"] = "one", 1

    @tool
    async def two(context: ToolContext) -> None:
        """Two."""
        context.state["who"], context.state["two"] = "two", 2
        await first.wait()

    workflow = alone([call("two"), call("one")], ".", tools=[one, two])
    await once_returned(workflow.run("hi", session_id="s"), "one", first)
    assert (await workflow.session("s")).shared == {"who": "two", "one": 1, "two": 2}


async def test_a_tool_that_raises_changes_nothing() -> None:
    """Neither state nor who has the conversation."""

    @tool
    def fail(context: ToolContext) -> None:
        """Fail."""
        context.state["x"] = 2
        context.state["items"].append(1)  # type: ignore[union-attr]
        context.handoff("b")
        raise RuntimeError("no fuel")

    client = ScriptedClient({"a": [call("fail"), "Still here."]})
    agents = [Agent("a", tools=[fail], client=client), Agent("b", client=client)]
    workflow = HandoffBuilder(participants=agents).build()
    assert (await workflow.run("hi", session_id="s", state={"x": 1, "items": []})).text == "Still here."
    assert (await workflow.session("s")).shared == {"x": 1, "items": []}


NO_JSON: list[tuple[Callable[[ToolContext], object], str]] = [
    (
        lambda context: context.state.update(x={1, 2}),
        "TypeError: state['x'] has to be JSON: {1, 2} is not a JSON value",
    ),
    (lambda context: context.state.update(x=float("nan")), "TypeError: state['x'] has to be JSON: nan"),
    (lambda context: context.state.update(x="\ud800"), "TypeError: state['x'] has to be JSON: "),
    (lambda context: context.state.update({1: "x"}), "TypeError: state[1] has to be JSON: the key 1 is not a string"),  # type: ignore[dict-item]
    (lambda context: context.state.update(x={None: 1}), "TypeError: state['x'] has to be JSON: the key None"),
]


@pytest.mark.parametrize(("change", "sentence"), NO_JSON)
async def test_what_is_no_json_is_refused_with_a_sentence(
    change: Callable[[ToolContext], object], sentence: str
) -> None:
    """The tool fails, so its model reads why; nothing is changed, and the session goes on."""

    @tool(name="change")
    def changes(context: ToolContext) -> None:
        """Change."""
        context.state["y"] = 1
        change(context)

    workflow = alone(call("change"), "Sorry.", "Yes?", tools=[changes])
    [told] = results(await workflow.run("hi", session_id="s", state={"items": []}))
    assert told.outcome == "error"
    assert told.content.startswith(sentence)
    assert (await workflow.session("s")).shared == {"items": []}
    assert (await workflow.run("on", session_id="s")).text == "Yes?"


async def test_a_context_that_outlives_its_tool_says_so() -> None:
    """Nothing is lost silently: changes and handoffs after the tool returned are refused."""
    kept: list[ToolContext] = []

    @tool(name="keep")
    def keeps(context: ToolContext) -> None:
        """Keep it."""
        kept.append(context)

    workflow = alone(call("keep"), "Kept.", tools=[keeps])
    await workflow.run("hi", state={"a": 1})
    assert kept[0].state["a"] == 1
    with pytest.raises(UsageError, match="has returned"):
        kept[0].state["a"] = 2
    with pytest.raises(UsageError, match="has returned"):
        del kept[0].state["a"]
    with pytest.raises(UsageError, match="has returned"):
        kept[0].handoff("b")


async def test_a_tool_that_has_run_did_so_whatever_it_left() -> None:
    """What is found to be no JSON afterwards is not kept; the result stands, and says so."""

    @tool(name="pay")
    def pays(context: ToolContext) -> str:
        """Pay."""
        context.state["items"].append(object())  # type: ignore[union-attr]
        return "paid"

    workflow = alone(call("pay"), "Paid.", tools=[pays])
    [told] = results(await workflow.run("hi", session_id="s", state={"items": []}))
    assert told.outcome == "done"
    assert told.content.startswith("paid\nIts changes were not kept: what is left in state has to be JSON: <object")
    assert (await workflow.session("s")).shared == {"items": []}


@pytest.mark.parametrize("odd", [{"x": {1}}, {"x": float("inf")}, {1: "x"}, [1], {"\ud800": 1}])
def test_what_is_no_json_cannot_be_given_with_a_message(odd: Any) -> None:
    """It is said at once, before anything happens."""
    with pytest.raises(UsageError, match="state is a mapping of names to JSON values"):
        alone("Yes?", tools=[]).run("hi", state=odd)
    with pytest.raises(UsageError, match="state is given with a message"):
        alone("Yes?", tools=[]).run(session_id="s", state={"x": 1})


async def test_what_the_caller_gave_is_the_callers_to_change() -> None:
    """The session has a copy; and a tool's list is its own after it returned."""
    kept: list[Any] = []

    @tool
    def hold(context: ToolContext) -> None:
        """Hold on to it."""
        kept.append(context.state["items"])
        context.state["items"].append("in time")  # type: ignore[union-attr]

    given: dict[str, Any] = {"items": ["one"]}
    workflow = alone(call("hold"), ".", tools=[hold])
    await workflow.run("hi", session_id="s", state=given)
    given["items"].append("late")
    kept[0].append("late")
    assert (await workflow.session("s")).shared == {"items": ["one", "in time"]}


def test_state_reads_like_a_dict() -> None:
    """With what was set, without what was deleted, and shown as what it holds."""
    state = SharedState(lambda: {"a": 1, "b": [2]})
    state["c"] = (3,)
    del state["a"]
    assert (dict(state), len(state), "a" in state, state.get("a"), list(state)) == (
        {"b": [2], "c": [3]},
        2,
        False,
        None,
        ["b", "c"],
    )
    assert repr(state) == "{'b': [2], 'c': [3]}"
    assert state.pop("b") == [2]
    for gone in ("a", "b", "z"):
        with pytest.raises(KeyError):
            del state[gone]
        with pytest.raises(KeyError):
            state[gone]
    state["a"] = 1  # as it was
    assert state.changes() == ({"c": [3]}, ("b",))


# --- Handoffs


def jump(context: ToolContext, to: str = "desk", reason: str = "", payload: Any = None) -> str:
    """Hand over."""
    context.handoff(to, reason, payload)
    return "noted"


def team(client: ScriptedClient, *tools: Any, **edge: Any) -> HandoffBuilder:
    """Triage hands over to desk as the edge says, and to fraud if a person agrees; they to triage."""
    triage = Agent("triage", tools=[jump, *tools], client=client)
    agents = [triage, *(Agent(name, client=client) for name in ("desk", "fraud", "attic"))]
    builder = HandoffBuilder(name="team", participants=agents).add_handoff("triage", "desk", **edge)
    builder.add_handoff("triage", "fraud", approval="always_require")
    return builder.add_handoff("desk", "triage").add_handoff("fraud", "triage")


def moves(events: Sequence[WorkflowEvent]) -> list[tuple[str, str, str]]:
    return [(e.data.source, e.data.target, e.data.reason) for e in events if e.type == "handoff_sent"]


async def test_a_tool_hands_over_once_it_and_the_calls_beside_it_are_done() -> None:
    """Along a declared edge, with its reason; its own result stays its own."""

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    client = ScriptedClient({"triage": [[call("jump", reason="late"), call("look")]], "desk": ["Here."]})
    events = [event async for event in team(client, look).build().run("hi")]
    client.assert_done()
    assert moves(events) == [("triage", "desk", "late")]
    told = [event.data for event in events if event.type == "tool_result"]
    assert sorted((each.name, each.outcome, each.content) for each in told) == [
        ("jump", "done", "noted"),
        ("look", "done", "seen"),
    ]
    assert client.requests[-1].messages[-1].text == "[triage] handed the conversation over to you. Reason: late"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"to": "nobody"}, "no handoff from 'triage' to 'nobody'; declared: 'desk', 'fraud'. Add it with"),
        ({"to": "attic"}, "no handoff from 'triage' to 'attic'; declared: 'desk', 'fraud'. Add it with"),
        ({"to": "triage"}, "no handoff from 'triage' to 'triage'"),
        ({"to": "fraud"}, "a person approves each handoff from 'triage' to 'fraud', so the agent itself has to ask"),
        ({"payload": {"order": "A"}}, "the handoff from 'triage' to 'desk' carries no payload; declare it with"),
    ],
)
async def test_a_tool_can_only_hand_over_as_was_declared(arguments: dict[str, Any], sentence: str) -> None:
    """Anything else raises in the tool, names what is declared, and nothing moves."""
    client = ScriptedClient({"triage": [call("jump", **arguments), "Still here."]})
    result = await team(client).build().run("hi")
    [told] = results(result)
    assert (told.outcome, result.text) == ("error", "Still here.")
    assert told.content.startswith(f"UsageError: {sentence}")


async def test_a_tools_payload_is_checked_and_handed_on() -> None:
    """One that fits reaches the receiver, its tools and the event; any other is an error of the tool."""
    seen: list[object] = []

    @tool
    def look(context: ToolContext) -> None:
        """Look."""
        assert isinstance(context.payload, dict)
        seen.append(dict(context.payload))
        context.payload["order"] = "changed by a tool"

    ticket = {"order": "A-1", "amount": 5}
    wrong: list[Reply] = [
        call("jump"),
        call("jump", payload={"amount": 5}),
        call("jump", payload={"order": "A", "amount": "much"}),
    ]
    script: dict[str, list[Reply]] = {
        "triage": [*wrong, call("jump", payload=ticket)],
        "desk": [call("look"), call("look"), "."],
    }
    client = ScriptedClient(script)
    builder = team(client, payload=Ticket).participants(
        [
            Agent("triage", tools=[jump, look], client=client),
            Agent("desk", tools=[look], client=client),
            Agent("fraud", client=client),
            Agent("attic", client=client),
        ]
    )
    events = [event async for event in builder.build().run("hi")]
    client.assert_done()
    assert [event.data.outcome for event in events if event.type == "tool_result"] == ["error"] * 3 + ["done"] * 3
    assert [event.data.payload for event in events if event.type == "handoff_sent"] == [ticket]
    assert seen == [ticket, ticket]


async def test_a_models_payload_reaches_the_receivers_tools_and_nobody_elses() -> None:
    """Whoever was handed nothing has none; and it is the last one that counts."""
    seen: list[object] = []

    @tool
    def look(context: ToolContext) -> None:
        """Look."""
        seen.append(context.payload)

    def give(order: str) -> Reply:
        return handoff_to("desk", payload={"order": order})

    client = ScriptedClient(
        {
            "triage": [call("look"), give("A"), give("B")],
            "desk": [[call("look"), handoff_to("triage")], call("look"), "."],
        }
    )
    agents = [Agent(name, tools=[look], client=client) for name in ("triage", "desk")]
    builder = HandoffBuilder(participants=agents).add_handoff("triage", "desk", payload=Ticket)
    await builder.add_handoff("desk", "triage").build().run("hi")
    assert seen == [None, {"order": "A"}, {"order": "B"}]


@pytest.mark.parametrize(
    "odd", [{"order": "A", "amount": float("nan")}, {"order": object()}, Ticket(order="A"), {"order": "\ud800"}]
)
async def test_a_payload_no_journal_can_hold_is_an_error_of_the_tool(odd: Any) -> None:
    """With a sentence, and before anything is written."""

    @tool
    def hand_on(context: ToolContext) -> None:
        """Hand on."""
        context.handoff("desk", payload=odd)

    client = ScriptedClient({"triage": [call("hand_on"), "Still here."]})
    result = await team(client, hand_on, payload=Ticket).build().run("hi")
    [told] = results(result)
    assert (told.outcome, result.text) == ("error", "Still here.")
    assert told.content.startswith("UsageError: ")


async def test_half_characters_in_a_reason_are_kept_as_question_marks() -> None:
    """As those of a model are."""

    @tool
    def why(context: ToolContext) -> None:
        """Say why."""
        context.handoff("desk", "half \ud800")

    client = ScriptedClient({"triage": [call("why")], "desk": ["Here."]})
    events = [event async for event in team(client, why).build().run("hi")]
    assert moves(events) == [("triage", "desk", "half ?")]


async def test_a_payload_is_what_it_was_when_it_was_handed_over() -> None:
    """A tool that goes on changing its dict changes nothing else."""

    @tool
    def change(context: ToolContext) -> None:
        """Hand on, and go on."""
        ticket: dict[str, Any] = {"order": "A"}
        context.handoff("desk", payload=ticket)
        ticket.update(order=7, amount={1, 2})

    client = ScriptedClient({"triage": [call("change")], "desk": ["Here."]})
    events = [event async for event in team(client, change, payload=Ticket).build().run("hi")]
    assert [event.data.payload for event in events if event.type == "handoff_sent"] == [{"order": "A"}]


@pytest.mark.parametrize(
    ("before", "in_tool", "moved"),
    [
        ({}, {"open": True}, True),
        ({"open": True}, {"open": False}, False),
        ({}, {}, False),
        ({"open": True}, None, False),
    ],
)
async def test_a_predicate_is_asked_on_what_the_tool_left_in_state(before: Any, in_tool: Any, moved: bool) -> None:
    """A tool opens the way it goes, or closes it, also by deleting; a closed one is told in its result."""

    @tool
    def unlock(context: ToolContext) -> str:
        """Unlock."""
        if in_tool is None:
            del context.state["open"]
        else:
            context.state.update(in_tool)
        context.handoff("desk")
        return "tried"

    client = ScriptedClient({"triage": [call("unlock"), "Still here."][: 1 if moved else 2], "desk": ["Here."]})
    workflow = team(client, unlock, when=lambda transcript, state: bool(state.get("open"))).build()
    result = await workflow.run("hi", state=before)
    [told] = results(result)
    assert result.text == ("Here." if moved else "Still here.")
    assert told.outcome == "done"
    assert told.content == ("tried" if moved else "tried\nNot transferred to desk: that handoff is not open.")


async def test_a_tool_that_ran_is_not_undone_by_a_predicate_that_fails() -> None:
    """Its result and its changes are kept, the handoff is not taken, and its model reads why."""

    def when(transcript: object, state: Any) -> bool:
        if state.get("paid"):
            raise OSError("no route")
        return False

    @tool
    def pay(context: ToolContext) -> str:
        """Pay."""
        context.state["paid"] = True
        context.handoff("desk")
        return "paid"

    client = ScriptedClient({"triage": [call("pay")]})
    workflow = team(client, pay, when=when).build()
    with pytest.raises(Exception, match="no route"):  # of the next reply: the predicate is still broken
        await workflow.run("hi", session_id="s")
    view = await workflow.session("s")
    assert view.shared == {"paid": True}
    [told] = view.conversation[-1].tool_results
    assert (told.outcome, told.content) == snapshot(
        (
            "done",
            """\
paid
Not transferred to desk: the predicate of the handoff from 'triage' to 'desk' failed: OSError: no route.\
""",
        )
    )


MIXED: list[tuple[list[Any], str, list[str]]] = [
    ([call("jump", to="desk", reason="1"), handoff_to("attic", reason="2")], "desk 1", ["done", "not_taken"]),
    ([handoff_to("attic", reason="1"), call("jump", to="desk", reason="2")], "attic 1", ["transferred", "done"]),
    ([call("jump", to="attic", reason="1"), call("jump", to="desk", reason="2")], "attic 1", ["done", "done"]),
    ([call("jump", to="nobody"), call("jump", to="desk", reason="2"), handoff_to("attic")], "desk 2", ["error", "done", "not_taken"]),
    ([call("nothing"), handoff_to("attic", reason="1"), handoff_to("desk"), call("jump")], "attic 1", ["error", "transferred", "not_taken", "done"]),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "taken", "outcomes"), MIXED)
async def test_the_first_in_call_order_is_taken_whoever_asked_for_it(
    reply: list[Any], taken: str, outcomes: list[str]
) -> None:
    """Of a tool's handoffs and the model's: one transfer, and the model's others are told so."""
    target, reason = taken.split()
    client = ScriptedClient({"triage": [reply], target: ["Here."]})
    builder = team(client).add_handoff("triage", "attic").add_handoff("attic", "triage")
    run = builder.build().run("hi")
    events = [event async for event in run]
    client.assert_done()
    assert moves(events) == [("triage", target, reason)]
    assert [each.outcome for each in results(await run)] == outcomes


async def test_of_two_tools_the_first_call_wins_though_the_other_is_faster() -> None:
    """Order is by call, not by clock."""
    go = asyncio.Event()

    @tool
    async def slow(context: ToolContext) -> None:
        """Take its time."""
        await go.wait()
        context.handoff("desk")

    @tool
    async def fast(context: ToolContext) -> None:
        """Be quick."""
        context.handoff("attic")
        go.set()

    client = ScriptedClient({"triage": [[call("slow"), call("fast")]], "desk": ["Here."]})
    events = [event async for event in team(client, slow, fast).add_handoff("triage", "attic").build().run("hi")]
    assert moves(events) == [("triage", "desk", "")]


async def test_a_tool_that_asks_twice_means_the_last() -> None:
    """And a call that was refused in between does not count."""

    @tool
    def twice(context: ToolContext) -> None:
        """Change its mind."""
        context.handoff("attic", "first")
        context.handoff("desk", "second")
        with pytest.raises(UsageError):
            context.handoff("nobody")

    client = ScriptedClient({"triage": [call("twice")], "desk": ["Here."]})
    events = [event async for event in team(client, twice).add_handoff("triage", "attic").build().run("hi")]
    assert moves(events) == [("triage", "desk", "second")]


async def test_a_gated_call_beside_it_is_decided_first() -> None:
    """The transfer waits for the person, in another run too."""

    @tool(approval_mode="always_require")
    def pay() -> str:
        """Pay."""
        return "paid"

    client = ScriptedClient({"triage": [[call("jump"), call("pay")]], "desk": ["Here."]})
    workflow = team(client, pay).build()
    first = await workflow.run("hi", session_id="s")
    assert first.text == ""
    result = await workflow.run(responses={first.requests[0].request_id: True})
    assert [each.content for each in results(result)] == ["noted", "paid"]
    assert result.text == "Here."


async def test_the_user_may_go_on_before_it_happens() -> None:
    """Then the conversation stays with who had it."""

    @tool(approval_mode="always_require")
    def pay() -> str:
        """Pay."""
        return "paid"

    client = ScriptedClient({"triage": [[call("jump"), call("pay")], "All right."]})
    workflow = team(client, pay).build()
    await workflow.run("hi", session_id="s")
    events = [event async for event in workflow.run("no, wait", session_id="s")]
    assert moves(events) == []
    client.assert_done()


@pytest.mark.parametrize("append", range(1, 9))
@pytest.mark.parametrize("written", [True, False])
async def test_dying_at_any_append_the_transfer_happens_once(append: int, written: bool) -> None:
    """Also between the tool's result and that of the call beside it."""
    store = InMemoryCheckpointStorage()

    @tool(repeatable=True)
    async def slow() -> str:
        """Return later: after the thread that the other one runs in."""
        for _ in range(100):
            await asyncio.to_thread(str)
        return "slow"

    again = tool(jump, repeatable=True)

    def workflow() -> Workflow:
        client = ScriptedClient({"triage": [[call("jump"), call("slow")]] * 2, "desk": ["Here."] * 2})
        agents = [Agent("triage", tools=[again, slow], client=client), Agent("desk", client=client)]
        return HandoffBuilder(participants=agents).with_checkpointing(store).build()

    try:
        await workflow().with_store(crash_at(store, append, written=written)).run("hi", session_id="s")
    except Crash:
        await workflow().run(None if await store.read("s") else "hi", session_id="s")
    facts = [entry.fact for entry in await store.read("s")]
    assert [fact.type for fact in facts if fact.type in ("handoff_sent", "tool_returned")] == [
        "tool_returned",
        "tool_returned",
        "handoff_sent",
    ]
    assert (await workflow().session("s")).conversation[-1].text == "Here."


async def test_a_transfer_waits_in_the_journal_for_the_calls_beside_it() -> None:
    """It is a part of the tool's result; nothing more is remembered, and a plain result has not grown."""
    store = InMemoryCheckpointStorage()
    never = asyncio.Event()

    @tool(repeatable=True)
    async def hang() -> str:
        """Hang."""
        await never.wait()
        return "woken"

    client = ScriptedClient({"triage": [[call("jump", reason="late"), call("hang")]], "desk": ["Here."]})
    workflow = team(client, hang).with_checkpointing(store).build()
    async for event in workflow.run("hi", session_id="s"):
        if event.type == "tool_result":
            break
    [returned] = [entry.fact for entry in await store.read("s") if isinstance(entry.fact, ToolReturned)]
    assert returned.transfer == Transfer("desk", "late")
    never.set()
    assert (await workflow.run(session_id="s")).text == "Here."
    assert "transfer" not in encode(ToolReturned(1, ToolResult("1", "x", "y")))


@pytest.mark.parametrize(
    ("policy", "said", "state"),
    [
        ({"on_loop": "ask_user"}, "", "IDLE_WITH_PENDING_REQUESTS"),
        ({"on_loop": "stop"}, "", "IDLE"),
        ({"fallback": "attic"}, "Mine now.", "IDLE"),
        ({"fallback": "triage"}, "Enough.", "IDLE_WITH_PENDING_REQUESTS"),
    ],
)
async def test_loop_control_says_what_becomes_of_a_tools_handoff_too(policy: Any, said: str, state: str) -> None:
    """The user is asked, the conversation stops, or the fallback gets it; the tool's result is as it was."""
    last = [call("jump"), handoff_to("attic")] if said != "Enough." else call("jump")
    client = ScriptedClient(
        {"triage": [call("jump"), last, "Enough."], "desk": [handoff_to("triage")], "attic": ["Mine now."]}
    )
    builder = team(client).add_handoff("triage", "attic").with_loop_control(max_hops=2, **policy)
    run = builder.build().run("hi")
    events = [event async for event in run]
    assert [event.data.code for event in events if event.type == "warning"] == ["hop_budget"]
    assert ((await run).text, events[-1].data) == (said, state)
    told = [event.data for event in events if event.type == "tool_result" and event.data.name == "jump"][-1]
    assert told.content.startswith("noted")


async def test_a_tools_result_is_news_so_only_the_hop_budget_ends_its_circles() -> None:
    """However often: at the budget the agent is told, with a warning, and goes on itself."""
    again: list[Reply] = [call("jump", to="desk") for _ in range(3)]
    client = ScriptedClient({"triage": [*again, "Enough."], "desk": [handoff_to("triage")] * 2})
    events = [event async for event in team(client).with_loop_control(max_hops=4).build().run("hi")]
    client.assert_done()
    assert [event.data.code for event in events if event.type == "warning"] == ["hop_budget"]
    told = [event.data.text for event in events if event.type == "prompted"]
    assert told == ["Not transferred to desk: the conversation was handed over 4 times since the user last spoke."]


@pytest.mark.parametrize("first", ["look", "jump_later"])
async def test_whether_a_transfer_is_a_loop_does_not_depend_on_who_is_faster(first: str) -> None:
    """The tool that asks for it, or the one beside it that brings news."""
    go = asyncio.Event()

    async def in_turn(name: str) -> None:
        if name != first:
            await go.wait()

    @tool
    async def look() -> str:
        """Look."""
        await in_turn("look")
        return "seen"

    @tool
    async def jump_later(context: ToolContext) -> None:
        """Hand over."""
        await in_turn("jump_later")
        context.handoff("desk")

    client = ScriptedClient(
        {"triage": [handoff_to("desk"), [call("look"), call("jump_later")]], "desk": [handoff_to("triage"), "Here."]}
    )
    run = team(client, look, jump_later).build().run("hi")
    await once_returned(run, first, go)
    client.assert_done()
    assert (await run).text == "Here."


# --- Progress


async def test_what_a_tool_emits_is_shown_in_order_before_its_result_and_kept_nowhere() -> None:
    """From a thread and from a coroutine; as JSON, under the agent's name."""
    store = InMemoryCheckpointStorage()

    @tool
    def in_a_thread(context: ToolContext) -> str:
        """Work."""
        assert threading.current_thread() is not threading.main_thread()
        for number in range(50):
            context.emit({"thread": number})
        return "t"

    @tool
    async def in_the_loop(context: ToolContext) -> str:
        """Work."""
        for number in range(50):
            context.emit(("loop", number))
            await asyncio.sleep(0)
        return "l"

    for name in ("in_a_thread", "in_the_loop"):
        agent = Agent("a", tools=[in_a_thread, in_the_loop], client=ScriptedClient(call(name), "Done."))
        workflow = HandoffBuilder(participants=[agent]).with_checkpointing(store).build()
        events = [event async for event in workflow.run("hi", session_id=name)]
        shown = [event for event in events if event.type == "progress"]
        if name == "in_a_thread":
            assert [event.data for event in shown] == [{"thread": number} for number in range(50)]
        else:
            assert [event.data for event in shown] == [["loop", number] for number in range(50)]
        assert {(event.executor_id, event.seq) for event in shown} == {("a", None)}
        kinds = [event.type for event in events]
        assert kinds[kinds.index("tool_call") + 1 : kinds.index("tool_result")] == ["progress"] * 50
        assert not [entry for entry in await store.read(name) if '"thread"' in encode(entry.fact).replace(name, "")]


async def test_what_a_tool_emitted_before_it_failed_is_shown_too() -> None:
    """Before the error."""

    @tool
    def fail(context: ToolContext) -> None:
        """Fail."""
        context.emit("begun")
        raise RuntimeError("no fuel")

    events = [event.type async for event in alone(call("fail"), "Sorry.", tools=[fail]).run("hi")]
    assert events[events.index("progress") + 1] == "tool_result"


@pytest.mark.parametrize("odd", [object(), {1, 2}, float("nan"), "\ud800", {1: 2}])
async def test_what_is_no_json_cannot_be_emitted(odd: Any) -> None:
    """It is an error of the tool."""

    @tool
    def show(context: ToolContext) -> None:
        """Show."""
        context.emit(odd)

    events = [event async for event in alone(call("show"), "Sorry.", tools=[show]).run("hi")]
    assert "progress" not in [event.type for event in events]
    [told] = [event.data for event in events if event.type == "tool_result"]
    assert told.outcome == "error"
    assert told.content.startswith("TypeError: what is emitted has to be JSON: ")


async def test_what_is_emitted_is_shown_as_it_was_then() -> None:
    """A dict that the tool goes on with is shown as it was each time."""

    @tool
    def count(context: ToolContext) -> None:
        """Count."""
        progress: dict[str, Any] = {"n": 0}
        while progress["n"] < 3:
            context.emit(progress)
            progress["n"] += 1

    events = [event async for event in alone(call("count"), "Done.", tools=[count]).run("hi")]
    assert [event.data for event in events if event.type == "progress"] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_a_reader_that_is_slow_gets_all_progress_in_order() -> None:
    """More than a run keeps waiting; and the tool's thread is not held up."""

    @tool
    def work(context: ToolContext) -> str:
        """Work."""
        for number in range(3_000):
            context.emit(number)
        return "done"

    shown: list[object] = []
    async for event in alone(call("work"), "Done.", tools=[work]).run("hi"):
        if event.type == "progress":
            shown.append(event.data)
            await asyncio.sleep(0)
    assert shown == list(range(3_000))


@pytest.mark.parametrize("thread", [True, False])
async def test_a_run_can_be_left_whatever_was_emitted(thread: bool) -> None:
    """More than anybody will ever read: leaving does not wait for it, and what is emitted afterwards goes nowhere."""
    go, over = threading.Event(), threading.Event()

    @tool
    def in_a_thread(context: ToolContext) -> None:
        """Work."""
        for number in range(3_000):
            context.emit(number)
        go.wait(5)
        context.emit("too late")
        over.set()

    @tool
    async def in_the_loop(context: ToolContext) -> None:
        """Work."""
        for number in range(3_000):
            context.emit(number)
        await asyncio.Event().wait()

    name = "in_a_thread" if thread else "in_the_loop"
    workflow = alone(call(name), tools=[in_a_thread, in_the_loop])
    async with asyncio.timeout(5):
        async with workflow.run("hi", session_id="s") as run:
            async for event in run:
                if event.type == "progress" and event.data == 5:
                    break
    go.set()
    if thread:
        await asyncio.to_thread(over.wait, 5)
    for _ in range(10):
        await asyncio.sleep(0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and "_Progress" in repr(task)]
    assert left == []


async def test_what_a_tool_left_behind_emits_is_shown_to_nobody() -> None:
    """A task of a tool that has returned speaks into the void, not into the events that come after the result."""
    late: list[asyncio.Task[None]] = []

    @tool
    async def leave(context: ToolContext) -> None:
        """Leave something behind."""

        async def later() -> None:
            await asyncio.sleep(0)
            context.emit("late")

        late.append(asyncio.create_task(later()))

    events = [event async for event in alone(call("leave"), "Done.", tools=[leave]).run("hi")]
    await late[0]
    assert "progress" not in [event.type for event in events]


# --- Without a team


async def test_a_tool_is_tested_with_a_context_made_by_hand() -> None:
    """State is a dict, handoffs are a list, and what is emitted goes nowhere."""

    @tool
    def escalate(order: str, context: ToolContext) -> str:
        """Let a person look at it."""
        context.state["order"] = order
        context.state.setdefault("log", []).append("escalated")  # type: ignore[union-attr]
        context.handoff("desk", "wants a person", {"order": order})
        context.emit("halfway")
        return context.idempotency_key

    context = ToolContext("s", "front", "t1-s1-c0", "s/t1-s1-c0", [], payload={"x": 1})
    assert escalate("A-1", context) == "s/t1-s1-c0"
    assert context.state == {"order": "A-1", "log": ["escalated"]}
    assert context.handoffs == [Transfer("desk", "wants a person", {"order": "A-1"})]
    assert context.payload == {"x": 1}


async def test_what_a_tool_knows_of_its_call() -> None:
    """Session, agent, call, a key that is the call's own, and the conversation up to it."""
    seen: list[ToolContext] = []

    @tool
    def look(context: ToolContext) -> None:
        """Look."""
        seen.append(context)

    await alone([call("look"), call("look")], "Done.", tools=[look]).run("hi", session_id="s")
    assert sorted((each.session_id, each.agent, each.call_id, each.idempotency_key) for each in seen) == [
        ("s", "a", "t1-s1-c0", "s/t1-s1-c0"),
        ("s", "a", "t1-s1-c1", "s/t1-s1-c1"),
    ]
    for context in seen:
        assert [message.role for message in context.transcript] == ["user", "assistant"]
        assert context.payload is None


@pytest.mark.parametrize(("target", "reason"), [(7, ""), ("desk", None), ("desk", 5)])
def test_a_handoff_of_odd_types_is_refused(target: Any, reason: Any) -> None:
    """With a sentence, in the tool that asked."""
    context = ToolContext("s", "triage", "c", "k", ())
    with pytest.raises(UsageError, match="the name of an agent and a reason in words"):
        context.handoff(target, reason)
