"""A person among the participants: asked for their turn, for as long as it takes."""

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from relayline import (
    Agent,
    BuildError,
    ConditionError,
    HandoffAgentUserRequest,
    HandoffBuilder,
    HumanAgent,
    HumanTurnRequest,
    InMemoryCheckpointStorage,
    RequestNotOpen,
    UsageError,
    Workflow,
    WorkflowEvent,
    WorkflowRunState,
    tool,
    views,
)
from relayline.cli.voice import about
from relayline.conditions import said_by
from relayline.events import Answered, Finished
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.testing import ScriptedClient, assert_replays, call, handoff_to

JO = HumanAgent("jo", description="Signs for refunds.")


def builder(client: ScriptedClient, store: Store | None = None, **returns: str) -> HandoffBuilder:
    """Front hands over to jo, who is a person; jo to front and to the archive."""
    front = client.as_agent("front", description="First contact.")
    archive = client.as_agent("archive", description="Files letters.")
    team = HandoffBuilder(name="desk", participants=[front, JO, archive]).add_handoff(front, JO, **returns)  # type: ignore[arg-type]
    team.add_handoff(JO, [front, archive]).with_terminal_agents([archive])
    return team.with_checkpointing(store or InMemoryCheckpointStorage())


def team(client: ScriptedClient, store: Store | None = None, **returns: str) -> Workflow:
    return builder(client, store, **returns).build()


def to_jo(**others: Sequence[object]) -> ScriptedClient:
    """Front hands over to jo at once."""
    return ScriptedClient({"front": [handoff_to("jo", reason="a refund")], "archive": [], **others})  # type: ignore[dict-item]


def and_then(*replies: object) -> ScriptedClient:
    """As `to_jo`; when front has the conversation again it says this."""
    return to_jo(front=[handoff_to("jo", reason="a refund"), *replies])


async def asked(workflow: Workflow, message: str = "My money back!") -> WorkflowEvent:
    """Jo's turn in the session s."""
    (request,) = (await workflow.run(message, session_id="s")).requests
    assert isinstance(request.data, HumanTurnRequest)
    return request


def moves(events: Sequence[WorkflowEvent]) -> list[str]:
    """Who spoke, and who had the conversation."""
    shown: list[str] = []
    for event in events:
        match event.type:
            case "message" if event.data.text:
                shown.append(f"{event.executor_id or 'user'}: {event.data.text}")
            case "handoff_sent" | "handed_back":
                shown.append(f"{event.type} {event.data.source} -> {event.data.target}")
            case "executor_invoked" | "executor_completed":
                shown.append(f"{event.type} {event.executor_id}")
            case "request_info":
                shown.append(f"asked {event.executor_id} {type(event.data).__name__}")
            case "request_answered":
                shown.append(event.data.settled)
            case _:
                pass
    return shown


# Their turn


async def test_a_person_is_asked_and_shown_the_conversation() -> None:
    """Their turn is a request with all that was said, and why they have it; nothing is wanted of any model meanwhile."""
    client = to_jo()
    workflow = team(client)
    request = await asked(workflow)
    assert (request.executor_id, request.request_id, request.data.agent) == ("jo", "s/r1", "jo")
    assert [message.text for message in request.data.messages] == snapshot(
        ["My money back!", "[front] handed the conversation over to you. Reason: a refund"]
    )
    assert (await workflow.session("s")).state is WorkflowRunState.IDLE_WITH_PENDING_REQUESTS
    again = await workflow.run(session_id="s")
    assert [each.request_id for each in again.requests] == ["s/r1"]
    client.assert_done()


async def test_what_a_person_says_is_theirs() -> None:
    """A plain string answers; it is a message of the conversation under their name, and then the user is asked."""
    workflow = team(to_jo())
    request = await asked(workflow)
    events = [event async for event in workflow.run(responses={request.request_id: "I will sign it."})]
    assert moves(events) == snapshot(
        ["replied", "jo: I will sign it.", "executor_completed jo", "asked jo HandoffAgentUserRequest"]
    )
    last = (await workflow.session("s")).conversation[-1]
    assert (last.role, last.author_name, last.text) == ("assistant", "jo", "I will sign it.")
    [asks] = [event for event in events if event.type == "request_info"]
    assert isinstance(asks.data, HandoffAgentUserRequest)
    assert asks.data.agent_response.text == "I will sign it."


