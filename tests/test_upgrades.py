"""Sessions that were begun with a team that is not as it was."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    Message,
    RequestNotOpen,
    SequenceConflict,
    Text,
    Tool,
    ToolContext,
    UpgradeRefused,
    UsageError,
    Workflow,
    WorkflowRunState,
    tool,
)
from relayline.events import Forked, SessionStarted, TeamChanged, TurnEnded, TurnStarted, UserSpoke
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.machine.compaction import compacted
from relayline.machine.fold import fold
from relayline.messages import user
from relayline.testing import Crash, Reply, ScriptedClient, assert_replays, call, crash_at, handoff_to
from relayline.upgrades import as_json, as_table
from relayline.views import summary

RAN: list[str] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()


@tool
def ship(order: str, context: ToolContext) -> str:
    """Send it."""
    RAN.append(context.idempotency_key)
    return f"sent {order}"


@tool(approval_mode="always_require")
def refund(order: str, context: ToolContext) -> str:
    """Pay it back."""
    RAN.append(context.idempotency_key)
    return f"paid for {order}"


def builder(
    store: Store, client: ScriptedClient, *agents: str, tools: Sequence[Tool] = (ship, refund)
) -> HandoffBuilder:
    """A mesh; whoever is not triage has the tools."""
    made = [Agent(name, f"You are {name}.", name, () if name == "triage" else tools, client=client) for name in agents]
    return HandoffBuilder(name="shop", participants=made).with_checkpointing(store)


def team(store: Store, *replies: Reply, agents: str = "triage orders", **options: Any) -> Workflow:
    return builder(store, ScriptedClient(*replies), *agents.split(), **options).build()


async def at_orders(store: Store, *replies: Reply) -> Workflow:
    """Session s: triage handed over to orders, who says or does ``replies``."""
    workflow = team(store, handoff_to("orders", reason="an order"), *replies)
    await workflow.run("Where is my order?", session_id="s")
    return workflow


async def dies(workflow: Workflow, append: int, message: str | None = None) -> None:
    with pytest.raises(Crash):
        await workflow.with_store(crash_at(workflow.store, append)).run(message, session_id="s")


async def told(store: Store) -> list[str]:
    """What the model of s was told in results, oldest first."""
    results = [each for message in (await team(store).session("s")).conversation for each in message.tool_results]
    return [f"{each.name}: {each.outcome}: {each.content}" for each in results]


# --- Continue


async def test_a_team_that_is_as_it_was_says_nothing():
    """New words, other models and a session in another process: no fact, and nothing affected."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    workflow = team(store, "Seven, then.")
    workflow = replace(workflow, agents=tuple(replace(each, instructions="Be brief.") for each in workflow.agents))
    await workflow.run("Seven.", session_id="s")
    assert not [entry for entry in await store.read("s") if isinstance(entry.fact, TeamChanged)]
    assert [each.fate for each in await workflow.affected_sessions()] == ["ok"]


async def test_what_has_changed_is_on_record_before_anything_else():
    """One fact, once, with the team under which all after it was written; the conversation goes on where it was."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    changed = team(store, "Seven, then.", "Yes.", agents="triage orders archive")
    events = [event async for event in changed.run("Seven.", session_id="s")]
    assert [event.type for event in events if event.seq][:2] == ["team_changed", "request_answered"]
    fact = next(event.data for event in events if event.type == "team_changed")
    assert (fact.fingerprint, fact.roster) == (changed.machine.fingerprint, changed.machine.roster)
    assert [event.executor_id for event in events if event.type == "executor_invoked"] == ["orders"]
    await changed.run("Thanks.", session_id="s")
    assert sum(isinstance(entry.fact, TeamChanged) for entry in await store.read("s")) == 1


async def test_looking_at_a_session_does_not_change_it():
    """Nor does trying out what would become of it."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    before = await store.read("s")
    changed = team(store, agents="triage sales")
    await changed.session("s")
    await changed.preview("s", "triage")
    await changed.affected_sessions()
    assert await store.read("s") == before


