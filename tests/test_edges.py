"""An edge is a contract: what it carries, who must agree, and who is next."""

import asyncio

import pytest
from inline_snapshot import snapshot
from pydantic import BaseModel

from relayline import Agent, BuildError, HandoffBuilder, ToolCall, UsageError, Workflow, tool
from relayline.events import HandoffSent
from relayline.testing import ScriptedClient, call, handoff_to


class Ticket(BaseModel):
    """What a desk has to know."""

    order: str
    amount: float = 0.0


def team(client: ScriptedClient, **edge: object) -> Workflow:
    """Triage hands over to desk as the edge says; desk may hand over to triage."""
    triage, desk = Agent("triage", client=client), Agent("desk", "Help.", "Looks into it.", client=client)
    builder = HandoffBuilder(participants=[triage, desk]).add_handoff(triage, desk, **edge)  # type: ignore[arg-type]
    return builder.add_handoff(desk, triage).build()


async def test_a_payload_is_shown_to_the_model_and_reaches_the_receiver() -> None:
    """The schema is in the handoff tool; the values are in the event and in what the receiver is shown."""
    ticket = {"order": "A-1", "amount": 5}
    client = ScriptedClient({"triage": [handoff_to("desk", reason="late", payload=ticket)], "desk": ["I see."]})
    events = [event async for event in team(client, payload=Ticket).run("hi")]
    [spec] = client.requests[0].tools
    assert spec.parameters["required"] == ["payload"]
    assert "Ticket" in str(spec.parameters)
    [sent] = [event.data for event in events if event.type == "handoff_sent"]
    assert (sent.reason, sent.payload) == ("late", ticket)
    assert client.requests[-1].messages[-1].text == snapshot("""\
[triage] handed the conversation over to you. Reason: late
{"order": "A-1", "amount": 5}\
""")


async def test_a_payload_that_does_not_fit_goes_back_to_the_sender() -> None:
    """The sender's model reads what is wrong and tries again; the receiver never sees it."""
    wrong, right = handoff_to("desk", payload={"amount": "lots"}), handoff_to("desk", payload={"order": "A-1"})
    client = ScriptedClient({"triage": [wrong, right], "desk": ["I see."]})
    result = await team(client, payload=Ticket).run("hi")
    assert result.text == "I see."
    [told] = client.requests[1].messages[-1].tool_results
    assert told.outcome == "error"
    assert "order" in told.content
    assert "amount" in told.content


async def test_a_person_may_have_to_agree_to_a_handoff() -> None:
    """Approved it happens, refused it does not and the sender's model reads why; it cannot be edited."""
    for approved, speaker in ((True, "desk"), (False, "triage")):
        client = ScriptedClient(
            {"triage": [["Just a moment.", handoff_to("desk")], "Then I will."], "desk": ["Hello."]}
        )
        workflow = team(client, approval="always_require")
        [asked] = (await workflow.run("hi", session_id="s")).requests
        assert asked.data.function_call.name == "handoff_to_desk"
        with pytest.raises(UsageError, match="takes none"):
            await workflow.run(responses={asked.request_id: asked.data.create_response(approved=True, arguments={})})
        await workflow.run(responses={asked.request_id: asked.data.create_response(approved=approved, reason="busy")})
        assert (await workflow.session("s")).active_agent == speaker
    [told] = client.requests[-1].messages[-1].tool_results
    assert (told.outcome, told.content) == ("refused", "Not run: a person refused it. Reason: busy")


async def test_a_gated_handoff_waits_for_the_calls_beside_it_and_they_for_nobody() -> None:
    """Approving first and the tool returning later, or the other way round: one transfer, after both."""
    go = asyncio.Event()

    @tool
    async def slow() -> str:
        """Take its time."""
        await go.wait()
        return "slow"

    go.set()
    client = ScriptedClient({"a": [[handoff_to("b"), call("slow")]], "b": ["Here."]})
    agents = [Agent("a", tools=[slow], client=client), Agent("b", client=client)]
    workflow = HandoffBuilder(participants=agents).add_handoff("a", "b", approval="always_require").build()
    [asked] = (await workflow.run("hi", session_id="s")).requests
    result = await workflow.run(responses={asked.request_id: True})
    assert result.text == "Here."
    [message] = [m for m in result.conversation if m.role == "tool"]
    assert [each.outcome for each in message.tool_results] == ["transferred", "done"]


