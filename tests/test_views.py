"""How much of the conversation an agent is given."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    BuildError,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    Media,
    Message,
    ModelError,
    ReplyInfo,
    Text,
    ToolCall,
    ToolResult,
    UsageError,
    Workflow,
    WorkflowRunState,
    tool,
    views,
)
from relayline.events import Summarised
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.machine.view import sound
from relayline.testing import Crash, Reply, ScriptedClient, call, check_everywhere, crash_at, handoff_to
from relayline.views import View

# --- One conversation, as each policy shows it


@tool(repeatable=True)
def find(order: str) -> dict[str, str]:
    """Look an order up."""
    return {"order": order, "state": "sent"}


@tool(repeatable=True)
def weigh(order: str) -> str:
    """Weigh it."""
    raise LookupError(f"no scales for {order}")


@tool(approval_mode="always_require")
def refund(order: str) -> str:
    """Pay money back."""
    return f"paid for {order}"


def shop(view: Any = None, *, store: Store | None = None) -> tuple[Workflow, ScriptedClient]:
    """Front, orders and billing; what they say and do is fixed, and billing is given what ``view`` leaves."""
    client = ScriptedClient(
        {
            "front": [["One moment.", handoff_to("orders", reason="parcel")]],
            "orders": [
                [call("find", order="A-1"), call("weigh", order="A-1"), call("refund", order="A-1"), call("nonsense")],
                "It was sent, and I may not pay.",
                [handoff_to("billing", reason="wants money"), handoff_to("front")],
            ],
            "billing": [call("find", order="A-1"), "Who are you?", "I see."],
        }
    )
    agents = [
        Agent("front", client=client),
        Agent("orders", tools=[find, weigh, refund], client=client),
        Agent("billing", tools=[find], client=client),
    ]
    builder = HandoffBuilder(name="shop", participants=agents)
    builder.with_checkpointing(store or InMemoryCheckpointStorage())
    return (builder if view is None else builder.with_view("billing", view)).build(), client


async def talk(workflow: Workflow) -> None:
    """The user asks three times; a person refuses what orders wants to pay."""
    first = await workflow.run("Where is A-1?", session_id="s")
    await workflow.run(responses={first.requests[0].request_id: False})
    await workflow.run("I want my money!", session_id="s")
    await workflow.run("Kim.", session_id="s")


def line(part: object) -> str:
    match part:
        case Text(text):
            return text.replace("\n", " / ")
        case ToolCall(_, name, arguments):
            return f"-> {name} {arguments}"
        case ToolResult(_, name, content, outcome):
            return f"<- {name} {outcome}: {content}"
        case _:
            raise AssertionError(part)


def shown(messages: Sequence[Message]) -> list[str]:
    return [f"{each.role} {each.author_name}: {line(part)}" for each in messages for part in each.parts]


async def billing_sees(view: Any) -> list[str]:
    """What billing's model was given for its last reply; and every request of the team is one that providers take."""
    workflow, client = shop(view)
    await talk(workflow)
    client.assert_done()
    for request in client.requests:
        check_everywhere(request)
    assert client.requests[-1].agent.name == "billing"
    return shown(client.requests[-1].messages)


async def test_text_shows_words_and_ones_own_traffic() -> None:
    """Colleagues' words stand under their names; their calls and results are left out. It is the default."""
    assert await billing_sees(views.text) == snapshot(
        [
            "user : Where is A-1?",
            "user front: [front] One moment.",
            "user orders: [orders] It was sent, and I may not pay.",
            "user : I want my money!",
            "user orders: [orders] handed the conversation over to you. Reason: wants money",
            'assistant billing: -> find {"order": "A-1"}',
            'tool billing: <- find done: {"order":"A-1","state":"sent"}',
            "assistant billing: Who are you?",
            "user : Kim.",
        ]
    )
    assert await billing_sees(None) == await billing_sees(views.text)