async def test_a_process_of_the_old_release_does_not_change_it_back():
    """The result that it brings late is kept, and no more."""
    store = InMemoryCheckpointStorage()
    new = team(store, agents="triage orders archive")

    @tool(name="ship")
    async def slow(order: str) -> str:
        """Send it."""
        (asked,) = (await new.run(session_id="s")).requests
        assert isinstance(asked.data, InterruptedCallRequest)
        return "sent after all"

    old = team(store, handoff_to("orders"), call("ship", order="A"), tools=[slow, refund])
    with pytest.raises(SequenceConflict):
        await old.run("Send it.", session_id="s")
    facts = [entry.fact for entry in await store.read("s")]
    assert [type(fact).__name__ for fact in facts[-4:]] == ["TeamChanged", "Asked", "Answered", "ToolReturned"]


# --- Refuse


async def test_a_team_may_refuse_and_says_what_differs():
    """By name, with what can be done, and nothing is changed."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    before = await store.read("s")
    changed = builder(store, ScriptedClient(), "triage", "orders", "archive", tools=[ship])
    workflow = changed.with_upgrades(on_change="refuse").build()
    with pytest.raises(UpgradeRefused) as refused:
        await workflow.run("Seven.", session_id="s")
    assert str(refused.value) == snapshot(
        "session 's' was begun with another team: 'orders' has no tool 'refund' any more; agent 'archive' is new. Run it with the release that began it, name what is called otherwise now in with_upgrades(renamed=...), or let such sessions go on with with_upgrades(on_change='continue')"
    )
    assert refused.value.differences == ("'orders' has no tool 'refund' any more", "agent 'archive' is new")
    (first,) = await store.list_checkpoints("s")
    with pytest.raises(UpgradeRefused):
        await workflow.run("Seven.", checkpoint_id=first.checkpoint_id, session_id="t")
    with pytest.raises(UpgradeRefused):
        await workflow.preview("s", "triage")
    assert await store.read("s") == before
    assert len(await store.sessions()) == 1
    assert (await workflow.session("s")).active_agent == "orders"


async def test_what_is_only_renamed_is_not_refused():
    """With everything else as it was, the new names are all there is to say."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    renamed = builder(store, ScriptedClient("Seven, then."), "triage", "parcels")
    workflow = renamed.with_upgrades(on_change="refuse", renamed={"orders": "parcels"}).build()
    assert (await workflow.run("Seven.", session_id="s")).text == "Seven, then."


async def test_a_journal_of_an_older_release_knows_its_fingerprint_only():
    """It goes on where teams do; where they refuse, that is what is said."""
    store = InMemoryCheckpointStorage()
    begun = [SessionStarted("shop", "0123456789ab"), UserSpoke(user("Hi.")), TurnStarted(1, "triage")]
    await store.append("s", begun, after=0)
    refusing = builder(store, ScriptedClient(), "triage").with_upgrades(on_change="refuse").build()
    with pytest.raises(
        UpgradeRefused, match=f"its fingerprint is {refusing.machine.fingerprint}, and was 0123456789ab"
    ) as no:
        await refusing.run(session_id="s")
    assert no.value.differences == ()
    assert (await team(store, "Hello.").run(session_id="s")).text == "Hello."


# --- Renamed


