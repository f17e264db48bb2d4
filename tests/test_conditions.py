"""Termination conditions, alone and put together."""

import pytest

from relayline import Agent, HandoffBuilder, UsageError, WorkflowRunState
from relayline.conditions import max_messages, said_by, text_mentions
from relayline.messages import Message, Text, ToolResult, user
from relayline.testing import ScriptedClient

TALK = [
    user("Hi"),
    Message("assistant", (Text("Good Bye"),), "a"),
    Message("tool", (ToolResult("1", "x", "goodbye"),), "a"),
]


def test_messages_are_counted_without_tools_results() -> None:
    """Users' and agents' messages count."""
    assert max_messages(2)(TALK)
    assert not max_messages(3)(TALK)


def test_words_are_found_in_the_last_message_whatever_their_case() -> None:
    """Earlier mentions do not end a conversation that went on."""
    assert text_mentions("good bye")(TALK[:2])
    assert not text_mentions("hi")(TALK[:2])


def test_conditions_are_put_together() -> None:
    """By and, or and not, as often as one likes."""
    polite = text_mentions("bye") & said_by("a")
    assert polite(TALK[:2])
    assert not polite(TALK[:1])
    assert (polite | max_messages(1))(TALK[:1])
    assert (~polite)(TALK[:1])


async def test_one_of_them_ends_a_conversation() -> None:
    """As any function of the transcript does."""
    builder = HandoffBuilder(participants=[Agent("a", client=ScriptedClient("Well?", "Bye!")), Agent("b")])
    workflow = builder.with_termination_condition(max_messages(9) | text_mentions("bye") & said_by("a")).build()
    workflow = workflow.with_client(ScriptedClient())  # b is never asked
    assert (await workflow.run("bye", session_id="s")).state == WorkflowRunState.IDLE_WITH_PENDING_REQUESTS
    assert (await workflow.run("oh", session_id="s")).state == WorkflowRunState.IDLE


def test_what_can_never_be_meant_is_refused() -> None:
    """When it is written, not when it is asked."""
    with pytest.raises(UsageError, match="1 or more; got 0"):
        max_messages(0)
    with pytest.raises(UsageError, match="it is empty"):
        text_mentions("")


async def test_a_preview_is_what_the_model_would_be_sent() -> None:
    """For any agent, at any time, without asking a model or changing the session."""
    client = ScriptedClient("Hello.", "Again.")
    agents = [Agent("a", "Be kind.", client=client), Agent("b", client=client)]
    workflow = HandoffBuilder(participants=agents).build()
    await workflow.run("hi", session_id="s")
    shown = await workflow.preview("s", "b")
    assert [message.text for message in shown.messages] == ["hi", "[a] Hello."]
    assert [spec.name for spec in shown.tools] == ["handoff_to_a"]
    await workflow.run("more", session_id="s", to="b")
    assert client.requests[-1].messages[:2] == shown.messages
    with pytest.raises(UsageError, match="no agent 'c'"):
        await workflow.preview("s", "c")
