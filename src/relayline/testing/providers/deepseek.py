"""DeepSeek chat: https://api-docs.deepseek.com/api/create-chat-completion. Like OpenAI's, and stricter."""

from typing import Any

from relayline.agent import ChatRequest
from relayline.testing.providers.openai_chat import (
    check_answers,
    check_chat_message,
    check_functions,
    render_openai_chat,
)
from relayline.testing.providers.rules import Body, check_json, check_unique, items, part, several, where

ROLES = ("system", "user", "assistant", "tool")  # "unknown variant `developer`, expected one of ..."


def render_deepseek(request: ChatRequest) -> dict[str, Any]:
    """The body of a request, without the model's name and settings.

    Thinking is switched off: it is on by default, and then calls have to be sent back with the thoughts before them,
    which a conversation of ours does not hold.
    """
    return {**render_openai_chat(request), "thinking": {"type": "disabled"}}


def check_deepseek(body: Body) -> None:
    """Refuse what DeepSeek refuses.

    Raises:
        AssertionError: with one sentence that names the message and the rule.
    """
    check_json(body)
    messages = items(body, "messages")
    thinks = part(body, "thinking").get("type") != "disabled"
    for number, message in enumerate(messages):
        place = where("messages", number, message.get("role"))
        # "unknown variant `image_url`, expected `text`": https://github.com/esengine/DeepSeek-Reasonix/issues/7859
        strange = [each.get("type") for each in several(message.get("content")) if each.get("type") != "text"]
        assert not strange, f"{place}: unknown variant {strange[0]!r}, expected 'text'; it reads nothing else"
        check_chat_message(message, place, ROLES)
        # "must be passed back to the API": https://api-docs.deepseek.com/guides/thinking_mode
        forgot = thinks and message.get("tool_calls") and message.get("reasoning_content") is None
        assert not forgot, f"{place} has calls but no reasoning_content, and thinking is not disabled"
    check_answers(messages)
    # In the whole conversation: https://github.com/craft-ai-agents/craft-agents-oss/issues/630
    check_unique([call["id"] for message in messages for call in several(message.get("tool_calls"))], "tool call ids")
    check_functions(body)
    # "Tool names must be unique": https://github.com/decolua/9router/pull/3333
    check_unique([tool["function"]["name"] for tool in several(body.get("tools"))], "tool names")