async def test_a_renamed_agent_goes_on_as_if_it_had_always_been_called_so(tmp_path: Path):
    """It has the conversation, its words and its tool traffic are its own, and its colleagues see its new name."""
    store = SqliteCheckpointStorage(tmp_path / "shop.db")
    await at_orders(store, [call("ship", order="A")], "Sent.")
    await store.aclose()

    store = SqliteCheckpointStorage(tmp_path / "shop.db")
    client = ScriptedClient({"parcels": [handoff_to("triage", reason="done")], "triage": ["Anything else?"]})
    renamed = builder(store, client, "triage", "parcels").with_upgrades(renamed={"orders": "parcels"})
    result = await renamed.build().run("Thanks.", session_id="s")
    to_parcels, to_triage = client.requests
    assert [(m.role, m.author_name) for m in to_parcels.messages] == snapshot(
        [
            ("user", ""),
            ("user", "triage"),
            ("assistant", "parcels"),
            ("tool", "parcels"),
            ("assistant", "parcels"),
            ("user", ""),
        ]
    )
    assert "[parcels] Sent." in [message.text for message in to_triage.messages]
    assert {message.author_name for message in result.conversation if message.role != "user"} == {"triage", "parcels"}
    client.assert_done()
    await store.aclose()
    store = SqliteCheckpointStorage(tmp_path / "shop.db")
    assert_replays(await store.read("s"))
    await store.aclose()


async def test_what_waits_for_a_person_waits_under_the_new_names():
    """An approval that was asked weeks ago runs the tool as it is called today, with the same key."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, call("refund", order="A"))
    pay_back = Tool(**{name: getattr(refund, name) for name in Tool.__slots__} | {"name": "pay_back"})
    renamed = builder(store, ScriptedClient("Paid."), "triage", "money", tools=[ship, pay_back])
    workflow = renamed.with_upgrades(renamed={"orders": "money"}, renamed_tools={"refund": "pay_back"}).build()
    (asked,) = (await workflow.run(session_id="s")).requests
    assert (asked.executor_id, asked.data.function_call.name) == ("money", "pay_back")
    assert (await workflow.run(responses={asked.request_id: True})).text == "Paid."
    assert RAN == ["s/t2-s1-c0"]
    assert (await told(store))[-1] == "pay_back: done: paid for A"


async def test_what_happens_after_is_told_under_the_new_names():
    """Also of a turn that was open, and in the very run that renames it."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, call("refund", order="A"))
    renamed = builder(store, ScriptedClient("Paid."), "triage", "money").with_upgrades(renamed={"orders": "money"})
    events = [event async for event in renamed.build().run(responses={"s/r1": True})]
    assert [event.executor_id for event in events if event.type == "tool_call"] == ["money"]
    assert {event.executor_id for event in events if event.executor_id} == {"money"}


async def test_an_answer_may_come_together_with_the_new_names():
    """The approver need not look first."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, call("refund", order="A"))
    renamed = builder(store, ScriptedClient("Paid."), "triage", "money").with_upgrades(renamed={"orders": "money"})
    assert (await renamed.build().run(responses={"s/r1": True})).text == "Paid."


async def test_a_user_who_is_called_like_an_agent_keeps_their_name():
    """What is renamed are agents."""
    store = InMemoryCheckpointStorage()
    workflow = team(store, "Hello.", "Hello again.")
    await workflow.run(Message("user", (Text("Hi."),), "orders"), session_id="s")
    renamed = builder(store, ScriptedClient("Hello again."), "triage", "parcels").with_upgrades(
        renamed={"orders": "parcels"}
    )
    result = await renamed.build().run("Hi again.", session_id="s")
    assert [message.author_name for message in result.conversation] == ["orders", "triage", "", "triage"]


async def test_what_was_summed_up_for_an_agent_is_not_summed_up_again():
    """It was made for it, whatever it was called."""
    store, scribe = InMemoryCheckpointStorage(), ScriptedClient("They want order 7.")
    first = builder(store, ScriptedClient(handoff_to("orders"), "Which one?"), "triage", "orders")
    await first.with_view("orders", summary(scribe)).build().run("Where is order 7?", session_id="s")
    client = ScriptedClient("Seven, then.")
    renamed = builder(store, client, "triage", "parcels").with_view("parcels", summary(scribe))
    await renamed.with_upgrades(renamed={"orders": "parcels"}).build().run("Seven.", session_id="s")
    assert "They want order 7." in client.requests[0].messages[0].text
    scribe.assert_done()


async def test_a_removed_agent_may_become_another_that_is_there():
    """Who does its work now takes its words and what is open as its own."""
    store = InMemoryCheckpointStorage()
    client = ScriptedClient(handoff_to("orders"), call("refund", order="A"))
    asking = builder(store, client, "triage", "orders").add_handoff("triage", "orders", returns="caller")
    await asking.build().run("Pay me back.", session_id="s")
    client = ScriptedClient({"triage": ["Paid."]})
    workflow = HandoffBuilder(
        name="shop", participants=[client.as_agent("triage", "", "", [refund]), client.as_agent("archive")]
    )
    workflow = workflow.with_checkpointing(store).with_upgrades(renamed={"orders": "triage"}).build()
    (asked,) = (await workflow.run(session_id="s")).requests
    assert asked.executor_id == "triage"
    floor = fold(entry.fact for entry in await store.read("s")).floor
    assert (floor.speaker, floor.callers) == ("triage", ())  # it does not wait for itself
    assert (await workflow.run(responses={asked.request_id: True})).text == "Paid."
    assert {message.author_name for message in client.requests[0].messages if message.role == "assistant"} == {"triage"}


async def test_names_that_are_no_part_of_the_journal_are_not_said():
    """A team keeps its old names for as long as it likes."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    renamed = builder(store, ScriptedClient("Seven."), "triage", "orders", "archive")
    await (
        renamed.with_upgrades(renamed={"files": "archive"}, renamed_tools={"send": "ship"})
        .build()
        .run("7", session_id="s")
    )
    (fact,) = [entry.fact for entry in await store.read("s") if isinstance(entry.fact, TeamChanged)]
    assert (fact.renamed, fact.renamed_tools) == ({}, {})


