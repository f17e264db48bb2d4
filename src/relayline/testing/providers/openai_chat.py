"""OpenAI Chat Completions: https://platform.openai.com/docs/api-reference/chat/create.

Also the shape that Mistral and DeepSeek started from.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from relayline.agent import ChatRequest
from relayline.messages import Media, Message
from relayline.testing.providers.rendering import address, schema, shown
from relayline.testing.providers.rules import (
    NAME,
    Body,
    check_json,
    check_name,
    check_schema,
    items,
    part,
    several,
    where,
)

ROLES = ("developer", "system", "user", "assistant", "tool", "function")
SPEAKER = re.compile(r"[^\s<|\\/>]+")
LONGEST_ID = 40
MOST_TOOLS = 128
TOP_LEVEL = ("oneOf", "anyOf", "allOf", "enum", "not")


def render_openai_chat(request: ChatRequest) -> dict[str, Any]:
    """The body of a request, without the model's name and settings."""
    return {"messages": list(chat_messages(request)), **chat_tools(request)}


def chat_content(part: str | Media) -> dict[str, Any]:
    """Audio and files by value; there is no field for the address of one."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    match part.sort:
        case "image":
            return {"type": "image_url", "image_url": {"url": address(part)}}
        case "audio":
            kind = {"audio/mpeg": "mp3"}.get(part.media_type, part.media_type.rpartition("/")[2])
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": kind}}
        case _:
            data = {"file_data": address(part)} if part.data else {}
            return {"type": "file", "file": {"filename": part.name or "file", **data}}


def chat_messages(
    request: ChatRequest, content_of: Callable[[str | Media], dict[str, Any]] = chat_content
) -> Iterator[dict[str, Any]]:
    """The instructions, then the conversation: a tool's message becomes one for each of its results.

    ``content_of``: what becomes of words and media where there are both.
    """
    if request.instructions:
        yield {"role": "system", "content": request.instructions}
    for message in request.messages:
        if message.role == "tool":
            for result in message.tool_results:
                yield {"role": "tool", "tool_call_id": result.call_id, "content": result.content}
        else:
            content = [content_of(each) for each in shown(message)] if message.media else message.text
            yield {"role": message.role, "content": content, **_tool_calls(message)}


def _tool_calls(message: Message) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return {"tool_calls": calls} if calls else {}


def chat_tools(request: ChatRequest) -> dict[str, Any]:
    """The tools; no key at all where there are none."""
    functions = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": schema(tool)},
        }
        for tool in request.tools
    ]
    return {"tools": functions} if functions else {}


def check_openai_chat(body: Body) -> None:
    """Refuse what Chat Completions refuses.

    Raises:
        AssertionError: with one sentence that names the message and the rule.
    """
    check_json(body)
    messages = items(body, "messages")
    for number, message in enumerate(messages):
        place = where("messages", number, message.get("role"))
        check_chat_message(message, place, ROLES)
        for call in several(message.get("tool_calls")):
            # "string too long. Expected a string with maximum length 40": https://github.com/vercel/ai/issues/5171
            assert len(call["id"]) <= LONGEST_ID, f"{place}: tool call id {call['id']!r} is longer than {LONGEST_ID}"
        # "string does not match pattern '^[^\s<|\\/>]+$'", for whoever sends the names of agents or users
        name: str | None = message.get("name")
        assert name is None or SPEAKER.fullmatch(name), f"{place}: name {name!r} does not match {SPEAKER.pattern}"
    check_answers(messages)
    check_functions(body)


def check_chat_message(message: Body, place: str, roles: Sequence[str]) -> None:
    """The rules for one message alone."""
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    assert role in roles, f"{place}: the role has to be one of {', '.join(roles)}"
    # Required unless tool_calls is specified (API reference); "expected a string, got null":
    # https://github.com/run-llama/llama_index/issues/17555
    needed = role != "assistant" or calls is None
    assert content is not None or not needed, f"{place} has no content, and no tool_calls instead"
    # "empty array. Expected an array with minimum length 1"
    assert content != [], f"{place}: content is an empty list"
    assert calls != [], f"{place}: tool_calls is an empty list; leave it out"
    assert not calls or role == "assistant", f"{place}: only an assistant has tool_calls"
    for call in several(calls):
        check_chat_call(call, place)
    for each in several(content):
        _check_part(each, role, place)


def _check_part(given: Body, role: object, place: str) -> None:
    """One part of a content, as the API reference lists them.

    "Image URLs are only allowed for messages with role 'user'": https://github.com/openai/openai-node/issues/1030
    """
    kind = given.get("type")
    assert role == "user" or kind in ("text", "refusal"), f"{place}: a {kind} is no content of role {role!r}"
    match kind:
        case "text" | "refusal":
            pass
        case "image_url":
            url = part(given, "image_url").get("url")
            fits = isinstance(url, str) and url.startswith(("http://", "https://", "data:image/"))
            assert fits, f"{place}: the image_url is neither an address nor the data of an image: {url!r:.60}"
        case "input_audio":
            audio = part(given, "input_audio")
            assert audio.get("data"), f"{place}: input_audio has no data; an address is not taken"
            kind = audio.get("format")
            assert kind in ("wav", "mp3"), f"{place}: the format of input_audio has to be wav or mp3, not {kind!r}"
        case "file":
            file = part(given, "file")
            assert file.get("file_data") or file.get("file_id"), f"{place}: a file has no file_data and no file_id"
        case _:
            raise AssertionError(f"{place}: there is no content of type {kind!r}")


def check_chat_call(call: Body, place: str) -> None:
    """The rules for one call: an id, a name, and the arguments as text (API reference)."""
    if call.get("type", "function") != "function":
        return
    function = part(call, "function")
    assert call.get("id"), f"{place}: a tool call has no id"
    check_name(function.get("name"), NAME, place)
    arguments = function.get("arguments")
    assert isinstance(arguments, str), f"{place}: arguments are JSON text on this wire, not {arguments!r:.60}"


def check_answers(messages: Sequence[Body]) -> None:
    """Every call has one result, directly after the calls, and no result answers anything else.

    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'":
    https://github.com/langchain-ai/open_deep_research/issues/164. "Duplicate value for 'tool_call_id'":
    https://github.com/agno-agi/agno/issues/5116.
    """
    asking, asked, left = "", list[str](), list[str]()
    for number, message in enumerate(messages):
        place = where("messages", number, message.get("role"))
        if message.get("role") == "tool":
            key = str(message.get("tool_call_id"))
            assert asked, f"{place} is no response to a preceding message with tool_calls"
            assert key in asked, f"{place} answers {key!r}, which {asking} does not call"
            assert key in left, f"{place} answers {key!r} a second time"
            left.remove(key)
            continue
        _check_answered(left, asking)
        asking = place
        asked = [str(call.get("id")) for call in several(message.get("tool_calls"))]
        left = list(asked)
    _check_answered(left, asking)


def _check_answered(left: Sequence[str], asking: str) -> None:
    assert not left, f"{asking} is not followed by tool messages for {', '.join(map(repr, left))}"


def check_functions(body: Body) -> None:
    """The rules for tools.

    The schema: https://github.com/langchain-ai/langchainjs/issues/9804 (what may not be at its top) and
    https://github.com/spring-projects/spring-ai/issues/4776 ("object schema missing properties"). Names and "a max of
    128 functions": API reference.
    """
    tools = body.get("tools")
    assert tools != [], "tools is an empty list; leave it out"
    assert len(several(tools)) <= MOST_TOOLS, f"there are {len(several(tools))} tools, and at most {MOST_TOOLS} may be"
    for number, tool in enumerate(several(tools)):
        if tool.get("type") == "function":
            function = part(tool, "function")
            place = where("tools", number, function.get("name"))
            check_name(function.get("name"), NAME, place)
            check_parameters(function, place)


def check_parameters(function: Body, place: str) -> None:
    """OpenAI's rules for a function's schema, which may be left out."""
    if "parameters" in function:
        check_schema(function["parameters"], place, TOP_LEVEL)
        assert "properties" in function["parameters"], (
            f"{place}: the parameters' schema has no properties; {{}} will do"
        )