async def test_the_user_goes_on_with_the_person() -> None:
    """As with any agent: the next message goes to whoever spoke last, and so comes as another request."""
    workflow = team(to_jo())
    request = await asked(workflow)
    await workflow.run(responses={request.request_id: "Which order?"})
    request = await asked(workflow, "A-1")
    assert [message.text for message in request.data.messages][-2:] == ["Which order?", "A-1"]


async def test_without_return_to_previous_the_start_agent_takes_the_users_answer() -> None:
    """Also after a person."""
    client = and_then("Front here.")
    workflow = builder(client).with_return_to_previous(enabled=False).build()
    request = await asked(workflow)
    result = await workflow.run(responses={request.request_id: "Which order?"})
    result = await workflow.run(responses={result.requests[0].request_id: "A-1"})
    assert result.text == "Front here."


async def test_a_person_hands_over() -> None:
    """With words or without; the colleague's model reads both as it reads any colleague's."""
    for words in ("Please file it.", ""):
        client = to_jo(archive=["Filed."])
        workflow = team(client)
        request = await asked(workflow)
        answer = request.data.create_response(words, handoff_to="archive")
        events = [event async for event in workflow.run(responses={request.request_id: answer})]
        assert moves(events)[-5:] == snapshot(
            [
                "executor_completed jo",
                "handoff_sent jo -> archive",
                "executor_invoked archive",
                "archive: Filed.",
                "executor_completed archive",
            ]
        )
        shown = [message.text for message in client.requests[-1].messages]
        assert shown[-1] == snapshot("[jo] handed the conversation over to you.")
        assert ("[jo] Please file it." in shown) is bool(words)
        client.assert_done()


async def test_a_person_hands_back() -> None:
    """To whoever handed over to them, with a last word; an event says so and that agent reads it."""
    client = and_then("It is signed.")
    workflow = team(client)
    request = await asked(workflow)
    answer = request.data.hand_back("Signed.")
    events = [event async for event in workflow.run(responses={request.request_id: answer})]
    assert moves(events) == snapshot(
        [
            "replied",
            "jo: Signed.",
            "executor_completed jo",
            "handed_back jo -> front",
            "executor_invoked front",
            "front: It is signed.",
            "executor_completed front",
            "asked front HandoffAgentUserRequest",
        ]
    )
    assert [message.text for message in client.requests[-1].messages][-2:] == snapshot(
        ["[jo] Signed.", "[jo] is done and gives the conversation back to you."]
    )
    client.assert_done()


async def test_a_person_who_was_consulted_gives_back_by_answering() -> None:
    """With returns="caller" a plain answer and a hand_back come to the same."""
    for hand_back in (True, False):
        client = and_then("So: yes.")
        workflow = team(client, returns="caller")
        request = await asked(workflow)
        answer = request.data.hand_back("Yes.") if hand_back else "Yes."
        events = [event async for event in workflow.run(responses={request.request_id: answer})]
        assert [each for each in moves(events) if each.startswith("hand")] == ["handed_back jo -> front"]
        assert events[-1].data is WorkflowRunState.IDLE_WITH_PENDING_REQUESTS
        client.assert_done()


async def test_a_person_without_a_way_out_has_the_last_word() -> None:
    """Terminal as any agent: their answer finishes the conversation, and a message takes it up with them again."""
    client = ScriptedClient(handoff_to("jo"))
    front = client.as_agent("front")
    workflow = HandoffBuilder(participants=[front, JO]).add_handoff(front, JO).with_terminal_agents([JO]).build()
    request = await asked(workflow)
    result = await workflow.run(responses={request.request_id: "No."})
    assert (result.state, result.requests) == (WorkflowRunState.IDLE, [])
    assert isinstance((await workflow.store.read("s"))[-1].fact, Finished)
    assert (await asked(workflow, "Why?")).executor_id == "jo"


async def test_a_person_can_be_the_first() -> None:
    """A person as the start agent is asked at once; nobody is there to hand back to."""
    client = to_jo(archive=["Filed."])
    workflow = builder(client).with_start_agent(JO).build()
    request = await asked(workflow, "Hello?")
    assert [message.text for message in request.data.messages] == ["Hello?"]
    before = len(await workflow.store.read("s"))
    with pytest.raises(UsageError) as refused:
        await workflow.run(responses={request.request_id: request.data.hand_back("Here.")})
    assert str(refused.value) == snapshot(
        "nobody handed the conversation over to 'jo', so it cannot be given back; the request stays open"
    )
    assert len(await workflow.store.read("s")) == before
    result = await workflow.run(responses={request.request_id: request.data.create_response(handoff_to="archive")})
    assert result.text == "Filed."