async def test_with_results_shows_what_colleagues_found_out() -> None:
    """Quoted as data, under the tool's name; not what failed or was refused."""
    assert await billing_sees(views.with_results) == snapshot(
        [
            "user : Where is A-1?",
            "user front: [front] One moment.",
            'user orders: [orders] find returned "{\\"order\\":\\"A-1\\",\\"state\\":\\"sent\\"}"',
            "user orders: [orders] It was sent, and I may not pay.",
            "user : I want my money!",
            "user orders: [orders] handed the conversation over to you. Reason: wants money",
            'assistant billing: -> find {"order": "A-1"}',
            'tool billing: <- find done: {"order":"A-1","state":"sent"}',
            "assistant billing: Who are you?",
            "user : Kim.",
        ]
    )


async def test_full_shows_all_that_colleagues_did() -> None:
    """Their calls with arguments, every result with its outcome, and their handoffs to others."""
    assert await billing_sees(views.full) == snapshot(
        [
            "user : Where is A-1?",
            'user front: [front] One moment. / [front] called handoff_to_orders with {"reason": "parcel"}',
            'user front: [front] handoff_to_orders: transferred, "Transferred to orders."',
            "user front: [front] handed the conversation over to orders. Reason: parcel",
            'user orders: [orders] called find with {"order": "A-1"} / [orders] called weigh with {"order": "A-1"} / [orders] called refund with {"order": "A-1"} / [orders] called nonsense with {}',
            'user orders: [orders] find: done, "{\\"order\\":\\"A-1\\",\\"state\\":\\"sent\\"}" / [orders] weigh: error, "LookupError: no scales for A-1" / [orders] refund: refused, "Not run: a person refused it." / [orders] nonsense: error, "Not run: \'orders\' has no tool \'nonsense\'; it has: find, weigh, refund, handoff_to_front, handoff_to_billing."',
            "user orders: [orders] It was sent, and I may not pay.",
            "user : I want my money!",
            'user orders: [orders] called handoff_to_billing with {"reason": "wants money"} / [orders] called handoff_to_front with {}',
            'user orders: [orders] handoff_to_billing: transferred, "Transferred to billing." / [orders] handoff_to_front: not_taken, "Not taken: the conversation went to billing."',
            "user orders: [orders] handed the conversation over to you. Reason: wants money",
            'assistant billing: -> find {"order": "A-1"}',
            'tool billing: <- find done: {"order":"A-1","state":"sent"}',
            "assistant billing: Who are you?",
            "user : Kim.",
        ]
    )


async def test_last_shows_the_newest_messages() -> None:
    """Of users and agents; results and notes between them come along."""
    assert await billing_sees(views.last(2)) == snapshot(["user : Kim."])
    assert await billing_sees(views.last(4)) == snapshot(
        [
            "user orders: [orders] handed the conversation over to you. Reason: wants money",
            'assistant billing: -> find {"order": "A-1"}',
            'tool billing: <- find done: {"order":"A-1","state":"sent"}',
            "assistant billing: Who are you?",
            "user : Kim.",
        ]
    )
    assert await billing_sees(views.last(99)) == await billing_sees(views.text)


async def test_last_of_another_view_shows_its_end() -> None:
    """What is cut off is the beginning; what is left looks as that view shows it."""
    whole = await billing_sees(views.full)
    end = await billing_sees(views.last(4, views.full))
    assert whole[-len(end) :] == end
    assert len(end) < len(whole)


async def test_summary_shows_what_came_before_in_a_models_words() -> None:
    """And all since then as the view beneath shows it."""
    scribe = ScriptedClient("Kim's parcel A-1 was sent.")
    assert await billing_sees(views.summary(scribe)) == snapshot(
        [
            "user team: What was said before, summed up: / Kim's parcel A-1 was sent.",
            "user orders: [orders] handed the conversation over to you. Reason: wants money",
            'assistant billing: -> find {"order": "A-1"}',
            'tool billing: <- find done: {"order":"A-1","state":"sent"}',
            "assistant billing: Who are you?",
            "user : Kim.",
        ]
    )
    scribe.assert_done()
    [request] = scribe.requests
    check_everywhere(request)
    assert shown(request.messages) == snapshot(
        [
            "user : Where is A-1?",
            "user front: [front] One moment.",
            "user orders: [orders] It was sent, and I may not pay.",
            "user : I want my money!",
            "user team: Sum up the conversation above for billing, who takes over now.",
        ]
    )
    assert (request.agent.name, request.tools) == ("summary", ())