async def test_a_consulted_colleague_gives_the_conversation_back() -> None:
    """With returns="caller" the answer is in the transcript and the one who asked goes on, at any depth."""
    client = ScriptedClient(
        {"a": [handoff_to("b"), "So: forty-two."], "b": [handoff_to("c"), "Forty-two, says c."], "c": ["42."]}
    )
    agents = [Agent(name, client=client) for name in "abc"]
    builder = (
        HandoffBuilder(participants=agents)
        .add_handoff("a", "b", returns="caller")
        .add_handoff("b", "c", returns="caller")
    )
    workflow = builder.build()
    events = [event async for event in workflow.run("?", session_id="s")]
    assert [(e.data.source, e.data.target) for e in events if e.type == "handed_back"] == [("c", "b"), ("b", "a")]
    conversation = (await workflow.session("s")).conversation
    assert [m.text for m in conversation if m.role == "assistant" and m.text] == [
        "42.",
        "Forty-two, says c.",
        "So: forty-two.",
    ]
    assert client.requests[-1].messages[-1].text == snapshot("[b] is done and gives the conversation back to you.")


async def test_who_turns_to_another_agent_is_not_brought_back() -> None:
    """The user speaks to a third agent while somebody waits for an answer: nobody waits any more."""
    client = ScriptedClient({"a": [handoff_to("b")], "b": [RuntimeError("down")], "c": ["Here I am."]})
    agents = [Agent(name, client=client) for name in "abc"]
    builder = (
        HandoffBuilder(participants=agents)
        .add_handoff("a", "b", returns="caller")
        .add_handoff("a", "c")
        .add_handoff("c", "a")
    )
    workflow = builder.build()
    with pytest.raises(Exception, match="down"):
        await workflow.run("?", session_id="s")
    result = await workflow.run("c, please", session_id="s", to="c")
    assert result.text == "Here I am."
    assert result.requests


async def test_a_visit_ends_with_the_start_agent() -> None:
    """With returns="start" the target asks the user, and the answer goes to the start agent."""
    client = ScriptedClient({"triage": [handoff_to("desk"), "Back with me."], "desk": ["Which one?"]})
    workflow = team(client, returns="start")
    await workflow.run("hi", session_id="s")
    assert (await workflow.run("that one", session_id="s")).text == "Back with me."


async def test_an_unconditional_edge_is_taken_whenever_its_source_is_done() -> None:
    """No model chooses it and no tool is offered for it; a researcher's words go to a writer, and on to an editor."""
    client = ScriptedClient({"researcher": ["Facts."], "writer": ["Prose."], "editor": ["Better prose."]})
    agents = [Agent(name, client=client) for name in ("researcher", "writer", "editor")]
    builder = HandoffBuilder(participants=agents)
    builder.add_handoff("researcher", "writer", always=True).add_handoff("writer", "editor", always=True)
    result = await builder.build().run("bees")
    assert [m.text for m in result.messages] == ["bees", "Facts.", "Prose.", "Better prose."]
    assert all(not request.tools for request in client.requests)
    assert len(client.requests) == 3


async def test_a_circle_of_unconditional_edges_ends_with_the_user() -> None:
    """Nothing new comes in, so it is not walked twice."""
    client = ScriptedClient(*["On."] * 9)
    agents = [Agent(name, client=client) for name in "ab"]
    builder = HandoffBuilder(participants=agents).add_handoff("a", "b", always=True).add_handoff("b", "a", always=True)
    events = [event async for event in builder.build().run("?")]
    assert [event.data.code for event in events if event.type == "warning"] == ["cycle"]
    assert events[-1].data == "IDLE_WITH_PENDING_REQUESTS"
    assert len(client.requests) == 3


