"""Mistral chat: https://docs.mistral.ai/api/endpoint/chat.

The order of roles and the pairing follow Mistral's own validator, in its strictest version:
https://github.com/mistralai/mistral-common/blob/main/src/mistral_common/protocol/instruct/validator.py
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from relayline.agent import ChatRequest
from relayline.messages import Media
from relayline.testing.providers.openai_chat import chat_messages, chat_tools
from relayline.testing.providers.rendering import address
from relayline.testing.providers.rules import (
    NAME,
    Body,
    check_json,
    check_name,
    check_schema,
    check_unique,
    items,
    part,
    several,
    where,
)

ID = re.compile(r"[a-zA-Z0-9]{9}")

# What may be in a message; "Extra inputs are not permitted": https://github.com/OpenMinis/OpenMinis/issues/87
FIELDS = {
    "system": {"role", "content"},
    "user": {"role", "content"},
    "assistant": {"role", "content", "tool_calls", "prefix"},
    "tool": {"role", "content", "tool_call_id", "name"},
}

CONTENTS = ("text", "thinking", "image_url", "document_url", "input_audio", "reference_ids")

NEXT = {
    "system": ("user", "assistant", "system"),
    "user": ("assistant", "system", "user"),
    "assistant": ("assistant", "user", "tool"),
    "tool": ("assistant", "tool"),
}


def render_mistral(request: ChatRequest) -> dict[str, Any]:
    """The body of a request, without the model's name and settings.

    Where a user's words follow results, as they do after a handoff, the agent is made to say "OK." in between: the
    usual way, as Mistral knows no other (https://github.com/pydantic/pydantic-ai/issues/1210).
    """
    return {"messages": list(_bridged(map(_with_short_ids, chat_messages(request, _content)))), **chat_tools(request)}


def _content(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    match part.sort:
        case "image":
            return {"type": "image_url", "image_url": address(part)}
        case "audio":
            return {"type": "input_audio", "input_audio": part.url or part.data}
        case _:
            return {"type": "document_url", "document_url": address(part)}


def _bridged(messages: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    before = ""
    for message in messages:
        if (before, message["role"]) == ("tool", "user"):
            yield {"role": "assistant", "content": "OK."}
        yield message
        before = message["role"]


def _with_short_ids(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_call_id" in message:
        return {**message, "tool_call_id": short_id(message["tool_call_id"])}
    if "tool_calls" in message:
        return {**message, "tool_calls": [{**call, "id": short_id(call["id"])} for call in message["tool_calls"]]}
    return message


def short_id(key: str) -> str:
    """Nine letters and digits, the same for the same id wherever it is sent."""
    return hashlib.sha256(key.encode()).hexdigest()[:9]


def check_mistral(body: Body) -> None:
    """Refuse what Mistral refuses.

    Raises:
        AssertionError: with one sentence that names the message and the rule.
    """
    check_json(body)
    messages = items(body, "messages")
    for number, message in enumerate(messages):
        _check_message(message, where("messages", number, message.get("role")))
    _check_order(messages)
    _check_answers(messages)
    for number, tool in enumerate(several(body.get("tools"))):
        place = where("tools", number, tool.get("type"))
        function = part(tool, "function")
        check_name(function.get("name"), NAME, place)
        check_schema(function.get("parameters"), place, ())


def _check_message(message: Body, place: str) -> None:
    role = str(message.get("role"))
    assert role in FIELDS, f"{place}: the role has to be one of {', '.join(FIELDS)}"
    extra = [key for key in message if key not in FIELDS[role]]
    assert not extra, f"{place} must not have {', '.join(extra)}"
    calls = several(message.get("tool_calls"))
    # https://docs.mistral.ai/api: the union of content chunks
    strange = [each.get("type") for each in several(message.get("content")) if not _is_content(each, role)]
    assert not strange, f"{place}: {strange[0]!r} is no content of role {role!r}, or holds nothing"
    says = message.get("content") or calls
    # "Assistant message must have either content or tool_calls, but not none."
    assert role != "assistant" or says, f"{place} has neither content nor tool_calls"
    for call in calls:
        _check_id(call.get("id"), place)
        check_name(part(call, "function").get("name"), NAME, place)
    if role == "tool":
        _check_id(message.get("tool_call_id"), place)
        if message.get("name") is not None:
            check_name(message["name"], NAME, place)


def _is_content(given: Body, role: str) -> bool:
    kind = str(given.get("type"))
    return kind in CONTENTS and (role == "user" or kind in ("text", "thinking")) and bool(given.get(kind))


def _check_id(key: object, place: str) -> None:
    fits = isinstance(key, str) and ID.fullmatch(key)
    assert fits, f"{place}: tool call id {key!r} is not nine of a-z, A-Z, 0-9"


def _check_order(messages: Sequence[Body]) -> None:
    roles = [message["role"] for message in messages]
    for number, (before, role) in enumerate(pairwise(roles), 1):
        assert role in NEXT[before], f"{where('messages', number, role)} must not follow a message of {before!r}"
    last = messages[-1]
    ends = last["role"] in ("user", "tool", "system") or last.get("prefix")
    assert ends, f"{where('messages', len(messages) - 1, last['role'])} is the last, and is no prefix"


def _check_answers(messages: Sequence[Body]) -> None:
    asked, answered = list[str](), list[str]()
    for number, message in enumerate(messages):
        place = where("messages", number, message["role"])
        if message["role"] == "tool":
            key = message["tool_call_id"]
            assert key in asked, f"{place} answers {key!r}, which the last assistant message does not call"
            assert key not in answered, f"{place} answers {key!r} a second time"
            answered.append(key)
        elif message["role"] == "assistant":
            assert len(asked) == len(answered), f"{place} comes before all calls are answered"
            asked, answered = [call["id"] for call in several(message.get("tool_calls"))], []
            check_unique(asked, f"{place}: tool call ids")
    assert len(asked) == len(answered), "not the same number of function calls and responses at the end of messages"