async def test_what_was_rendered_under_the_old_names_is_rendered_again():
    """A process that has the session at hand shows its models what another one renamed."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?", "Yes.")
    client = ScriptedClient({"triage": ["Hello."], "orders": []})
    kept = builder(store, client, "triage", "orders").with_return_to_previous(False).build()
    await kept.run("Seven.", session_id="s")
    renamed = builder(store, ScriptedClient("Yes."), "triage", "parcels").with_upgrades(renamed={"orders": "parcels"})
    await renamed.build().run("Really?", session_id="s", to="parcels")
    client = ScriptedClient({"triage": ["Hello again."], "orders": []})
    await kept.with_client(client, override=True).run("Hello?", session_id="s")
    assert "[parcels] Which one?" in [message.text for message in client.requests[0].messages]


# --- Gone


async def test_who_had_the_conversation_is_gone():
    """The next message goes to whoever begins; nothing is lost of what was said."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    client = ScriptedClient({"triage": ["Let me see."]})
    workflow = builder(store, client, "triage", "sales").build()
    result = await workflow.run(responses={"s/r1": "Seven."})
    assert result.text == "Let me see."
    assert [message.text for message in client.requests[0].messages][-2:] == ["[orders] Which one?", "Seven."]


async def test_who_was_about_to_answer_is_gone():
    """Whoever begins takes over, and is told why; the message is answered without being said again."""
    store = InMemoryCheckpointStorage()
    workflow = team(store, handoff_to("orders", reason="an order"), "Never kept.")
    await dies(workflow, 3, "Where is my order?")
    client = ScriptedClient({"triage": ["I cannot say."]})
    result = await builder(store, client, "triage", "sales").build().run(session_id="s")
    assert result.text == "I cannot say."
    last = client.requests[0].messages[-1].text
    assert last == "[orders] gives the conversation back to you. orders is not in the team any more."


async def test_who_a_message_was_meant_for_is_gone():
    """Before it was theirs: whoever begins takes it."""
    store = InMemoryCheckpointStorage()

    def watched(client: ScriptedClient, *names: str) -> Workflow:
        return builder(store, client, *names).with_termination_condition(lambda transcript: False).build()

    with pytest.raises(Crash):
        dying = watched(ScriptedClient(), "triage", "orders").with_store(crash_at(store, 2))
        await dying.run("Hi.", session_id="s", to="orders")
    assert (
        await watched(ScriptedClient({"triage": ["Hello."]}), "triage", "sales").run(session_id="s")
    ).text == "Hello."


