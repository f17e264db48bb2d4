"""OpenAI Responses: https://platform.openai.com/docs/api-reference/responses/create."""

from collections.abc import Iterator, Sequence
from typing import Any

from relayline.agent import ChatRequest
from relayline.messages import Media, Message
from relayline.testing.providers.openai_chat import check_parameters
from relayline.testing.providers.rendering import address, schema, shown
from relayline.testing.providers.rules import (
    LONG_NAME,
    Body,
    check_json,
    check_name,
    check_unique,
    items,
    several,
    where,
)

ROLES = ("user", "assistant", "system", "developer")
LONGEST_ID = 64

# How an item's own id begins, if it is sent at all: https://github.com/openai/openai-cs-agents-demo/issues/34 and
# https://github.com/UKGovernmentBEIS/inspect_ai/pull/1545
PREFIX = {"function_call": "fc", "message": "msg"}


def render_openai_responses(request: ChatRequest) -> dict[str, Any]:
    """The body of a request that keeps nothing at the server, without the model's name and settings."""
    body: dict[str, Any] = {"input": [item for message in request.messages for item in _items(message)], "store": False}
    if request.instructions:
        body["instructions"] = request.instructions
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": schema(tool),
                "strict": False,
            }
            for tool in request.tools
        ]
    return body


def _items(message: Message) -> Iterator[dict[str, Any]]:
    if message.media:
        yield {"type": "message", "role": message.role, "content": [_content(each) for each in shown(message)]}
    elif message.text:
        kind = "output_text" if message.role == "assistant" else "input_text"
        content = [{"type": kind, "text": message.text}]
        yield {"type": "message", "role": message.role, "content": content}
    for call in message.tool_calls:
        yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
    for result in message.tool_results:
        yield {"type": "function_call_output", "call_id": result.call_id, "output": result.content}


def _content(part: str | Media) -> dict[str, Any]:
    """Audio is Chat Completions' alone; rendered as there, it is refused."""
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    match part.sort:
        case "image":
            return {"type": "input_image", "image_url": address(part), "detail": "auto"}
        case "audio":
            return {"type": "input_audio", "input_audio": {"data": part.data}}
        case _ if part.url:
            return {"type": "input_file", "file_url": part.url}
        case _:
            return {"type": "input_file", "filename": part.name or "file", "file_data": address(part)}


def check_openai_responses(body: Body) -> None:
    """Refuse what Responses refuses.

    Raises:
        AssertionError: with one sentence that names the item and the rule.
    """
    check_json(body)
    if not (isinstance(body.get("input"), str) and body["input"]):
        entries = items(body, "input")
        for number, entry in enumerate(entries):
            _check_item(entry, where("input", number, _kind(entry)))
        _check_pairs(entries, alone=not (body.get("previous_response_id") or body.get("conversation")))
        # "Duplicate item found with id ...": https://github.com/vercel/ai/issues/13307
        check_unique([entry["id"] for entry in entries if entry.get("id")], "item ids")
    for number, tool in enumerate(several(body.get("tools"))):
        if tool.get("type") == "function":
            place = where("tools", number, "function")
            # At the top, not under "function" as in Chat Completions: "Missing required parameter: 'tools[0].name'"
            check_name(tool.get("name"), LONG_NAME, place)
            check_parameters(tool, place)


def _kind(entry: Body) -> str:
    return str(entry.get("type") or "message")


def _check_item(entry: Body, place: str) -> None:
    kind = _kind(entry)
    if kind == "message":
        _check_message(entry, place)
    if kind in ("function_call", "function_call_output"):
        key = entry.get("call_id")
        # "Expected a string with maximum length 64": https://github.com/AnswerDotAI/fastllm/issues/45
        fits = isinstance(key, str) and 1 <= len(key) <= LONGEST_ID
        assert fits, f"{place}: call_id {key!r} is not a string of 1 to {LONGEST_ID} characters"
    if kind == "function_call":
        check_name(entry.get("name"), LONG_NAME, place)
        assert isinstance(entry.get("arguments"), str), f"{place}: arguments are JSON text on this wire"
    if kind == "function_call_output":
        assert entry.get("output") is not None, f"{place} has no output"
    key = entry.get("id")
    fits = kind not in PREFIX or key is None or str(key).startswith(PREFIX[kind])
    assert fits, f"{place}: id {key!r} has to begin with {PREFIX[kind]!r}; leave it out"


def _check_message(entry: Body, place: str) -> None:
    role, content = entry.get("role"), entry.get("content")
    assert role in ROLES, f"{place}: the role has to be one of {', '.join(ROLES)}"
    assert content is not None, f"{place} has no content"
    for part in several(content):
        # "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.", and the other way round
        spoken = part.get("type") in ("output_text", "refusal")
        assert spoken == (role == "assistant"), f"{place}: {part.get('type')!r} is no content of role {role!r}"
        if not spoken:
            _check_input(part, place)


def _check_input(part: Body, place: str) -> None:
    """https://platform.openai.com/docs/guides/images-vision and https://platform.openai.com/docs/guides/pdf-files."""
    kind = part.get("type")
    taken = ("input_text", "input_image", "input_file")
    assert kind in taken, f"{place}: invalid value {kind!r}; supported values are {', '.join(taken)}"
    if kind == "input_image":
        url = part.get("image_url")
        fits = part.get("file_id") or str(url).startswith(("http://", "https://", "data:image/"))
        assert fits, f"{place}: the image_url is neither an address nor the data of an image: {url!r:.60}"
    if kind == "input_file":
        there = [key for key in ("file_data", "file_url", "file_id") if part.get(key)]
        assert len(there) == 1, f"{place}: an input_file has one of file_data, file_url and file_id; got {there}"


def _check_pairs(entries: Sequence[Body], *, alone: bool) -> None:
    """Calls and outputs belong together, in whatever order; ``alone``: no earlier response may hold the other half.

    "No tool output found for function call": https://github.com/bytedance/trae-agent/issues/245. "No tool call found
    for function call output": https://github.com/continuedev/continue/issues/10092.
    """
    calls = {entry["call_id"]: number for number, entry in enumerate(entries) if _kind(entry) == "function_call"}
    outputs = {entry["call_id"]: n for n, entry in enumerate(entries) if _kind(entry) == "function_call_output"}
    for key, number in calls.items():
        assert key in outputs, f"{where('input', number, 'function_call')}: no tool output found for {key!r}"
    for key, number in outputs.items():
        found = key in calls or not alone
        assert found, f"{where('input', number, 'function_call_output')}: no tool call found for {key!r}"
