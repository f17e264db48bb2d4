"""Gemini generateContent: https://ai.google.dev/api/generate-content, and the same wire at Vertex AI.

It does not insist that users and models alternate (https://github.com/google/adk-go/pull/1302), only on what stands
around function calls. Field names may be in camelCase or in snake_case, as everywhere in Google's JSON.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, cast

from relayline.agent import ChatRequest
from relayline.messages import Media, Message
from relayline.testing.providers.rendering import arguments_object, schema, shown
from relayline.testing.providers.rules import (
    Body,
    check_json,
    check_name,
    check_schema,
    check_unique,
    items,
    several,
    where,
)

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")

# What the field parameters does not know, unlike parametersJsonSchema. "Unknown name ... Cannot find field":
# https://github.com/nanbingxyz/5ire/issues/42, https://github.com/mpfaffenberger/code_puppy/pull/923 and
# https://github.com/datastax/astra-assistants-api/issues/73
UNKNOWN = {"additionalProperties", "propertyNames", "$defs", "$ref", "$schema"}


# --- Rendering


def render_gemini(request: ChatRequest) -> dict[str, Any]:
    """The body of a request, without the settings; the model's name is in the address."""
    body: dict[str, Any] = {"contents": _merged(request.messages)}
    if request.instructions:
        body["systemInstruction"] = {"parts": [{"text": request.instructions}]}
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": schema(tool)}
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
    return body