async def test_who_handed_over_to_a_person_is_gone():
    """They cannot give it back, and are told so; what they say reaches the user."""
    store = InMemoryCheckpointStorage()

    def with_jo(client: ScriptedClient, *names: str) -> Workflow:
        agents = [*(client.as_agent(name, "", name) for name in names), HumanAgent("jo")]
        return HandoffBuilder(name="shop", participants=agents).with_checkpointing(store).build()

    script = {"triage": [handoff_to("jo")]}
    (turn,) = (await with_jo(ScriptedClient(script), "triage", "sales").run("Jo, please.", session_id="s")).requests
    changed = with_jo(ScriptedClient(), "front", "sales")
    with pytest.raises(UsageError, match="nobody handed the conversation over to 'jo'"):
        await changed.run(responses={turn.request_id: turn.data.hand_back("Bye.")})
    assert (await changed.run(responses={turn.request_id: "I am Jo."})).text == "I am Jo."


async def test_who_waits_to_get_it_back_is_gone():
    """Who was consulted answers the user then."""
    store = InMemoryCheckpointStorage()

    def consulting(client: ScriptedClient, *names: str) -> Workflow:
        made = HandoffBuilder(name="shop", participants=[client.as_agent(name, "", name) for name in names])
        made.add_handoff(names[0], "expert", returns="caller").add_handoff("expert", names[0])
        return made.with_checkpointing(store).build()

    first = consulting(ScriptedClient({"desk": [handoff_to("expert")], "expert": ["Never kept."]}), "desk", "expert")
    await dies(first, 3, "What is it?")
    client = ScriptedClient({"expert": ["It is a fern."], "front": []})
    result = await consulting(client, "front", "expert").run(session_id="s")
    assert (result.text, result.state) == ("It is a fern.", WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)


async def test_who_was_consulted_is_gone():
    """Who asked it gets the conversation back, and knows that there is no answer."""
    store = InMemoryCheckpointStorage()

    def consulting(client: ScriptedClient, *names: str) -> Workflow:
        made = HandoffBuilder(name="shop", participants=[client.as_agent(name, "", name) for name in names])
        made.add_handoff("desk", names[1], returns="caller").add_handoff(names[1], "desk").with_start_agent(names[2])
        made.add_handoff(names[2], "desk")
        return made.with_checkpointing(store).build()

    script = {"desk": [handoff_to("expert")], "expert": ["Never kept."], "door": [handoff_to("desk")]}
    await dies(consulting(ScriptedClient(script), "desk", "expert", "door"), 4, "What is it?")
    client = ScriptedClient({"desk": ["Nobody knows."]})
    assert (await consulting(client, "desk", "oracle", "door").run(session_id="s")).text == "Nobody knows."


async def test_an_approval_of_who_is_gone_is_withdrawn():
    """Nobody is asked to allow what cannot happen; who answers is told so, and the conversation goes on."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, [call("refund", order="A"), handoff_to("triage")])
    workflow = team(store, "I cannot pay you back.", agents="triage sales")
    with pytest.raises(RequestNotOpen, match="request 's/r1' is not waiting for an answer .* withdrawn"):
        await workflow.run(responses={"s/r1": True})
    result = await workflow.run(session_id="s")
    assert (result.text, RAN) == ("I cannot pay you back.", [])
    assert await told(store) == [
        "handoff_to_orders: transferred: Transferred to orders.",
        "refund: withdrawn: Not run: 'orders' is not in the team any more.",
        "handoff_to_triage: not_taken: Not taken: orders is not in the team any more.",
    ]


async def test_a_call_of_who_is_gone_that_may_have_taken_effect_is_asked_about():
    """It is not told to have failed; what a person found out is its result, and then whoever begins goes on."""
    store = InMemoryCheckpointStorage()
    workflow = team(store, handoff_to("orders"), [call("ship", order="A"), call("refund", order="B")])
    await dies(workflow, 4, "Send A, and pay B back.")
    assert RAN == ["s/t2-s1-c0"]
    new = team(store, "It was sent.", agents="triage sales")
    (asked,) = (await new.run(session_id="s")).requests
    assert isinstance(asked.data, InterruptedCallRequest)
    with pytest.raises(UsageError, match="'orders' has no tool 'ship' any more, so the call cannot be run again"):
        await new.run(responses={asked.request_id: asked.data.run_again()})
    assert (await new.run(responses={asked.request_id: "It was sent."})).text == "It was sent."
    assert (await told(store))[1:] == [
        "ship: done: It was sent.",
        "refund: withdrawn: Not run: 'orders' is not in the team any more.",
    ]


async def test_a_tool_that_is_gone_while_its_approval_waits():
    """The request is withdrawn, and its agent reads that the tool is not there any more."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, call("refund", order="A"))
    result = await team(store, "I cannot do that any more.", tools=[ship]).run(session_id="s")
    assert result.text == "I cannot do that any more."
    assert (await told(store))[1:] == ["refund: withdrawn: Not run: 'orders' has no tool 'refund' any more."]