async def test_shaped_shows_what_a_function_makes_of_it() -> None:
    """It is given the messages and the agent's name; sync or async, bare or with a view beneath."""
    given: list[tuple[int, str]] = []

    def newest(messages: Sequence[Message], agent: str) -> Sequence[Message]:
        given.append((len(messages), agent))
        return messages[-1:]

    async def newest_later(messages: Sequence[Message], agent: str) -> Sequence[Message]:
        await asyncio.sleep(0)
        return newest(messages, agent)

    assert await billing_sees(newest) == ["user : Kim."]
    assert await billing_sees(newest_later) == ["user : Kim."]
    assert await billing_sees(views.shaped(newest)) == ["user : Kim."]
    assert {agent for _, agent in given} == {"billing"}
    usual = len(given) // 3
    assert await billing_sees(views.shaped(newest, views.last(2))) == ["user : Kim."]
    assert max(size for size, _ in given[3 * usual :]) < max(size for size, _ in given[:usual])


async def test_what_a_function_leaves_broken_is_mended() -> None:
    """Calls without results, results without calls, an assistant's word at either end, the same twice, and nothing."""

    def only(*roles: str) -> Any:
        return lambda messages, agent: [each for each in messages if each.role in roles]

    assert await billing_sees(only("assistant")) == ["user team: Go on."]
    assert await billing_sees(only("tool")) == ["user team: Go on."]
    assert await billing_sees(lambda messages, agent: []) == ["user team: Go on."]
    assert await billing_sees(only("user", "assistant")) == [
        each for each in await billing_sees(None) if "find" not in each
    ]
    assert await billing_sees(only("user", "tool")) == [each for each in await billing_sees(None) if each[:4] == "user"]
    assert await billing_sees(lambda messages, agent: [*messages, *messages])
    assert await billing_sees(lambda messages, agent: messages[::-1])


# --- Where a view is declared


async def test_a_view_belongs_to_an_agent_or_to_a_handoff() -> None:
    """That of the handoff by which the agent got the conversation comes first; any other way, the agent's."""
    client = ScriptedClient(
        {
            "a": ["Words of a.", handoff_to("c"), handoff_to("b")],
            "b": [handoff_to("c")],
            "c": [handoff_to("a"), "Yes?", "Yes?"],
        }
    )
    agents = [Agent(name, client=client) for name in "abc"]
    builder = HandoffBuilder(participants=agents)
    builder.add_handoff("a", "c", view=lambda messages, agent: messages[-1:])
    builder.add_handoff("a", "b").add_handoff("b", "c").add_handoff("c", ["a", "b"]).with_view("c", views.full)
    workflow = builder.with_loop_control(allow_cycles=True).build()
    await workflow.run("hi", session_id="s")
    await workflow.run("more", session_id="s")
    asked = [shown(request.messages) for request in client.requests if request.agent.name == "c"]
    assert asked[0] == ["user a: [a] handed the conversation over to you."]
    assert "user a: [a] called handoff_to_b with {}" in asked[1]
    fresh = ScriptedClient("Yes?")
    await workflow.with_client(fresh, override=True).run("hi", session_id="other", to="c")
    assert shown(fresh.requests[0].messages) == ["user : hi"]


async def test_the_others_are_shown_all_of_it_whatever_one_is_given() -> None:
    """A view is a reading: the journal is the same, and so is what anybody else sees."""
    written: list[object] = []
    for view in (None, views.full, views.last(1), lambda messages, agent: messages[-1:]):
        store = InMemoryCheckpointStorage()
        workflow, client = shop(view, store=store)
        await talk(workflow)
        others = [request.messages for request in client.requests if request.agent.name != "billing"]
        written.append(([entry.fact for entry in await store.read("s")], others))
    assert all(each == written[0] for each in written)


async def test_a_function_that_changes_the_list_it_is_given_changes_nothing_else() -> None:
    """It is its own."""

    def rough(messages: Any, agent: str) -> Sequence[Message]:
        kept = messages[-1]
        messages.clear()
        return [kept]

    assert await billing_sees(rough) == ["user : Kim."]
    workflow, client = shop(rough)
    await talk(workflow)
    assert shown((await workflow.preview("s", "front")).messages)[0] == "user : Where is A-1?"
    client.assert_done()


