"""``share_prefix``: one layout for the requests of all agents, and each still is who it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from relayline import Agent, BuildError, HandoffBuilder, HumanAgent, InMemoryCheckpointStorage, tool, views
from relayline.agent import ChatRequest
from relayline.clients.local import EmbeddedClient
from relayline.messages import JSON, Message
from relayline.testing import ScriptedClient, call, check_everywhere, handoff_to


@tool(repeatable=True)
def look_up(ticket: int) -> str:
    """Look a repair up."""
    return f"ticket {ticket} is ready"


@tool
def sell(bike: str) -> str:
    """Sell a bike."""
    return f"sold: {bike}"


def agents(voice: Any) -> list[Agent]:
    return [
        Agent("front", "Greet.", "first contact", [sell], voice, knowledge=["Open from 9 to 5."]),
        Agent("workshop", "Repair.", "repairs", [look_up], voice),
    ]


def team(voice: Any) -> HandoffBuilder:
    return HandoffBuilder(name="bikes", participants=agents(voice), share_prefix=True)


def texts(request: ChatRequest) -> list[str]:
    return [message.text for message in request.messages]


async def test_each_request_is_the_one_before_and_more():
    """The same instructions and tools for all; who speaks, with what task and which tools, is told where it changes."""
    model = ScriptedClient([handoff_to("workshop", reason="a flat")], [call("look_up", ticket=1)], "Ready.", "Bye.")
    bikes = team(model).build()
    await bikes.run("My bike?", session_id="s")
    await bikes.run("Thanks.", session_id="s", to="front")
    model.assert_done()
    for before, after in zip(model.requests, model.requests[1:], strict=False):
        assert (after.instructions, after.tools) == (before.instructions, before.tools)
        assert tuple(after.messages[: len(before.messages)]) == tuple(before.messages)
    for request in model.requests:
        check_everywhere(request)
    last = model.requests[-1]
    assert [tool.name for tool in last.tools] == ["sell", "look_up", "handoff_to_workshop", "handoff_to_front"]
    front = "[team] You are front from here on.\n\nGreet.\n\nWhat you know:\n- Open from 9 to 5.\n\n"
    front += "Your tools: sell, handoff_to_workshop. The others are your colleagues'."
    workshop = "[team] You are workshop from here on.\n\nRepair.\n\n"
    workshop += "Your tools: look_up, handoff_to_front. The others are your colleagues'."
    arrived = "[front] handed the conversation over to you. Reason: a flat"
    assert texts(last) == [front, "My bike?", "", "", arrived, workshop, "", "", "Ready.", "Thanks.", front]
    assert "front, workshop" in last.instructions


async def test_a_colleagues_tool_is_refused():
    """It is in the list, and not the agent's: the model is told which are, and nothing runs."""
    model = ScriptedClient([call("look_up", ticket=1)], [handoff_to("front")], "I see.")
    result = await team(model).build().run("My bike?")
    results = [each for message in result.conversation for each in message.tool_results]
    assert [each.outcome for each in results] == ["error", "error"]
    assert "'front' has no tool 'look_up'; it has: sell, handoff_to_workshop" in results[0].content
    assert "no handoff 'handoff_to_front' from 'front'" in results[1].content
    assert list(model.requests[0].allowed or ()) == ["sell", "handoff_to_workshop"]
    model.assert_done()


async def test_a_handoff_that_is_shut_changes_nothing_in_the_list():
    """What may be called changes; the list, which the cache goes by, does not."""

    def is_open(_: Sequence[Message], state: Mapping[str, JSON]) -> bool:
        return bool(state.get("open"))

    model = ScriptedClient([handoff_to("workshop")], "It is shut.", [handoff_to("workshop")], "Hello.")
    builder = team(model).add_handoff("front", "workshop", when=is_open).add_handoff("workshop", "front")
    bikes = builder.build()
    result = await bikes.run("My bike?", session_id="s")
    (refused,) = (each for message in result.conversation for each in message.tool_results)
    assert refused.content == "Not taken: the handoff to 'workshop' is not open now."
    await bikes.run("Now?", session_id="s", state={"open": True})
    assert [list(request.allowed or ()) for request in model.requests[::2]] == [
        ["sell"],
        ["sell", "handoff_to_workshop"],
    ]
    assert all(request.tools == model.requests[0].tools for request in model.requests)
    assert model.requests[-1].agent.name == "workshop"
    model.assert_done()


async def test_another_process_goes_on():
    """The layout follows from the journal alone, and what is previewed is what is sent."""
    store = InMemoryCheckpointStorage()
    model = ScriptedClient([handoff_to("workshop")], "Hello.", "Again.")
    await team(model).with_checkpointing(store).build().run("My bike?", session_id="s")
    await team(model).with_checkpointing(store).build().run("And?", session_id="s")
    before, after = model.requests[-2:]
    assert tuple(after.messages[: len(before.messages)]) == tuple(before.messages)
    whole = await team(model).with_checkpointing(store).build().preview("s", "workshop")
    assert tuple(whole.messages[: len(after.messages)]) == tuple(after.messages)


async def test_people_are_quoted():
    """A person's words are nobody's model's, and no person is told to be one of the agents."""
    model = ScriptedClient([handoff_to("jo")], "Jo said so.")
    builder = HandoffBuilder(participants=[Agent("front", "Greet.", client=model), HumanAgent("jo")], share_prefix=True)
    bikes = builder.add_handoff("front", "jo", returns="caller").add_handoff("jo", "front").build()
    result = await bikes.run("My bike?", session_id="s")
    (request,) = result.requests
    await bikes.run(responses={request.request_id: "It is ready."})
    said = texts(model.requests[-1])
    assert "[jo] It is ready." in said
    assert sum(text.startswith("[team] You are") for text in said) == 1
    model.assert_done()


async def test_the_embedded_model_is_given_what_it_always_is():
    """It has no cache, and goes by who said what."""
    embedded = EmbeddedClient()
    bikes = team(embedded).build()
    plain = HandoffBuilder(name="bikes", participants=agents(embedded)).with_checkpointing(bikes.store).build()
    model = ScriptedClient("Hello.")
    await bikes.with_client(model, override=True).run("hi", session_id="s")
    assert await bikes.preview("s", "front") == await plain.preview("s", "front")


def test_one_name_is_one_tool():
    """Two tools of one name cannot stand in one list, nor can one handoff that is described in two ways."""

    @tool(name="look_up")
    def other(name: str) -> str:
        """Look a customer up."""
        return name

    trio = [*agents(None), Agent("office", "Bill.", "bills", [other])]
    builder = HandoffBuilder(participants=trio, share_prefix=True)
    for source, target in (("front", "workshop"), ("front", "office"), ("workshop", "front")):
        builder.add_handoff(source, target)
    builder.add_handoff("office", "front", description="for all that is no bill")
    with pytest.raises(BuildError) as refused:
        builder.build()
    assert [problem.partition(" with")[0] for problem in refused.value.problems] == ["RL116", "RL116"]
    assert "'look_up' of 'office' is not as that of a colleague" in str(refused.value)


def test_one_conversation_is_one_view():
    """Views of agents or handoffs would show each something else."""
    builder = team(None).with_view("front", views.last(3))
    builder.add_handoff("front", "workshop", view=views.full).add_handoff("workshop", "front")
    with pytest.raises(BuildError) as refused:
        builder.build()
    assert [problem.rpartition("view of ")[2] for problem in refused.value.problems] == ["'front'", "'workshop'"]