def test_contracts_that_contradict_themselves_are_told_at_build() -> None:
    """Two ways on at once, a payload nobody fills in, words that are none."""
    agents = [Agent(name) for name in "abc"]
    builder = HandoffBuilder(participants=agents).add_handoff("a", ["b", "c"], always=True)
    builder.add_handoff("b", "c", always=True, payload=Ticket)
    builder.add_handoff("c", "a", returns="never", approval="maybe")  # type: ignore[arg-type]
    with pytest.raises(BuildError) as raised:
        builder.build()
    assert list(raised.value.problems) == snapshot(
        [
            "RL112 no model chooses the handoff from 'b', so it has no payload, no approval and no way back",
            "RL103 approval is 'maybe' in add_handoff; allowed: always_require, never_require",
            "RL103 returns is 'never' in add_handoff; allowed: stay, caller, start",
            "RL111 'a' always hands over to 'b' and to 'c'; it can to one only",
        ]
    )


def test_the_fact_of_a_plain_handoff_has_not_grown() -> None:
    """What an edge does not use takes no room in the journal."""
    from relayline.journal.codec import encode

    assert (
        encode(HandoffSent(1, "a", "b", "why"))
        == '{"type":"handoff_sent","turn":1,"source":"a","target":"b","reason":"why"}'
    )


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
async def test_a_payload_no_journal_can_hold_goes_back_to_the_sender(number: str) -> None:
    """Declared or not, the model reads what is wrong and tries again."""
    for edge in ({"payload": Ticket}, {}):
        wrong = ToolCall("", "handoff_to_desk", f'{{"payload": {{"order": "A", "amount": {number}}}}}')
        client = ScriptedClient({"triage": [wrong, handoff_to("desk", payload={"order": "A"})], "desk": ["I see."]})
        assert (await team(client, **edge).run("hi")).text == "I see."
        assert client.requests[1].messages[-1].tool_results[0].outcome == "error"


async def test_what_an_edge_does_not_declare_is_not_handed_on() -> None:
    """A payload that nobody asked for stays with the one who wrote it."""
    client = ScriptedClient({"triage": [handoff_to("desk", payload={"x": 1})], "desk": ["I see."]})
    events = [event async for event in team(client).run("hi")]
    assert [event.data.payload for event in events if event.type == "handoff_sent"] == [None]


async def test_who_gets_the_conversation_back_has_its_autonomous_turns_again() -> None:
    """They are counted anew, as after a handoff."""
    client = ScriptedClient({"a": [handoff_to("b"), "a1", "a2", "a3"], "b": ["b1", "b2", "b3"]})
    agents = [Agent(name, client=client) for name in "ab"]
    builder = HandoffBuilder(participants=agents).add_handoff("a", "b", returns="caller")
    result = await builder.with_autonomous_mode(turn_limits={"a": 2, "b": 2}).build().run("go")
    assert result.text.split() == ["b1", "b2", "b3", "a1", "a2", "a3"]


async def test_an_agent_the_user_turned_to_keeps_the_conversation() -> None:
    """A visit that would have ended with the start agent is over when the user turns to a third."""
    client = ScriptedClient({"a": [handoff_to("b")], "b": ["Yes?"], "c": ["Here.", "Still here."]})
    agents = [Agent(name, client=client) for name in "abc"]
    builder = HandoffBuilder(participants=agents).add_handoff("a", "b", returns="start").add_handoff("a", "c")
    workflow = builder.add_handoff("b", "a").add_handoff("c", "a").build()
    await workflow.run("hi", session_id="s")
    await workflow.run("c?", session_id="s", to="c")
    assert (await workflow.run("and?", session_id="s")).text == "Still here."


def test_a_payload_without_a_schema_is_one_problem_of_the_list() -> None:
    """Not an exception of its own."""
    agents = [Agent("a"), Agent("b")]
    with pytest.raises(BuildError, match="RL110"):
        HandoffBuilder(participants=agents).add_handoff("a", "b", payload={"x": 1}).build()  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="RL108 the prompt of 'a'"):
        HandoffBuilder(participants=agents).with_autonomous_mode(prompts={"a": " "}).build()


async def test_an_autonomous_agent_that_gets_nothing_right_is_not_prompted_again() -> None:
    """The user is asked, whatever autonomy it has."""
    client = ScriptedClient(*[call("nothing_like_it")] * 5)
    agents = [Agent("a", client=client), Agent("b", client=client)]
    result = await HandoffBuilder(participants=agents).with_autonomous_mode().build().run("hi")
    client.assert_done()
    assert result.requests