async def test_a_function_that_fails_fails_the_run_and_it_can_be_retried() -> None:
    """As a model does."""
    broken = True

    def shape(messages: Sequence[Message], agent: str) -> Sequence[Message]:
        if broken:
            raise ZeroDivisionError("oops")
        return messages

    client = ScriptedClient("Hello.")
    workflow = HandoffBuilder(participants=[Agent("a", client=client)]).with_view("a", shape).build()
    with pytest.raises(ModelError, match="'a' failed: ZeroDivisionError: oops"):
        await workflow.run("hi", session_id="s")
    broken = False
    assert (await workflow.run(session_id="s")).text == "Hello."


@pytest.mark.parametrize("odd", ["full", 7, [views.text]])
def test_what_is_no_view_is_told_at_build(odd: Any) -> None:
    """On an edge and for an agent; and an agent that is none."""
    agents = [Agent("a"), Agent("b")]
    with pytest.raises(BuildError, match=r"RL103 a view is .* in with_view"):
        HandoffBuilder(participants=agents).with_view("a", odd).build()
    with pytest.raises(BuildError, match=r"RL103 a view is .* in add_handoff"):
        HandoffBuilder(participants=agents).add_handoff("a", "b", view=odd).build()
    with pytest.raises(BuildError, match="RL101 unknown agent 'c' in with_view"):
        HandoffBuilder(participants=agents).with_view("c", views.full).build()


@pytest.mark.parametrize("odd", [0, -1, 1.5, True, "2", None])
def test_last_takes_a_number_of_messages(odd: Any) -> None:
    """A whole one, above 0."""
    with pytest.raises(UsageError, match="last takes a number of messages, 1 or more; got"):
        views.last(odd)


# --- last


async def test_last_never_cuts_off_what_the_user_said_last() -> None:
    """However many messages of agents came after it."""
    client = ScriptedClient(*[f"thought {number}" for number in range(10)])
    agents = [Agent("a", client=client), Agent("b")]
    builder = HandoffBuilder(participants=agents).add_handoff("a", "b").with_view("a", views.last(2))
    workflow = builder.with_autonomous_mode(["a"], turn_limits={"a": 4}).build().with_client(client)
    await workflow.run("my question", session_id="s")
    assert shown(client.requests[-1].messages)[:2] == ["user : my question", "assistant a: thought 0"]
    await workflow.run("another", session_id="s")
    asked = [shown(request.messages) for request in client.requests]
    assert asked[5] == ["user : another"]  # what it said itself before that cannot come first
    assert asked[9][0] == "user : another"


# --- words


async def test_a_model_that_reads_words_alone_is_told_what_there_was() -> None:
    """A note stands in place of each image; what was chosen of the rest stays as it is, and nothing is lost."""
    photo = Media.from_bytes(b"png", "image/png", "bike.png")
    client = ScriptedClient("I cannot see it.")
    builder = HandoffBuilder(participants=[Agent("a", client=client)]).with_view("a", views.words)
    message = Message("user", (Text("What is this?"), photo))
    result = await builder.build().run(message)
    assert shown(client.requests[0].messages) == ["user : What is this? / [image: bike.png]"]
    assert result.conversation[0] == message


def test_what_is_chosen_of_a_conversation_may_be_an_image() -> None:
    """A message of an image alone is a message, whatever a view's function does."""
    alone = Message("user", (Media.from_bytes(b"png", "image/png"),))
    assert sound([alone]) == [alone]


# --- Views of views