async def test_a_tool_that_is_gone_while_it_ran():
    """A person says what became of it; it cannot be run again."""
    store = InMemoryCheckpointStorage()
    await dies(team(store, handoff_to("orders"), call("ship", order="A")), 4, "Send A.")
    new = team(store, "It was sent.", tools=[refund])
    (asked,) = (await new.run(session_id="s")).requests
    with pytest.raises(UsageError, match="cannot be run again; say what became of it; the request stays open"):
        await new.run(responses={asked.request_id: asked.data.run_again()})
    assert (await new.run(responses={asked.request_id: "Sent."})).text == "It was sent."
    assert len(RAN) == 1


async def test_a_person_who_is_gone():
    """Their turn goes back to who handed over, who is told that they are not there any more."""
    store = InMemoryCheckpointStorage()

    def with_people(*replies: Reply, people: Sequence[str]) -> Workflow:
        agents = [ScriptedClient(*replies).as_agent("front"), *map(HumanAgent, people)]
        return HandoffBuilder(name="shop", participants=agents).with_checkpointing(store).build()

    await with_people(handoff_to("jo"), people=["jo"]).run("A person, please.", session_id="s")
    result = await with_people("Jo has left us.", people=["kim"]).run(session_id="s")
    assert result.text == "Jo has left us."
    assert [each.data.agent_response.text for each in result.requests] == ["Jo has left us."]


async def test_an_agent_that_is_a_person_now_is_asked():
    """Its turn was a model's, which never answered."""
    store = InMemoryCheckpointStorage()
    await dies(team(store, handoff_to("orders"), "Never kept."), 3, "Where is it?")
    client = ScriptedClient("It is here.")
    agents = [client.as_agent("triage"), HumanAgent("orders")]
    workflow = HandoffBuilder(name="shop", participants=agents).with_checkpointing(store).build()
    (asked,) = (await workflow.run(session_id="s")).requests
    assert asked.data.agent == "orders"