async def test_a_handoff_to_whom_nobody_declared() -> None:
    """The sentence has those who were; nothing is written or shown, and the request stays open."""
    workflow = team(to_jo())
    request = await asked(workflow)
    before, shown = len(await workflow.store.read("s")), list[str]()
    with pytest.raises(UsageError) as refused:
        answer = request.data.create_response("There you go.", handoff_to="nobody")
        shown += [event.type async for event in workflow.run(responses={request.request_id: answer})]
    assert str(refused.value) == snapshot(
        "no handoff from 'jo' to 'nobody'; declared: 'front', 'archive'; the request stays open"
    )
    assert (shown, len(await workflow.store.read("s"))) == ([], before)
    assert [each.request_id for each in (await workflow.session("s")).requests] == ["s/r1"]


@pytest.mark.parametrize("answer", ["", " \n", True, None, 7, HandoffAgentUserRequest.create_response("words")])
async def test_what_is_no_turn(answer: object) -> None:
    """Nothing said, or an answer to another kind of question, leaves the request open."""
    workflow = team(to_jo())
    request = await asked(workflow)
    with pytest.raises(UsageError, match="the reply is empty|is answered with a str, or request.data.create_response"):
        await workflow.run(responses={request.request_id: answer})
    assert (await workflow.session("s")).requests
    with pytest.raises(UsageError, match="the reply is empty"):
        request.data.create_response()


async def test_a_turn_is_taken_once() -> None:
    """A second answer comes too late, whatever it is."""
    workflow = team(to_jo())
    request = await asked(workflow)
    await workflow.run(responses={request.request_id: "Yes."})
    for answer in ("No.", request.data.hand_back()):
        with pytest.raises(RequestNotOpen, match="already answered"):
            await workflow.run(responses={request.request_id: answer})


async def test_the_user_writes_meanwhile() -> None:
    """Their turn is withdrawn and begins anew with what the user wrote; an answer to the old one is too late."""
    workflow = team(to_jo())
    first = await asked(workflow)
    events = [event async for event in workflow.run("It is urgent!", session_id="s")]
    assert moves(events) == snapshot(
        [
            "withdrawn",
            "executor_completed jo",
            "user: It is urgent!",
            "executor_invoked jo",
            "asked jo HumanTurnRequest",
        ]
    )
    (second,) = (await workflow.session("s")).requests
    assert [message.text for message in second.data.messages][-1] == "It is urgent!"
    with pytest.raises(RequestNotOpen, match="withdrawn"):
        await workflow.run(responses={first.request_id: "I come."})
    assert (await workflow.run(responses={second.request_id: "I come."})).text == "I come."


async def test_the_user_turns_to_somebody_else_meanwhile() -> None:
    """A message to another agent withdraws the person's turn as well."""
    workflow = team(to_jo(archive=["The archive."]))
    first = await asked(workflow)
    assert (await workflow.run("Then you.", session_id="s", to="archive")).text == "The archive."
    with pytest.raises(RequestNotOpen):
        await workflow.run(responses={first.request_id: "I come."})


async def test_several_people_pass_it_on_and_back() -> None:
    """Each is asked in their turn, and back goes the way it came."""
    client = and_then("Both agree.")
    front, max_ = client.as_agent("front", description="First contact."), HumanAgent("max", description="Jo's boss.")
    people = HandoffBuilder(participants=[front, JO, max_]).add_handoff(front, JO, returns="caller")
    workflow = people.add_handoff(JO, max_, returns="caller").build()
    request = await asked(workflow)
    events: list[WorkflowEvent] = []
    for answer in (request.data.create_response("Max?", handoff_to="max"), "Fine by me.", "By me too."):
        events += [event async for event in workflow.run(responses={request.request_id: answer})]
        (request,) = (await workflow.session("s")).requests
    assert moves(events) == snapshot(
        [
            "replied",
            "jo: Max?",
            "executor_completed jo",
            "handoff_sent jo -> max",
            "executor_invoked max",
            "asked max HumanTurnRequest",
            "replied",
            "max: Fine by me.",
            "executor_completed max",
            "handed_back max -> jo",
            "executor_invoked jo",
            "asked jo HumanTurnRequest",
            "replied",
            "jo: By me too.",
            "executor_completed jo",
            "handed_back jo -> front",
            "executor_invoked front",
            "front: Both agree.",
            "executor_completed front",
            "asked front HandoffAgentUserRequest",
        ]
    )


