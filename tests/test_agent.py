"""Agents and the one method of their clients."""

from relayline import Agent, ChatRequest, Message, ReplyInfo, Text, ToolCall
from relayline.messages import user
from relayline.testing import ScriptedClient


async def test_a_client_can_be_asked_without_a_team() -> None:
    """What it streams is one message: stretches of words whole, calls in their place, and what is known of it."""
    call = ToolCall("1", "look", "{}")
    client = ScriptedClient(["Let me ", "see.", call, ReplyInfo(metadata={"score": 1}), "One ", "moment."])
    message = await client.complete(ChatRequest(Agent("desk"), (user("where?"),)))
    assert message == Message("assistant", (Text("Let me see."), call, Text("One moment.")), "desk", {"score": 1})