async def test_a_new_message_needs_no_ceremony():
    """What was open with who is gone is left as with any new message, and whoever begins answers."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, call("refund", order="A"))
    result = await team(store, "Hello again.", agents="triage sales").run("Hello?", session_id="s")
    assert result.text == "Hello again."
    assert "went on with another message" in (await told(store))[1]


async def test_a_failed_turn_of_who_is_gone_is_another_ones():
    """To resume is to try again, with who there is."""
    store = InMemoryCheckpointStorage()
    failing = team(store, handoff_to("orders"), RuntimeError("overloaded"))
    with pytest.raises(Exception, match="overloaded"):
        await failing.run("Where is it?", session_id="s")
    assert (await team(store, "Let me see.", agents="triage sales").run(session_id="s")).text == "Let me see."


# --- Branches, and what is forgotten


async def test_a_branch_of_what_another_team_said_begins_with_what_has_changed():
    """The original stays with the team it had."""
    store = InMemoryCheckpointStorage()
    await at_orders(store, "Which one?")
    (first,) = await store.list_checkpoints("s")
    await team(store, "Seven.").run("Seven.", session_id="s")
    changed = team(store, "Eight.", agents="triage orders archive")
    await changed.run("Eight.", checkpoint_id=first.checkpoint_id, session_id="t")
    kinds = [type(entry.fact) for entry in await store.read("t")]
    assert kinds[first.seq : first.seq + 2] == [Forked, TeamChanged]
    assert [each.fate for each in await changed.affected_sessions()] == ["goes_on", "ok"]


async def test_what_is_compacted_knows_its_team():
    """Also when the fact that began the session is forgotten."""
    store = InMemoryCheckpointStorage()
    workflow = await at_orders(store, "Which one?", "Thanks.")
    await workflow.run("Seven.", session_id="s")
    fact = compacted([entry.fact for entry in await store.read("s")], 1)
    assert fact
    assert fact.roster == workflow.machine.roster
    await store.cut("s", fact)
    refusing = builder(store, ScriptedClient(), "triage").with_upgrades(on_change="refuse").build()
    with pytest.raises(UpgradeRefused, match="agent 'orders' is gone"):
        await refusing.run("And now?", session_id="s")
    await team(store, "Hello.").run("Hello?", session_id="s")


# --- A dry run


async def test_a_dry_run_says_what_would_become_of_each_session():
    """For every session of the team: what differs, what would be told and asked, and whether it goes on at all."""
    store = InMemoryCheckpointStorage()
    for name, replies in {
        "asked": ["Which?"],
        "approval": [call("refund", order="A")],
        "started": [call("ship", order="A")],
    }.items():
        workflow = team(store, handoff_to("orders"), *replies)
        if name == "started":
            with pytest.raises(Crash):
                await workflow.with_store(crash_at(store, 4)).run("Hi.", session_id=name)
        else:
            await workflow.run("Hi.", session_id=name)
    await store.append("other", [SessionStarted("another team", "f")], after=0)
    await store.append("broken", [SessionStarted("shop", "f"), TurnEnded(7, "a")], after=0)
    before = {each.session_id: each.seq for each in await store.sessions()}
    gone = await team(store, agents="triage sales").affected_sessions()
    assert as_table(gone) == snapshot("""\
goes on       asked
              - agent 'orders' is gone
              - agent 'sales' is new
              > the next message goes to 'triage'
goes on       approval
              - agent 'orders' is gone
              - agent 'sales' is new
              > request 'approval/r1' is withdrawn
              > the call of 'refund' is told: Not run: 'orders' is not in the team any more.
              > the conversation goes from 'orders' to 'triage'
needs person  started
              - agent 'orders' is gone
              - agent 'sales' is new
              > a person is asked what became of the call of 'ship' by 'orders'
damaged       broken
              - session 'broken', entry 2 (turn_ended) does not follow from what is before it
4 sessions: goes on 2, needs person 1, damaged 1\
""")
    renamed = builder(store, ScriptedClient(), "triage", "parcels").with_upgrades(renamed={"orders": "parcels"}).build()
    assert [(each.session_id, each.fate) for each in await renamed.affected_sessions()] == snapshot(
        [("asked", "remapped"), ("approval", "remapped"), ("started", "needs_person"), ("broken", "damaged")]
    )
    refusing = builder(store, ScriptedClient(), "triage").with_upgrades(on_change="refuse").build()
    assert {each.fate for each in await refusing.affected_sessions()} == {"refused", "damaged"}
    assert json.loads(as_json(gone))[0] == snapshot(
        {
            "session_id": "asked",
            "fate": "goes_on",
            "differences": ["agent 'orders' is gone", "agent 'sales' is new"],
            "consequences": ["the next message goes to 'triage'"],
        }
    )
    assert {each.session_id: each.seq for each in await store.sessions()} == before
    assert as_table([]) == "no sessions of this team"