async def test_a_persons_turn_is_news() -> None:
    """An agent may ask the same person again after their answer: it is no circle, as something came in."""
    client = and_then(handoff_to("jo"), "Thank you.")
    workflow = team(client)
    request = await asked(workflow)
    ask = request.data.create_response("Which order?", handoff_to="front")
    (request,) = (await workflow.run(responses={request.request_id: ask})).requests
    assert isinstance(request.data, HumanTurnRequest)
    result = await workflow.run(responses={request.request_id: request.data.create_response(handoff_to="front")})
    assert result.text == "Thank you."


async def test_a_handoff_that_is_shut_is_shut_for_people_too() -> None:
    """While its predicate does not hold there is no such way; opened, there is; and one that fails says so."""
    client = to_jo(archive=["Filed."])
    front = client.as_agent("front", description="First contact.")
    way = HandoffBuilder(participants=[front, JO, client.as_agent("archive")]).add_handoff(front, JO)
    workflow = way.add_handoff(JO, "archive", when=lambda _, state: bool(state["open"])).build()
    for state, error in (({}, ConditionError), ({"open": False}, UsageError)):
        (request,) = (await workflow.run("Hi.", session_id="s", to="jo", state=state)).requests
        with pytest.raises(error, match="from 'jo' to 'archive'"):
            await workflow.run(
                responses={request.request_id: request.data.create_response("There.", handoff_to="archive")}
            )
        assert [each.request_id for each in (await workflow.session("s")).requests] == [request.request_id]
    (request,) = (await workflow.run("Hi.", session_id="s", to="jo", state={"open": True})).requests
    answer = request.data.create_response(handoff_to="archive")
    assert (await workflow.run(responses={request.request_id: answer})).text == "Filed."


async def test_what_a_person_is_done_with_may_go_on_by_itself() -> None:
    """An edge that nobody chooses is taken after a person's answer as after an agent's."""
    client = ScriptedClient({"archive": ["Filed."]})
    parts = [JO, client.as_agent("archive", description="Files.")]
    workflow = HandoffBuilder(participants=parts).add_handoff(JO, "archive", always=True).build()
    request = await asked(workflow)
    result = await workflow.run(responses={request.request_id: "Done."})
    assert [message.text for message in result.messages] == ["Done.", "Filed."]


async def test_a_tool_may_hand_over_to_a_person() -> None:
    """What a tool hands over is a person's turn like any other, with the reason and what it carries."""
    from relayline import ToolContext

    @tool
    def escalate(context: ToolContext) -> str:
        """Get a person."""
        context.handoff("jo", reason="over 100 euros")
        return "asked"

    client = ScriptedClient(call("escalate"))
    front = Agent("front", "", "First contact.", [escalate], client)
    workflow = HandoffBuilder(participants=[front, JO]).build()
    request = await asked(workflow)
    assert request.data.messages[-1].text == snapshot(
        "[front] handed the conversation over to you. Reason: over 100 euros"
    )


# Ends


async def test_a_condition_is_asked_after_a_persons_turn() -> None:
    """What they say can end the conversation."""
    workflow = builder(to_jo()).with_termination_condition(said_by("jo")).build()
    request = await asked(workflow)
    result = await workflow.run(responses={request.request_id: "That is all."})
    assert (result.state, result.requests) == (WorkflowRunState.IDLE, [])
    end = (await workflow.store.read("s"))[-1].fact
    assert isinstance(end, Finished)
    assert end.reason == "condition"


async def test_a_person_ends_the_conversation() -> None:
    """terminate() ends it during a person's turn as at any other time."""
    workflow = team(to_jo())
    request = await asked(workflow)
    result = await workflow.run(responses={request.request_id: request.data.terminate()})
    assert (result.state, result.requests) == (WorkflowRunState.IDLE, [])
    answered, *_, end = [entry.fact for entry in await workflow.store.read("s")][-3:]
    assert (answered, end) == (Answered("r1", "terminated"), Finished("terminated"))
    assert (await asked(workflow, "Still there?")).executor_id == "jo"


# Processes


async def test_days_later_in_another_process(tmp_path: Path) -> None:
    """The turn waits on disk; whoever has the file and the team can take it, and it goes on from there."""
    client = and_then("It is signed.")
    async with aclosing(SqliteCheckpointStorage(tmp_path / "s.db")) as store:
        first = await asked(team(client, store))
    async with aclosing(SqliteCheckpointStorage(tmp_path / "s.db")) as store:
        workflow = team(client, store)
        (request,) = (await workflow.session("s")).requests
        assert request.data == first.data
        result = await workflow.run(responses={request.request_id: request.data.hand_back("Signed.")})
        assert result.text.split("\n") == ["Signed.", "It is signed."]
        assert_replays(await store.read("s"))


