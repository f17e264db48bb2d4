"""Agents that would talk among themselves for ever, and what stops them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from relayline import Agent, ChatClient, ChatRequest, HandoffBuilder, RunResult, WorkflowEvent, WorkflowRunState, tool
from relayline.agent import Chunk
from relayline.testing import Reply, ScriptedClient, call, handoff_to


@tool(repeatable=True)
def look() -> str:
    """Look."""
    return "seen"


def pair(client: ScriptedClient) -> HandoffBuilder:
    return HandoffBuilder(participants=[Agent("a", tools=[look], client=client), Agent("b", client=client)])


async def play(builder: HandoffBuilder, message: str = "hi") -> tuple[RunResult, list[WorkflowEvent]]:
    run = builder.build().run(message, session_id="s")
    events = [event async for event in run]
    return await run, [event for event in events if event.type == "warning"]


async def test_the_same_edge_again_without_anything_new_is_refused_and_the_model_told() -> None:
    """A to b, b to a, a to b again: the third is not taken, the warning names the cycle, and a answers."""
    client = ScriptedClient({"a": [handoff_to("b"), handoff_to("b"), "I will do it."], "b": [handoff_to("a")]})
    result, [warning] = await play(pair(client))
    client.assert_done()
    assert result.text == "I will do it."
    assert warning.data.code == "cycle"
    assert "a handed over to b before" in warning.data.message
    [told] = client.requests[-1].messages[-1].tool_results
    assert told.outcome == "error"
    assert "Answer the user yourself" in told.content


async def test_a_tools_result_is_progress() -> None:
    """With news in between, the same edge may be taken again."""
    again: list[Reply] = [[call("look"), handoff_to("b")] for _ in range(5)]
    client = ScriptedClient({"a": [*again, "Done."], "b": [handoff_to("a")] * 5})
    result, warnings = await play(pair(client))
    assert (result.text, warnings) == ("Done.", [])


async def test_words_of_the_user_are_progress() -> None:
    """A new message opens every edge again."""
    client = ScriptedClient({"a": [handoff_to("b"), handoff_to("b")], "b": ["Yes?", handoff_to("a"), "Well."]})
    workflow = pair(client).build()
    await workflow.run("hi", session_id="s")
    assert (await workflow.run("on", session_id="s")).text == "Well."


async def test_there_are_so_many_handoffs_to_a_message_and_no_more() -> None:
    """Progress or not: at the budget the model is told and the edges are closed until the user speaks."""
    moving: list[Reply] = [[call("look"), handoff_to("b")] for _ in range(3)]
    client = ScriptedClient({"a": [*moving, "Enough."], "b": [handoff_to("a")] * 9})
    result, [warning] = await play(pair(client).with_loop_control(max_hops=4))
    assert warning.data.code == "hop_budget"
    assert result.text == "Enough."


@pytest.mark.parametrize(
    ("on_loop", "state"), [("ask_user", WorkflowRunState.IDLE_WITH_PENDING_REQUESTS), ("stop", WorkflowRunState.IDLE)]
)
async def test_a_loop_may_end_with_the_user_or_with_the_conversation(on_loop: str, state: WorkflowRunState) -> None:
    """Both are results, not errors, and a new message goes on from there."""
    client = ScriptedClient({"a": [handoff_to("b"), handoff_to("b"), "Again."], "b": [handoff_to("a")]})
    workflow = pair(client).with_loop_control(on_loop=on_loop).build()  # type: ignore[arg-type]
    assert (await workflow.run("hi", session_id="s")).state == state
    assert (await workflow.run("go on", session_id="s")).text == "Again."


async def test_a_loop_may_go_to_somebody_who_can_break_it() -> None:
    """The fallback agent gets the conversation, and is told why."""
    client = ScriptedClient({"a": [handoff_to("b"), handoff_to("b")], "b": [handoff_to("a")], "boss": ["Mine now."]})
    builder = pair(client).participants([Agent(name, client=client) for name in ("a", "b", "boss")])
    builder.add_handoff("a", "b").add_handoff("b", "a").with_loop_control(fallback="boss")
    result, [warning] = await play(builder)
    assert result.text == "Mine now."
    assert warning.data.message in client.requests[-1].messages[-1].text


async def test_an_agent_that_gets_nothing_right_is_stopped() -> None:
    """Five replies in a row that come to nothing but errors end its turn."""
    client = ScriptedClient(*[call("nothing_like_it")] * 5)
    result, [warning] = await play(pair(client))
    client.assert_done()
    assert warning.data.code == "repair_limit"
    assert result.state == WorkflowRunState.IDLE_WITH_PENDING_REQUESTS


async def test_an_autonomous_agent_goes_on_so_many_times_and_then_asks() -> None:
    """A limit of N is N more turns; each is told the prompt, which is no message of the user's and in no transcript."""
    client = ScriptedClient("One.", "Two.", "Three.")
    builder = pair(client).with_autonomous_mode(["a"], prompts={"a": "Go on."}, turn_limits={"a": 2})
    result, _ = await play(builder)
    client.assert_done()
    assert result.state == WorkflowRunState.IDLE_WITH_PENDING_REQUESTS
    assert [message.text for message in result.conversation] == ["hi", "One.", "Two.", "Three."]
    assert client.requests[-1].messages[-1].text == "Go on."