async def test_views_are_put_together() -> None:
    """Each does its part: functions one after the other, and of two beginnings the later."""

    def without_notes(messages: Sequence[Message], agent: str) -> Sequence[Message]:
        return [each for each in messages if "handed the conversation" not in each.text]

    async def in_capitals(messages: Sequence[Message], agent: str) -> Sequence[Message]:
        return [
            Message("user", (Text(each.text.upper()),), each.author_name) if each.role == "user" else each
            for each in messages
        ]

    both = views.shaped(in_capitals, views.shaped(without_notes))
    assert await billing_sees(both) == snapshot(
        [
            "user : WHERE IS A-1?",
            "user front: [FRONT] ONE MOMENT.",
            "user orders: [ORDERS] IT WAS SENT, AND I MAY NOT PAY.",
            "user : I WANT MY MONEY!",
            'assistant billing: -> find {"order": "A-1"}',
            'tool billing: <- find done: {"order":"A-1","state":"sent"}',
            "assistant billing: Who are you?",
            "user : KIM.",
        ]
    )
    assert await billing_sees(views.last(4, views.last(2))) == await billing_sees(views.last(2))
    assert await billing_sees(views.last(2, views.last(4))) == await billing_sees(views.last(2))
    scribe = ScriptedClient("Sent.", "Sent.")
    wanted = snapshot(
        ["user team: What was said before, summed up: / Sent.", "assistant billing: Who are you?", "user : Kim."]
    )
    assert await billing_sees(views.last(2, views.summary(scribe))) == wanted
    assert await billing_sees(views.summary(scribe, views.last(2))) == wanted
    scribe.assert_done()


# --- summary


def relay(scribe: ScriptedClient, script: Mapping[str, Sequence[Reply]]) -> tuple[HandoffBuilder, ScriptedClient]:
    """Front and desk hand over to each other; desk is given a summary."""
    client = ScriptedClient(script)
    agents = [Agent("front", client=client), Agent("desk", client=client)]
    builder = HandoffBuilder(name="relay", participants=agents)
    return builder.add_handoff("front", "desk", view=views.summary(scribe)).add_handoff("desk", "front"), client


def summaries(entries: Sequence[Any]) -> list[tuple[int, str]]:
    return [(each.fact.upto, each.fact.text) for each in entries if isinstance(each.fact, Summarised)]


async def test_a_summary_is_made_once_for_each_handoff() -> None:
    """Not for each reply; a later handoff has one of its own, of all that was said by then."""
    scribe = ScriptedClient("First.", "Second.")
    builder, client = relay(
        scribe,
        {"front": [handoff_to("desk")] * 2, "desk": ["Who?", "What?", handoff_to("front"), "Again?", "And?"]},
    )
    store = InMemoryCheckpointStorage()
    workflow = builder.with_checkpointing(store).build()
    for words in ("one", "two", "three", "four"):
        await workflow.run(words, session_id="s")
    scribe.assert_done()
    assert summaries(await store.read("s")) == snapshot([(3, "First."), (13, "Second.")])
    begin = [shown(request.messages)[0] for request in client.requests if request.agent.name == "desk"]
    assert (
        begin
        == ["user team: What was said before, summed up: / First."] * 3
        + ["user team: What was said before, summed up: / Second."] * 2
    )
    told = shown(scribe.requests[1].messages)
    assert told[0] == "user team: What was said before, summed up: / First."
    assert "user desk: [desk] What?" in told
    assert told[-1] == "user team: Sum up the conversation above for desk, who takes over now."