def _merged(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """One content for each run of one role; results keep a content of their own.

    Words beside results have been refused: https://github.com/anomalyco/opencode/pull/43479.
    """
    merged: list[dict[str, Any]] = []
    before = ""
    for message in messages:
        if message.role == before != "tool":
            merged[-1]["parts"].extend(_parts(message))
        else:
            role = "model" if message.role == "assistant" else "user"
            merged.append({"role": role, "parts": list(_parts(message))})
        before = message.role
    return merged


def _parts(message: Message) -> Iterator[dict[str, Any]]:
    if message.media:
        yield from map(_shown, shown(message))
    elif message.text:
        yield {"text": message.text}
    for call in message.tool_calls:
        yield {"functionCall": {"name": call.name, "args": arguments_object(call)}}
    for result in message.tool_results:
        key = "output" if result.outcome in ("done", "transferred") else "error"
        yield {"functionResponse": {"name": result.name, "response": {key: result.content}}}


def _shown(part: str | Media) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if part.url:
        return {"fileData": {"mimeType": part.media_type, "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


# --- Judging


def check_gemini(body: Body) -> None:
    """Refuse what generateContent refuses.

    Raises:
        AssertionError: with one sentence that names the content and the rule.
    """
    check_json(body)
    contents = items(body, "contents")
    for number, content in enumerate(contents):
        _check_content(content, where("contents", number, content.get("role")))
    _check_calls(contents)
    last = contents[-1]
    # https://github.com/crewAIInc/crewAI/pull/6973 and https://github.com/songquanpeng/one-api/issues/836
    ends = f"{where('contents', len(contents) - 1, last.get('role'))} is the last"
    assert last.get("role") != "model", f"{ends}; requests end with a user role or a function response"
    _check_declarations(body)


@cache
def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)


def _field(part: Body, name: str) -> Any:
    return part[name] if name in part else part.get(_snake(name))


def _all(content: Body, name: str) -> list[Body]:
    found = [_field(part, name) for part in several(content.get("parts"))]
    return [each for each in found if each is not None]


def _check_content(content: Body, place: str) -> None:
    # "Please use a valid role: user, model.": https://github.com/songquanpeng/one-api/issues/1385
    assert content.get("role") in (None, "user", "model"), f"{place}: the role has to be user or model"
    # "contents.parts must not be empty": https://github.com/vercel/ai/issues/3775
    parts = several(content.get("parts"))
    assert parts, f"{place}: parts is empty"
    for each in parts:
        # "required oneof field 'data' must have one initialized field":
        # https://github.com/router-for-me/CLIProxyAPI/issues/1292. At Vertex AI: "it has an empty text parameter"
        data = [key for key in each if key not in ("thought", "thoughtSignature", "thought_signature")]
        assert data not in ([], ["text"]) or each.get("text"), f"{place}: a part holds no data"
    # https://ai.google.dev/api/caching#Blob and https://ai.google.dev/api/caching#FileData
    for name, value in (("inlineData", "data"), ("fileData", "fileUri")):
        for each in _all(content, name):
            assert _field(each, value), f"{place}: {name} has no {value}"
            assert _field(each, "mimeType"), f"{place}: {name} has no mimeType"
    for name, value in (("functionCall", "args"), ("functionResponse", "response")):
        for each in _all(content, name):
            # "function_response.name: Name cannot be empty"
            assert each.get("name"), f"{place}: a {name} has no name"
            # Both are a google.protobuf.Struct: https://ai.google.dev/api/caching#FunctionCall
            given: object = each.get(value, {})
            assert isinstance(given, Mapping), f"{place}: {value} of {each['name']!r} is no object: {given!r:.60}"


def _check_calls(contents: Sequence[Body]) -> None:
    """Where a turn of function calls may stand, and that the next one answers it.

    "Please ensure that function call turn comes immediately after a user turn or after a function response turn":
    https://github.com/google-gemini/gemini-cli/issues/11814. "... function response turn comes immediately after a
    function call turn": https://github.com/GoogleCloudPlatform/generative-ai/pull/368. "... the number of function
    response parts is equal to the number of function call parts": https://github.com/google-gemini/gemini-cli/issues/4217.
    """
    for number, content in enumerate(contents):
        place = where("contents", number, content.get("role"))
        before: Body = contents[number - 1] if number else {}
        calls, responses = _all(content, "functionCall"), _all(content, "functionResponse")
        asked = _all(before, "functionCall")
        late = not number or before.get("role") == "model"
        assert not calls or not late, f"{place} calls functions, but not immediately after a user or function response"
        assert asked or not responses, f"{place} answers functions, but not immediately after a function call turn"
        same = len(asked) == len(responses)
        assert same, f"{place} holds {len(responses)} function responses after {len(asked)} function calls"
    unanswered = bool(_all(contents[-1], "functionCall"))
    assert not unanswered, f"{where('contents', len(contents) - 1, 'model')}: no function response turn follows it"


def _check_declarations(body: Body) -> None:
    declared = [each for tool in several(body.get("tools")) for each in several(_field(tool, "functionDeclarations"))]
    for number, function in enumerate(declared):
        place = where("functionDeclarations", number, function.get("name"))
        # https://github.com/kaitranntt/ccs/issues/25
        check_name(function.get("name"), NAME, place)
        # "function parameters schema should be of type OBJECT": https://github.com/spring-projects/spring-ai/issues/1373
        for key in ("parameters", "parametersJsonSchema"):
            if _field(function, key) is not None:
                check_schema(_field(function, key), place, ())
        unknown = sorted(_keywords(function.get("parameters")) & UNKNOWN)
        assert not unknown, f"{place}: unknown name {', '.join(unknown)} in parameters; parametersJsonSchema takes it"
    # "Duplicate function declaration found", seen at both services
    check_unique([function["name"] for function in declared], "function declarations")


def _keywords(given: object) -> set[str]:
    """The keywords of a schema and of those in it; the names of properties are not among them."""
    if isinstance(given, list):
        return {key for each in cast("list[object]", given) for key in _keywords(each)}
    if not isinstance(given, Mapping):
        return set()
    found = cast("Mapping[str, Any]", given)
    inner = [*found.get("properties", {}).values(), found.get("items"), found.get("anyOf")]
    return {*found, *(key for each in inner for key in _keywords(each))}
