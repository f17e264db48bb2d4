"""Teams that discuss."""

import pytest

from relayline import (
    BuildError,
    ConditionError,
    GroupChatBuilder,
    GroupChatState,
    HumanAgent,
    InMemoryCheckpointStorage,
    WorkflowRunState,
    executor,
)
from relayline.conditions import text_mentions
from relayline.testing import Crash, ScriptedClient, assert_replays, crash_at, handoff_to


def said(result) -> list[str]:
    return [f"{each.author_name}: {each.text}" for each in result.messages if each.role == "assistant" and each.text]


def members(client: ScriptedClient, names: str = "abc"):
    return [client.as_agent(name, description=f"Is {name}.") for name in names]


async def test_everybody_in_turn():
    """Each hears all before it, until there were as many turns as one message may take; and again after the next."""
    client = ScriptedClient("1", "2", "3", "4", "5", "6")
    team = GroupChatBuilder(participants=members(client), max_rounds=4).build()
    assert said(await team.run("Go.", session_id="s")) == ["a: 1", "b: 2", "c: 3", "a: 4"]
    assert [each.text for each in client.requests[3].messages] == ["Go.", "1", "[b] 2", "[c] 3"]
    result = (
        await GroupChatBuilder(participants=members(client), max_rounds=2)
        .with_checkpointing(team.store)
        .build()
        .run("More.", session_id="s")
    )
    assert said(result) == ["a: 5", "b: 6"]
    assert result.state is WorkflowRunState.IDLE


async def test_a_function_says_who_is_next():
    """Sync or async, of the chat so far; None ends it, and what it said is not asked for again on resume."""
    asked: list[GroupChatState] = []

    async def select(state: GroupChatState) -> str | None:
        asked.append(state)
        return ("c", "a", None)[state.rounds]

    store = InMemoryCheckpointStorage()
    client = ScriptedClient("1", "2")
    builder = GroupChatBuilder(participants=members(client), selection_func=select)
    with pytest.raises(Crash):
        await builder.with_checkpointing(crash_at(store, 3, written=True)).build().run("Go.", session_id="s")
    result = await builder.with_checkpointing(store).build().run(session_id="s")
    assert [f"{each.author_name}: {each.text}" for each in result.conversation[1:]] == ["c: 1", "a: 2"]
    assert [(each.rounds, each.last_speaker, len(each.conversation)) for each in asked] == [
        (0, "", 1),
        (1, "c", 2),
        (2, "a", 3),
    ]
    assert asked[0].participants == ("a", "b", "c")
    assert_replays(await store.read("s"))


@pytest.mark.parametrize("wrong", ["d", 7, LookupError("nobody")])
async def test_a_selection_that_cannot_be_fails_and_is_asked_again(wrong):
    """With a sentence that has the names; nothing is lost."""
    answers = [wrong, "a", None]

    def select(state: GroupChatState):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    team = GroupChatBuilder(participants=members(ScriptedClient("1")), selection_func=select).build()
    with pytest.raises(ConditionError, match="nobody" if isinstance(wrong, Exception) else "participants: a, b, c"):
        await team.run("Go.", session_id="s")
    assert (await team.run(session_id="s")).text == "1"


async def test_an_agent_gives_the_word():
    """By handing over, with a reason the member reads; when it answers instead, its words are the result."""
    client = ScriptedClient(
        {
            "chair": [handoff_to("b", reason="knows prices"), handoff_to("a"), "We are agreed."],
            "b": ["Nine."],
            "a": ["Ten."],
        }
    )
    chair = client.as_agent("chair", "Decide who speaks.")
    result = await GroupChatBuilder(participants=members(client), selector=chair).build().run("A price?")
    assert said(result) == ["b: Nine.", "a: Ten.", "chair: We are agreed."]
    assert [each.text for each in result.outputs] == ["We are agreed."]
    spoken = next(each for each in client.requests if each.agent.name == "b")
    assert spoken.messages[-1].text == "[chair] handed the conversation over to you. Reason: knows prices"
    assert [spec.target for spec in client.requests[0].tools] == ["a", "b", "c"]
    assert list(spoken.tools) == []


async def test_rounds_are_the_members_turns_also_with_a_selector():
    """The selector's own are not counted."""
    client = ScriptedClient(lambda request: handoff_to("a"), "1", lambda request: handoff_to("b"), "2")
    chair = client.as_agent("chair")
    result = await GroupChatBuilder(participants=members(client), selector=chair, max_rounds=2).build().run("Go.")
    assert said(result) == ["a: 1", "b: 2"]


async def test_a_termination_condition_ends_it():
    """The same as of any team."""
    client = ScriptedClient("1", "That settles it.", "never")
    team = GroupChatBuilder(participants=members(client)).with_termination_condition(text_mentions("settles")).build()
    assert said(await team.run("Go.")) == ["a: 1", "b: That settles it."]


async def test_people_and_functions_take_part():
    """A person's turn waits for them; a function speaks on the last words."""

    @executor
    def shout(text: str) -> str:
        return text.upper()

    client = ScriptedClient("quiet")
    team = GroupChatBuilder(participants=[client.as_agent("a"), HumanAgent("jo"), shout], max_rounds=3).build()
    result = await team.run("Go.", session_id="s")
    result = await team.run(responses={result.requests[0].request_id: "louder"})
    assert said(result) == ["jo: louder", "shout: LOUDER"]


def test_what_is_wrong_is_said():
    """All of it at once."""
    client = ScriptedClient()
    with pytest.raises(BuildError) as raised:
        GroupChatBuilder(
            participants=members(client), selection_func=len, selector=client.as_agent("d"), max_rounds=0
        ).build()
    assert [each[:5] for each in raised.value.problems] == ["RL103", "RL108"]
    with pytest.raises(BuildError, match="RL143 nobody ever ends this chat"):
        GroupChatBuilder(participants=members(client)).build()
    with pytest.raises(BuildError, match="RL105"):
        GroupChatBuilder(max_rounds=1).build()


async def test_who_has_the_word_twice_in_a_row_is_told_to_go_on():
    """No request ends on the words of whom it asks, and what was said before stands as it stood."""
    client = ScriptedClient("1", "2", "3")
    team = GroupChatBuilder(participants=members(client), selection_func=lambda chat: "a", max_rounds=3).build()
    assert said(await team.run("Go.")) == ["a: 1", "a: 2", "a: 3"]
    assert [[each.text for each in request.messages] for request in client.requests] == [
        ["Go."],
        ["Go.", "1", "Go on."],
        ["Go.", "1", "Go on.", "2", "Go on."],
    ]
    assert {request.messages[-1].role for request in client.requests} == {"user"}


async def test_who_has_the_word_again_after_somebody_said_nothing_is_told_to_go_on():
    """Words that nobody is shown come between nobody's words."""
    client = ScriptedClient("1", " ", "3")
    team = GroupChatBuilder(
        participants=members(client), selection_func=lambda chat: "b" if chat.rounds == 1 else "a", max_rounds=3
    )
    await team.build().run("Go.")
    assert [each.text for each in client.requests[-1].messages] == ["Go.", "1", "Go on."]