async def test_a_limit_of_none_at_all_is_no_autonomy() -> None:
    """With 0 turns the agent asks at once."""
    client = ScriptedClient("One.")
    result, _ = await play(pair(client).with_autonomous_mode(turn_limits={"a": 0}))
    assert result.state == WorkflowRunState.IDLE_WITH_PENDING_REQUESTS


async def test_the_count_begins_anew_with_a_handoff_and_with_the_user() -> None:
    """Each time an agent gets the conversation it has its turns."""
    client = ScriptedClient(
        {"a": ["1", [call("look"), handoff_to("b")], "5", "6", "7", "8"], "b": ["2", handoff_to("a")]}
    )
    workflow = pair(client).with_autonomous_mode(turn_limits={"a": 1, "b": 1}).build()
    assert (await workflow.run("hi", session_id="s")).text.split() == ["1", "2", "5", "6"]
    assert (await workflow.run("more", session_id="s")).text.split() == ["7", "8"]


async def test_ten_thousand_autonomous_turns_run() -> None:
    """It is a loop, not a recursion."""

    class Short(ChatClient):  # a scripted one checks every request as a whole
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            yield "x"

    team = HandoffBuilder(participants=[Agent("a", client=Short()), Agent("b")]).add_handoff("a", "b")
    workflow = team.with_autonomous_mode(turn_limits={"a": 10_000}).build().with_client(Short())
    result = await workflow.run("hi")
    assert len(result.conversation) == 10_002


def test_wrong_numbers_and_names_are_told_at_build() -> None:
    """Limits, prompts, agents and policies that cannot be meant."""
    from relayline import BuildError

    builder = pair(ScriptedClient()).with_autonomous_mode(["c", "a"], prompts={"b": "x"}, turn_limits={"a": -1, "d": 3})
    builder.with_loop_control(max_hops=0, on_loop="panic", fallback="e")  # type: ignore[arg-type]
    with pytest.raises(BuildError) as raised:
        builder.build()
    assert [problem[:5] for problem in raised.value.problems] == [
        "RL101",
        "RL101",
        "RL101",
        "RL108",
        "RL108",
        "RL103",
        "RL101",
    ]
    with pytest.raises(BuildError, match="takes a list"):
        pair(ScriptedClient()).with_autonomous_mode("ab").build()


# --- Outputs that do not fit


@dataclass
class Bill:
    """What is to be paid."""

    amount: int


def clerk(client: ScriptedClient) -> HandoffBuilder:
    agents = [Agent("a", tools=[look], client=client, output_type=Bill), Agent("b", client=client)]
    return HandoffBuilder(participants=agents)


async def test_an_agent_whose_output_never_fits_is_stopped() -> None:
    """Four times it is told why; the fifth reply ends its turn, with a warning and without a value."""
    client = ScriptedClient(*["It is 38 euros."] * 5)
    result, [warning] = await play(clerk(client))
    client.assert_done()
    assert warning.data.code == "output_invalid"
    assert "5 replies of a in a row" in warning.data.message
    assert (result.state, result.value) == (WorkflowRunState.IDLE_WITH_PENDING_REQUESTS, None)


async def test_outputs_and_calls_that_fail_count_together() -> None:
    """What comes to nothing comes to nothing; a call that is well begins the count anew."""
    client = ScriptedClient("38", call("nothing"), "38", call("nothing"), call("nothing"))
    _, [warning] = await play(clerk(client))
    assert warning.data.code == "repair_limit"
    client = ScriptedClient(*["38", call("look")] * 5, '{"amount": 38}')
    result, warnings = await play(clerk(client))
    assert (result.value, warnings) == (Bill(38), [])


async def test_an_agent_that_only_says_it_hands_over_is_told_that_first() -> None:
    """The more useful of two notes; after that, what its output has to be."""
    client = ScriptedClient(
        {"a": ["I will transfer you to b.", "I will transfer you to b.", handoff_to("b")], "b": ["Hi."]}
    )
    builder = HandoffBuilder(
        participants=[Agent("a", client=client, output_type=Bill), Agent("b", client=client)],
        repair_announced_handoffs=True,
    )
    result, _ = await play(builder)
    told = [request.messages[-1].text for request in client.requests[1:3]]
    assert told[0].startswith("You said that you hand the conversation over to b")
    assert told[1].startswith("Your reply does not fit")
    assert (result.text.endswith("Hi."), result.value) == (True, None)
