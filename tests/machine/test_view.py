"""The conversation as one agent sees it."""

from relayline.events import HandoffSent
from relayline.machine.names import Spoken
from relayline.machine.view import view
from relayline.messages import Message, Text, ToolCall, ToolResult, user

SPOKEN: list[Spoken] = [
    user("Where is my parcel?"),
    Message("assistant", (Text("Let me see."), ToolCall("1", "handoff_to_orders")), "triage"),
    Message("tool", (ToolResult("1", "handoff_to_orders", "Transferred to orders.", "transferred"),), "triage"),
    HandoffSent(1, "triage", "orders", "late parcel"),
    Message("assistant", (ToolCall("2", "find"),), "orders"),
    Message("tool", (ToolResult("2", "find", "at the depot"),), "orders"),
    Message("assistant", (Text("At the depot."),), "orders"),
    user("Thanks!", "Kim"),
]


def lines(agent: str) -> list[str]:
    return [f"{m.role} {m.author_name}: {m.text or m.parts[0].kind}" for m in view(SPOKEN, agent)]


def test_the_receiver_sees_the_users_words_the_colleagues_and_why_it_has_the_conversation() -> None:
    """Another agent's words are quoted in the user's role; its calls and results are left out."""
    assert lines("orders") == [
        "user : Where is my parcel?",
        "user triage: [triage] Let me see.",
        "user triage: [triage] handed the conversation over to you. Reason: late parcel",
        "assistant orders: tool_call",
        "tool orders: tool_result",
        "assistant orders: At the depot.",
        "user Kim: Thanks!",
    ]


def test_the_sender_sees_its_own_traffic_and_what_was_said_since() -> None:
    """Its call and the result of it stand as they were; a handoff to somebody else is no news to it."""
    assert lines("triage") == [
        "user : Where is my parcel?",
        "assistant triage: Let me see.",
        "tool triage: tool_result",
        "user orders: [orders] At the depot.",
        "user Kim: Thanks!",
    ]


def test_somebody_who_was_never_asked_sees_only_words() -> None:
    """A third agent is shown the whole talk and none of the machinery."""
    assert lines("fraud") == [
        "user : Where is my parcel?",
        "user triage: [triage] Let me see.",
        "user orders: [orders] At the depot.",
        "user Kim: Thanks!",
    ]


def test_a_reply_without_words_or_calls_is_shown_to_nobody() -> None:
    """Not even to the one who gave it: no provider takes an empty message."""
    assert list(view([Message("assistant", (Text(" "),), "a")], "a")) == []
