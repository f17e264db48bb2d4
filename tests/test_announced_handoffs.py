"""Agents that say they hand over and do not, and a team that tells them so."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot

from relayline import Agent, HandoffBuilder, InMemoryCheckpointStorage, ModelError, ReplyInfo, tool
from relayline.events import Prompted
from relayline.testing import Reply, ScriptedClient, call, handoff_to

SAYS = "I'll transfer you to billing now."


def desk(
    script: Mapping[str, Sequence[Reply]], *, repair: bool = True, **edge: Any
) -> tuple[HandoffBuilder, ScriptedClient]:
    """Front hands over to billing, as the edge says, and to nobody else; billing to front."""
    client = ScriptedClient(script)
    agents = [Agent(name, client=client) for name in ("front", "billing", "attic")]
    builder = HandoffBuilder(name="desk", participants=agents, repair_announced_handoffs=repair)
    return builder.add_handoff("front", "billing", **edge).add_handoff("billing", "front"), client


async def test_an_agent_that_only_says_it_hands_over_is_told_so_and_can_do_it() -> None:
    """It reads which tool to call; nobody else sees that, and it is no message of the conversation."""
    store = InMemoryCheckpointStorage()
    builder, client = desk({"front": [SAYS, handoff_to("billing")], "billing": ["Here."]})
    run = builder.with_checkpointing(store).build().run("hi", session_id="s")
    events = [event async for event in run]
    client.assert_done()
    assert client.requests[1].messages[-1].text == snapshot(
        "You said that you hand the conversation over to billing, but did not. Call handoff_to_billing now, or go on with the user."
    )
    [told] = [event for event in events if event.type == "prompted"]
    assert (told.executor_id, told.data.text) == ("front", client.requests[1].messages[-1].text)
    assert [entry.fact for entry in await store.read("s") if entry.fact.type == "prompted"] == [told.data]
    assert [message.text for message in (await run).conversation if message.text] == ["hi", SAYS, "Here."]
    assert "You said" not in str([message.text for message in client.requests[2].messages])


async def test_it_is_off_by_default() -> None:
    """Then what an agent says is what it says, and the user is asked."""
    builder, client = desk({"front": [SAYS]}, repair=False)
    assert (await builder.build().run("hi")).requests
    client.assert_done()
    agents = [Agent("front", client=ScriptedClient(SAYS)), Agent("billing", client=client)]
    assert (await HandoffBuilder(participants=agents).build().run("hi")).requests


async def test_it_is_told_once_a_turn() -> None:
    """Saying it again is saying it; in its next turn it may be told again."""
    builder, client = desk({"front": [SAYS, SAYS, SAYS, "As you like."]})
    workflow = builder.build()
    counts: list[int] = []
    for words in ("hi", "well?"):
        events = [event async for event in workflow.run(words, session_id="s")]
        counts.append(sum(event.type == "prompted" for event in events))
    client.assert_done()
    assert counts == [1, 1]


async def test_what_an_agent_says_beside_its_calls_is_not_looked_at() -> None:
    """Who calls a tool is not done; what it says after that is."""

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    client = ScriptedClient([SAYS, call("look")], SAYS, "Or not.")
    agents = [Agent("front", tools=[look], client=client), Agent("billing", client=client)]
    builder = HandoffBuilder(participants=agents, repair_announced_handoffs=True)
    events = [event async for event in builder.build().run("hi")]
    client.assert_done()
    assert [event.type for event in events].index("prompted") > [event.type for event in events].index("tool_result")


async def test_only_a_handoff_that_the_agent_has_is_meant() -> None:
    """Nobody is sent to call a tool that is not offered: undeclared, unconditional, or closed by its predicate."""
    for edge, says in (
        ({}, "I'll transfer you to the attic now."),
        ({"always": True}, SAYS),
        ({"when": lambda transcript, state: False}, SAYS),
    ):
        builder, _ = desk({"front": [says], "billing": ["Here."]}, **edge)
        events = [event async for event in builder.build().run("hi")]
        assert "prompted" not in [event.type for event in events]
    builder, client = desk({"front": [SAYS, handoff_to("billing")], "billing": ["."]}, when=lambda *both: True)
    await builder.build().run("hi")
    client.assert_done()


async def test_an_autonomous_agent_is_told_first_and_goes_on_then() -> None:
    """That is no turn of its own: its autonomous turns are counted as without it."""
    store = InMemoryCheckpointStorage()
    builder, client = desk({"front": [SAYS, "I am thinking.", SAYS, handoff_to("billing")], "billing": ["Here."]})
    builder.with_autonomous_mode(["front"], prompts={"front": "Go on."}, turn_limits={"front": 1})
    await builder.with_checkpointing(store).build().run("hi", session_id="s")
    client.assert_done()
    told = [entry.fact for entry in await store.read("s") if isinstance(entry.fact, Prompted)]
    assert [(each.turn, each.text[:8]) for each in told] == [(1, "You said"), (2, "Go on."), (2, "You said")]


async def test_a_termination_condition_waits_until_it_was_told() -> None:
    """The turn is not over before that."""
    builder, client = desk({"front": [SAYS, handoff_to("billing")], "billing": ["Here."]})
    builder.with_termination_condition(lambda transcript: "transfer" in transcript[-1].text)
    assert (await builder.build().run("hi")).text.endswith("Here.")
    client.assert_done()


async def test_a_budget_holds_for_it() -> None:
    """To be told costs a reply."""
    builder, client = desk({"front": [[SAYS, ReplyInfo("m", 50, 5)], handoff_to("billing")], "billing": ["Here."]})
    workflow = builder.with_budget(tokens=50).build()
    assert (await workflow.run("hi", session_id="s")).stopped
    assert (await workflow.run(session_id="s")).text == "Here."
    client.assert_done()


async def test_a_resumed_turn_is_not_told_twice() -> None:
    """It is in the journal."""
    store = InMemoryCheckpointStorage()
    builder, _ = desk({"front": [SAYS, OSError("down")]})
    with pytest.raises(ModelError, match="down"):
        await builder.with_checkpointing(store).build().run("hi", session_id="s")
    builder, client = desk({"front": [SAYS]})
    await builder.with_checkpointing(store).build().run(session_id="s")
    client.assert_done()
    assert sum(entry.fact.type == "prompted" for entry in await store.read("s")) == 1


async def test_what_it_carries_and_who_agrees_is_asked_as_ever() -> None:
    """An edge with an approval waits for the person."""
    builder, client = desk({"front": [SAYS, handoff_to("billing")], "billing": ["Here."]}, approval="always_require")
    workflow = builder.build()
    [asked] = (await workflow.run("hi", session_id="s")).requests
    assert (await workflow.run(responses={asked.request_id: True})).text == "Here."
    client.assert_done()