async def test_a_team_that_has_lost_its_person() -> None:
    """An agent of their name that is a model's answers no turn of theirs: it is still the person's to answer."""
    store = InMemoryCheckpointStorage()
    request = await asked(team(to_jo(), store))
    client = ScriptedClient({"front": ["Front."], "jo": [], "archive": []})
    changed = [client.as_agent(name, description=name) for name in ("front", "jo", "archive")]
    workflow = HandoffBuilder(name="desk", participants=changed).with_checkpointing(store).build()
    assert (await workflow.run(session_id="s")).requests[0].request_id == request.request_id
    answer = request.data.create_response("Bye.", handoff_to="front")
    assert (await workflow.run(responses={request.request_id: answer})).text == "Bye.\nFront."


# In a team


async def test_no_model_speaks_for_a_person() -> None:
    """Not even one that speaks for all, and nobody misses one for them."""
    workflow = team(to_jo())
    assert workflow.mute == []
    other = ScriptedClient(handoff_to("jo"))
    spoken_for = workflow.with_client(other, override=True)
    assert (await asked(spoken_for)).executor_id == "jo"
    assert about(spoken_for).split("\n") == ["front, archive: ScriptedClient", "jo: a person"]
    mute = HandoffBuilder(participants=[Agent("front", description="First."), JO]).build()
    assert mute.mute == ["front"]


async def test_people_do_not_go_on_alone() -> None:
    """Autonomy for all means all models."""
    client = and_then("One.", "Two.", "Three.")
    workflow = builder(client).with_autonomous_mode(turn_limits={"front": 2}).build()
    request = await asked(workflow)
    result = await workflow.run(responses={request.request_id: "Well?"})
    assert result.requests[0].executor_id == "jo"
    result = await workflow.run("Go.", session_id="s", to="front")
    assert result.text == "One.\nTwo.\nThree."


def test_what_only_a_model_could_do_is_not_declared_of_a_person() -> None:
    """Tools, a client, autonomy, a view, a payload and an approval are refused where the team is built."""
    client = ScriptedClient()
    front = client.as_agent("front")
    odd = HandoffBuilder(
        participants=[front, HumanAgent("max", tools=[handoff_tool]), HumanAgent("mia", client=client)]
    )
    odd_problems = problems(odd)
    builder = HandoffBuilder(participants=[front, JO]).with_autonomous_mode([JO]).with_view(JO, views.full)
    builder.add_handoff(front, JO, view=views.last(2)).add_handoff(JO, front, payload=dict[str, str])
    assert [*odd_problems, *problems(builder)] == snapshot(
        [
            "RL114 'max' is a person, who has no tools, no client and no output_type",
            "RL114 'mia' is a person, who has no tools, no client and no output_type",
            "RL114 'jo' is a person and does not go on alone; leave it out of with_autonomous_mode",
            "RL114 'jo' is a person and is shown the whole conversation; leave it out of with_view",
            "RL114 'jo' is a person and is shown the whole conversation; leave the view out of the handoff from 'front'",
            "RL114 'jo' is a person, who fills in no payload and needs nobody's approval; leave them out of the handoff to 'front'",
        ]
    )


@tool
def handoff_tool() -> str:
    """Do something."""
    return ""


def problems(builder: HandoffBuilder) -> list[str]:
    with pytest.raises(BuildError) as raised:
        builder.build()
    return list(raised.value.problems)


async def test_the_journal_holds_a_persons_turn() -> None:
    """Entry, question, answer, words and exit, in this order, streamed or not."""
    journals: list[list[str]] = []
    for stream in (True, False):
        workflow = team(and_then("It is signed."))
        request = await asked(workflow)
        answer = request.data.hand_back("Signed.")
        async for _ in workflow.run(responses={request.request_id: answer}, stream=stream):
            pass
        journals.append([entry.fact.type for entry in await workflow.store.read("s")])
        answers = [entry.fact for entry in await workflow.store.read("s") if isinstance(entry.fact, Answered)]
        assert answers == [Answered("r1", "replied")]
    assert journals[0] == journals[1]
    assert journals[0][7:] == snapshot(
        [
            "turn_started",
            "asked",
            "answered",
            "replied",
            "turn_ended",
            "handed_back",
            "turn_started",
            "replied",
            "turn_ended",
            "asked",
        ]
    )