async def test_a_kept_summary_is_not_made_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another process finds it in the journal; and one that dies right after it was kept asks for a reply only."""
    path = tmp_path_factory.mktemp("db") / "sessions.db"
    store = SqliteCheckpointStorage(path)
    scribe = ScriptedClient("Kept.")
    builder, _ = relay(scribe, {"front": [handoff_to("desk")], "desk": []})
    workflow = builder.with_checkpointing(store).build()
    with pytest.raises(Crash):
        await workflow.with_store(crash_at(store, 3, written=True)).run("hi", session_id="s")
    scribe.assert_done()
    await store.aclose()

    store = SqliteCheckpointStorage(path)
    builder, client = relay(ScriptedClient(), {"front": [], "desk": ["Hello.", "Yes?"]})
    workflow = builder.with_checkpointing(store).build()
    assert (await workflow.run(session_id="s")).text == "Hello."
    await workflow.run("more", session_id="s")
    assert [shown(each.messages)[0] for each in client.requests] == [
        "user team: What was said before, summed up: / Kept."
    ] * 2
    await store.aclose()


async def test_a_summary_that_cannot_be_had_fails_the_run_and_is_asked_for_again() -> None:
    """A ModelError that names the agent; nothing is lost, and the agent is not asked without it."""
    scribe = ScriptedClient(OSError("no route"), "At last.")
    builder, client = relay(scribe, {"front": [handoff_to("desk")], "desk": ["Hello."]})
    workflow = builder.build()
    with pytest.raises(ModelError, match="'desk' failed: OSError: no route") as raised:
        await workflow.run("hi", session_id="s")
    assert isinstance(raised.value.__cause__, OSError)
    assert (await workflow.session("s")).state == WorkflowRunState.FAILED
    assert [request.agent.name for request in client.requests] == ["front"]
    assert (await workflow.run(session_id="s")).text == "Hello."
    scribe.assert_done()


async def test_the_tokens_of_a_summary_count_in_the_budget() -> None:
    """It is a call of a model like any other; run on, the summary is there."""
    scribe = ScriptedClient(["Short.", ReplyInfo("scribe-1", 90, 12)])
    builder, client = relay(scribe, {"front": [handoff_to("desk")], "desk": ["Hello."]})
    workflow = builder.with_budget(tokens=100).build()
    result = await workflow.run("hi", session_id="s")
    assert result.stopped is not None
    assert (result.stopped.budget, result.stopped.message) == ("tokens", "the models took 102 tokens of 100")
    assert (await workflow.run(session_id="s")).text == "Hello."
    scribe.assert_done()
    client.assert_done()


async def test_a_summary_is_an_event_and_no_message() -> None:
    """Whoever follows the run sees it; the conversation has not grown by it."""
    scribe = ScriptedClient(["Sh", "ort.\ud800", ToolCall("1", "nonsense"), ReplyInfo("scribe-1", 9, 1)])
    builder, _ = relay(scribe, {"front": [handoff_to("desk")], "desk": ["Hello."]})
    run = builder.build().run("hi", stream=True)
    events = [event async for event in run]
    [made] = [event for event in events if event.type == "summarised"]
    assert (made.executor_id, made.data) == ("desk", Summarised("desk", 3, "Short.?", "scribe-1", 9, 1))
    assert "".join(event.data for event in events if event.type == "message_delta") == "Hello."
    assert [message.role for message in (await run).conversation] == ["user", "assistant", "tool", "assistant"]


async def test_a_preview_asks_for_no_summary() -> None:
    """Where one would have to be made first, the whole is shown; where one was made, it is."""
    builder, _ = relay(ScriptedClient(OSError("down"), "Made."), {"front": [handoff_to("desk")], "desk": ["Hello."]})
    workflow = builder.build()
    with pytest.raises(ModelError):
        await workflow.run("hi", session_id="s")
    assert shown((await workflow.preview("s", "desk")).messages)[0] == "user : hi"
    await workflow.run(session_id="s")
    assert "Made." in shown((await workflow.preview("s", "desk")).messages)[0]


async def test_a_summary_is_asked_of_its_own_client() -> None:
    """Giving the team another model does not replace it."""
    scribe = ScriptedClient("Made by the scribe.")
    builder, _ = relay(scribe, {})
    client = ScriptedClient({"front": [handoff_to("desk")], "desk": ["Hello."]})
    await builder.build().with_client(client, override=True).run("hi")
    scribe.assert_done()
    client.assert_done()


async def test_who_was_handed_nothing_is_given_no_summary() -> None:
    """The start agent, or whoever the user turns to."""
    scribe = ScriptedClient()
    client = ScriptedClient("Hello.", "Here.")
    agents = [Agent("a", client=client), Agent("b", client=client)]
    builder = HandoffBuilder(participants=agents)
    for name in "ab":
        builder.with_view(name, views.summary(scribe))
    workflow = builder.build()
    await workflow.run("hi", session_id="s")
    await workflow.run("b?", session_id="s", to="b")
    assert [shown(request.messages) for request in client.requests] == [
        ["user : hi"],
        ["user : hi", "user a: [a] Hello.", "user : b?"],
    ]


def test_a_view_is_a_value() -> None:
    """One may be used for many agents and teams."""
    assert views.last(3) != views.text
    assert View() == views.text
