"""What six providers refuse: for each rule the smallest body that breaks it, and bodies that they take."""

import ast
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.messages import Media, Message, Outcome, Text, ToolCall, ToolResult, user
from relayline.testing import PROVIDERS, check_everywhere, check_request, providers
from relayline.testing.providers.mistral import short_id

Json = dict[str, Any]

SOURCE = Path(providers.__file__).parent
HALF = "\ud800"
HI: Json = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64,AA=="
OBJECT: Json = {"type": "object", "properties": {}}
UNION: Json = {**OBJECT, "anyOf": []}


def body(*messages: Json, **rest: Any) -> Json:
    return {"messages": list(messages), **rest}


# --- OpenAI Chat Completions, Mistral and DeepSeek


def call(key: Any = "abcdefghi", name: Any = "look", arguments: Any = "{}") -> Json:
    return {"id": key, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(*calls: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": "", "tool_calls": list(calls), **more}


def answer(key: Any = "abcdefghi", **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": key, "content": "ok", **more}


def function(name: Any = "look", **more: Any) -> Json:
    return {"type": "function", "function": {"name": name, "parameters": OBJECT, **more}}


CHAT: dict[str, tuple[str, Json]] = {
    "no messages": (r"messages is empty", body()),
    "an unknown role": (r"messages\[0\] \(bot\): the role has to be", body({"role": "bot", "content": "hi"})),
    "no content": (r"messages\[1\] \(assistant\) has no content", body(HI, {"role": "assistant", "content": None})),
    "no content of the user": (r"has no content", body({"role": "user", "content": None})),
    "content without parts": (r"content is an empty list", body({"role": "user", "content": []})),
    "calls without one": (r"tool_calls is an empty list", body(HI, asks(), HI)),
    "calls of the user": (r"only an assistant has tool_calls", body({**HI, "tool_calls": [call()]}, answer())),
    "a call without an id": (r"a tool call has no id", body(HI, asks(call("")), answer(""))),
    "an impossible name": (r"function name 'look up' does not match", body(HI, asks(call(name="look up")), answer())),
    "a long name": (r"does not match", body(HI, asks(call(name="x" * 65)), answer())),
    "arguments as an object": (r"arguments are JSON text", body(HI, asks(call(arguments={})), answer())),
    "an orphan result": (r"messages\[1\] \(tool\) is no response", body(HI, answer())),
    "results again": (r"messages\[4\] \(tool\) is no response", body(HI, asks(call()), answer(), HI, answer())),
    "a foreign result": (r"answers 'x', which messages\[1\]", body(HI, asks(call()), answer("x"))),
    "a second result": (r"'abcdefghi' a second time", body(HI, asks(call()), answer(), answer())),
    "no result": (r"messages\[1\] \(assistant\) is not followed by tool messages for 'b'", body(HI, asks(call("a"), call("b")), answer("a"), HI)),
    "no result at the end": (r"is not followed by tool messages", body(HI, asks(call()))),
    "a message in between": (r"is not followed by tool messages", body(HI, asks(call()), HI, answer())),
    "no tools in tools": (r"tools is an empty list", body(HI, tools=[])),
    "too many tools": (r"129 tools, and at most 128", body(HI, tools=[function(f"t{n}") for n in range(129)])),
    "an impossible tool": (r"tools\[0\] \(a.b\): function name 'a.b'", body(HI, tools=[function("a.b")])),
    "a tool without a name": (r"function name None", body(HI, tools=[{"type": "function"}])),
    "parameters that are no schema": (r"no JSON Schema but \[\]", body(HI, tools=[function(parameters=[])])),
    "parameters of no object": (r"of type 'object', not 'string'", body(HI, tools=[function(parameters={"type": "string"})])),
    "a choice at the top": (r"must not have anyOf", body(HI, tools=[function(parameters=UNION)])),
    "an object without properties": (r"has no properties", body(HI, tools=[function(parameters={"type": "object"})])),
}  # fmt: skip

OPENAI_CHAT: dict[str, tuple[str, Json]] = {
    **CHAT,
    "a long id": (r"is longer than 40", body(HI, asks(call("x" * 41)), answer("x" * 41))),
    "a name with a space": (r"name 'Ann Lee' does not match", body({**HI, "name": "Ann Lee"})),
}


def shows(kind: str, given: Any, role: str = "user") -> Json:
    return {"role": role, "content": [{"type": kind, kind: given}]}


OPENAI_CHAT |= {
    "an image of the assistant": (r"an? image_url is no content of role 'assistant'", body(HI, shows("image_url", {"url": PNG}, "assistant"), HI)),
    "an image of nothing": (r"neither an address nor the data of an image: 'cat.png'", body(shows("image_url", {"url": "cat.png"}))),
    "a recording by its address": (r"input_audio has no data", body(shows("input_audio", {"url": "https://a.b/c.wav", "format": "wav"}))),
    "a recording of another kind": (r"has to be wav or mp3, not 'ogg'", body(shows("input_audio", {"data": "AA==", "format": "ogg"}))),
    "a file by its address": (r"a file has no file_data", body(shows("file", {"filename": "a.pdf"}))),
    "a part of no kind": (r"no content of type 'video'", body(shows("video", "x"))),
}  # fmt: skip

OFF: Json = {"thinking": {"type": "disabled"}}

DEEPSEEK: dict[str, tuple[str, Json]] = {
    **{name: (sentence, {**broken, **OFF}) for name, (sentence, broken) in CHAT.items()},
    "a developer": (r"the role has to be one of system", body({"role": "developer", "content": "hi"})),
    "an image": (r"messages\[0\] \(user\): unknown variant 'image_url', expected 'text'", body(shows("image_url", {"url": PNG}), **OFF)),
    "no thoughts": (r"no reasoning_content", body(HI, asks(call()), answer())),
    "one id in two replies": (r"tool call ids must be unique", body(HI, asks(call()), answer(), asks(call()), answer(), **OFF)),
    "two tools of one name": (r"tool names must be unique; used twice: 'look'", body(HI, tools=[function(), function()])),
}  # fmt: skip

MISTRAL: dict[str, tuple[str, Json]] = {
    "no messages": (r"messages is empty", body()),
    "an unknown role": (r"the role has to be one of", body({"role": "developer", "content": "hi"})),
    "a name of the user": (r"messages\[0\] \(user\) must not have name", body({**HI, "name": "Ann"})),
    "thoughts": (r"must not have reasoning_content", body(HI, asks(call(), reasoning_content=""), answer())),
    "nothing said": (r"neither content nor tool_calls", body(HI, {"role": "assistant", "content": ""}, HI)),
    "an id of another kind": (r"tool call id 't1-s1-c0' is not nine", body(HI, asks(call("t1-s1-c0")), answer())),
    "a result's id of another kind": (r"tool call id 'call_1234' is not", body(HI, asks(call()), answer("call_1234"))),
    "an impossible name": (r"function name 'look up'", body(HI, asks(call(name="look up")), answer())),
    "an impossible name of a result": (r"function name 'look up'", body(HI, asks(call()), answer(name="look up"))),
    "words right after results": (r"messages\[3\] \(user\) must not follow a message of 'tool'", body(HI, asks(call()), answer(), HI)),
    "results right after words": (r"\(tool\) must not follow a message of 'user'", body(HI, answer())),
    "system after results": (r"\(system\) must not follow", body(HI, asks(call()), answer(), {"role": "system", "content": "x"})),
    "system after the assistant": (r"\(system\) must not follow", body(HI, {"role": "assistant", "content": "x"}, {"role": "system", "content": "x"})),
    "the assistant last": (r"messages\[1\] \(assistant\) is the last, and is no prefix", body(HI, {"role": "assistant", "content": "Hi"})),
    "a foreign result": (r"answers '123456789', which the last", body(HI, asks(call()), answer("123456789"))),
    "a second result": (r"'abcdefghi' a second time", body(HI, asks(call()), answer(), answer())),
    "too few results": (r"comes before all calls are answered", body(HI, asks(call()), {"role": "assistant", "content": "x"}, HI)),
    "no results at the end": (r"not the same number", body(HI, asks(call(), call("123456789")), answer())),
    "one id twice": (r"tool call ids must be unique", body(HI, asks(call(), call()), answer())),
    "an image of the assistant": (r"'image_url' is no content of role 'assistant'", body(HI, shows("image_url", PNG, "assistant"), HI)),
    "an impossible tool": (r"function name 'a.b'", body(HI, tools=[function("a.b")])),
    "a tool without parameters": (r"no JSON Schema but None", body(HI, tools=[{"type": "function", "function": {"name": "x"}}])),
}  # fmt: skip


# --- OpenAI Responses


def entries(*given: Any, **rest: Any) -> Json:
    return {"input": list(given), **rest}


def calls(key: Any = "c1", name: Any = "look", arguments: Any = "{}", **more: Any) -> Json:
    return {"type": "function_call", "call_id": key, "name": name, "arguments": arguments, **more}


def output(key: Any = "c1", **more: Any) -> Json:
    return {"type": "function_call_output", "call_id": key, "output": "ok", **more}


def parts(role: str, kind: str) -> Json:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": "hi"}]}


def flat(name: Any = "look", **more: Any) -> Json:
    return {"type": "function", "name": name, "parameters": OBJECT, **more}


RESPONSES: dict[str, tuple[str, Json]] = {
    "no input": (r"input is empty", entries()),
    "no words": (r"input is empty", {"input": ""}),
    "an unknown role": (r"input\[0\] \(message\): the role has to be", entries({"role": "tool", "content": "hi"})),
    "no content": (r"input\[0\] \(message\) has no content", entries({"role": "user", "content": None})),
    "the assistant's words as input": (r"'input_text' is no content of role 'assistant'", entries(HI, parts("assistant", "input_text"))),
    "the user's words as output": (r"'output_text' is no content of role 'user'", entries(parts("user", "output_text"))),
    "a recording": (r"invalid value 'input_audio'", entries(shows("input_audio", {"data": "AA=="}))),
    "an image of nothing": (r"neither an address nor the data of an image: 'cat.png'", entries({**HI, "content": [{"type": "input_image", "image_url": "cat.png"}]})),
    "a file twice": (r"an input_file has one of", entries({**HI, "content": [{"type": "input_file", "file_data": PNG, "file_url": "https://a.b"}]})),
    "no call_id": (r"call_id '' is not a string of 1 to 64", entries(HI, calls(""), output(""))),
    "a long call_id": (r"is not a string of 1 to 64", entries(HI, calls("x" * 65), output("x" * 65))),
    "a result without a call_id": (r"\(function_call_output\): call_id None", entries(HI, calls(), output(None))),
    "an impossible name": (r"function name 'look up'", entries(HI, calls(name="look up"), output())),
    "arguments as an object": (r"arguments are JSON text", entries(HI, calls(arguments={}), output())),
    "no output": (r"has no output", entries(HI, calls(), output(output=None))),
    "an id from elsewhere": (r"id 'call_1' has to begin with 'fc'", entries(HI, calls(id="call_1"), output())),
    "a message's id from elsewhere": (r"has to begin with 'msg'", entries({**HI, "id": "1"})),
    "one id twice": (r"item ids must be unique", entries(HI, calls(id="fc_1"), output(), calls("c2", id="fc_1"), output("c2"))),
    "an orphan call": (r"input\[1\] \(function_call\): no tool output found for 'c1'", entries(HI, calls())),
    "an orphan call in a chain": (r"no tool output found", entries(HI, calls(), previous_response_id="resp_1")),
    "an orphan output": (r"input\[1\] \(function_call_output\): no tool call found for 'c1'", entries(HI, output())),
    "a tool as in Chat Completions": (r"tools\[0\] \(function\): function name None", entries(HI, tools=[function()])),
    "a choice at the top": (r"must not have anyOf", entries(HI, tools=[flat(parameters=UNION)])),
}  # fmt: skip


# --- Anthropic Messages


def assistant(*blocks: Json) -> Json:
    return {"role": "assistant", "content": list(blocks)}


def results(*blocks: Json) -> Json:
    return {"role": "user", "content": list(blocks)}


def text(words: str = "hi") -> Json:
    return {"type": "text", "text": words}


def use(key: Any = "c1", name: Any = "look", given: Any = None) -> Json:
    return {"type": "tool_use", "id": key, "name": name, "input": {} if given is None else given}


def result(key: Any = "c1") -> Json:
    return {"type": "tool_result", "tool_use_id": key, "content": "ok"}


def block(kind: str, sort: str = "base64", **source: Any) -> Json:
    return {"type": kind, "source": {"type": sort, **source}}


def tool(name: Any = "look", **more: Any) -> Json:
    return {"name": name, "input_schema": OBJECT, **more}


TOOLS: Json = {"tools": [tool()]}
SYSTEM: Json = {"role": "system", "content": "Be brief."}

ANTHROPIC: dict[str, tuple[str, Json]] = {
    "no messages": (r"messages is empty", body()),
    "an unknown role": (r"the role has to be one of", body({"role": "tool", "content": "hi"})),
    "an empty message": (r"messages\[0\] \(user\) has no content", body({"role": "user", "content": ""})),
    "a message without blocks": (r"has no content", body(HI, assistant(), HI)),
    "an empty text": (r"must be non-empty", body(results(text(""), text()))),
    "a blank text": (r"must contain non-whitespace", body(results(text(" \n")))),
    "a blank text beside a call": (r"must contain non-whitespace", body(HI, assistant(text(" "), use()), results(result()), **TOOLS)),
    "a call of the user": (r"tool_use blocks can only be in assistant", body(results(use()), **TOOLS)),
    "a result of the assistant": (r"tool_result blocks can only be in user", body(HI, assistant(result()), HI)),
    "an impossible id": (r"tool id 'functions.look:0' does not match", body(HI, assistant(use("functions.look:0")), **TOOLS)),
    "an impossible id of a result": (r"messages\[2\] \(user\): tool id 'a b'", body(HI, assistant(use()), results(result("a b")), **TOOLS)),
    "an impossible name": (r"function name 'look up'", body(HI, assistant(use(name="look up")), results(result()), **TOOLS)),
    "arguments as text": (r"the input of tool_use 'c1' is no object", body(HI, assistant(use(given="{}")), results(result()), **TOOLS)),
    "an image of the assistant": (r"image blocks can only be in user", body(HI, assistant(block("image", media_type="image/png", data="AA==")), HI)),
    "an image of another kind": (r"the media_type of image is one of .*, not 'image/bmp'", body(results(block("image", media_type="image/bmp", data="AA==")))),
    "a recording": (r"there are no audio blocks", body(results(block("audio", "url", url="https://a.b/c.mp3")))),
    "a document of another kind": (r"the media_type of document is one of application/pdf, not 'a/b'", body(results(block("document", media_type="a/b", data="AA==")))),
    "an image in words": (r"a source of type 'text' of image", body(results(block("image", "text", data="a cat")))),
    "an empty image": (r"the source of image holds nothing", body(results(block("image", media_type="image/png", data="")))),
    "system first": (r"messages\[0\] \(system\) does not follow a user's", body(SYSTEM, HI)),
    "system after the assistant": (r"messages\[2\] \(system\) does not", body(HI, assistant(text()), SYSTEM, HI)),
    "the assistant last": (r"messages\[1\] \(assistant\) is in the last turn", body(HI, assistant(text()))),
    "words after a call": (r"a text stands after a tool_use", body(HI, assistant(use(), text()), results(result()), **TOOLS)),
    "no result": (r"messages\[1\] \(assistant\): no tool_result block in the next message for 'c2'", body(HI, assistant(use(), use("c2")), results(result()), **TOOLS)),
    "results too late": (r"no tool_result block in the next message", body(HI, assistant(use()), HI, assistant(text()), results(result()), **TOOLS)),
    "an orphan result": (r"messages\[0\] \(user\): unexpected tool_use_id 'c1'", body(results(result()))),
    "one result twice": (r"the tool_result blocks' ids must be unique", body(HI, assistant(use()), results(result(), result()), **TOOLS)),
    "words before results": (r"tool_result blocks must come first", body(HI, assistant(use()), results(text(), result()), **TOOLS)),
    "one id twice": (r"tool_use ids must be unique", body(HI, assistant(use()), results(result()), assistant(use()), results(result()), **TOOLS)),
    "calls without tools": (r"tools is empty", body(HI, assistant(use()), results(result()))),
    "an impossible tool": (r"tools\[0\] \(a.b\): function name", body(HI, tools=[tool("a.b")])),
    "a choice at the top": (r"must not have anyOf", body(HI, tools=[tool(input_schema=UNION)])),
    "an impossible parameter": (r"property keys 'größe' do not match", body(HI, tools=[tool(input_schema={"type": "object", "properties": {"größe": {}}})])),
    "two tools of one name": (r"tool names must be unique", body(HI, tools=[tool(), tool()])),
}  # fmt: skip


# --- Gemini generateContent


def contents(*given: Json, **rest: Any) -> Json:
    return {"contents": list(given), **rest}


def said(*given: Json, role: str = "user") -> Json:
    return {"role": role, "parts": list(given)}


def asked(*names: str) -> Json:
    return said(*({"functionCall": {"name": name, "args": {}}} for name in names), role="model")


def responded(*names: str) -> Json:
    return said(*({"functionResponse": {"name": name, "response": {"output": "ok"}}} for name in names))


def declared(*functions: Json) -> Json:
    return contents(ASKS, tools=[{"functionDeclarations": list(functions)}])


ASKS = said({"text": "hi"})
SAYS = said({"text": "So."}, role="model")

GEMINI: dict[str, tuple[str, Json]] = {
    "no contents": (r"contents is empty", contents()),
    "an unknown role": (r"contents\[0\] \(assistant\): the role has to be", contents(said({"text": "x"}, role="assistant"))),
    "no parts": (r"contents\[1\] \(model\): parts is empty", contents(ASKS, said(role="model"), ASKS)),
    "an empty part": (r"a part holds no data", contents(said({}))),
    "an empty text": (r"a part holds no data", contents(said({"text": ""}))),
    "an image without data": (r"inlineData has no data", contents(said({"inlineData": {"mimeType": "image/png"}}))),
    "a file of no type": (r"fileData has no mimeType", contents(said({"file_data": {"file_uri": "https://a.b/c"}}))),
    "a call without a name": (r"a functionCall has no name", contents(ASKS, asked(""), responded("x"))),
    "a result without a name": (r"a functionResponse has no name", contents(ASKS, asked("x"), responded(""))),
    "arguments as text": (r"args of 'x' is no object: '{}'", contents(ASKS, said({"functionCall": {"name": "x", "args": "{}"}}, role="model"), responded("x"))),
    "a result as text": (r"response of 'x' is no object", contents(ASKS, asked("x"), said({"functionResponse": {"name": "x", "response": "ok"}}))),
    "a call first": (r"contents\[0\] \(model\) calls functions, but not immediately after", contents(asked("x"), responded("x"))),
    "a call after the model": (r"contents\[2\] \(model\) calls functions", contents(ASKS, SAYS, asked("x"), responded("x"))),
    "an orphan result": (r"contents\[0\] \(user\) answers functions", contents(responded("x"))),
    "results too late": (r"contents\[2\] \(user\) holds 0 function responses after 1", contents(ASKS, asked("x"), ASKS, responded("x"))),
    "too few results": (r"holds 1 function responses after 2", contents(ASKS, asked("x", "y"), responded("x"))),
    "results one by one": (r"holds 1 function responses after 2", contents(ASKS, asked("x", "y"), responded("x"), responded("y"))),
    "a call last": (r"contents\[1\] \(model\): no function response turn", contents(ASKS, asked("x"))),
    "the model last": (r"contents\[1\] \(model\) is the last", contents(ASKS, SAYS)),
    "an impossible function": (r"function name '2fa' does not match", declared({"name": "2fa"})),
    "parameters of no object": (r"of type 'object', not 'STRING'", declared({"name": "x", "parameters": {"type": "STRING"}})),
    "a schema of no object": (r"of type 'object', not None", declared({"name": "x", "parametersJsonSchema": {}})),
    "an unknown keyword": (r"unknown name additionalProperties in parameters", declared({"name": "x", "parameters": {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object", "additionalProperties": False}}}}})),
    "two functions of one name": (r"function declarations must be unique", declared({"name": "x"}, {"name": "x"})),
    "a call in snake_case": (r"no function response turn", contents(ASKS, said({"function_call": {"name": "x"}}, role="model"))),
}  # fmt: skip


# --- All of them

REFUSED: dict[str, dict[str, tuple[str, Json]]] = {
    "openai-chat": OPENAI_CHAT,
    "openai-responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "mistral": MISTRAL,
    "deepseek": DEEPSEEK,
}

MALFORMED: dict[str, tuple[str, Any]] = {
    "half a character": (r"\[0\] holds text that is not valid Unicode: '.*ud800", HALF),
    "not a number": (r"\[0\] is not JSON: Out of range", float("nan")),
    "a set": (r"\[0\] is not JSON: Object of type set", {1}),
}
FIRST = {"openai-responses": "input", "gemini": "contents"}


def broken_bodies() -> Iterator[tuple[str, str, str, Json]]:
    for provider, cases in REFUSED.items():
        for name, (sentence, broken) in cases.items():
            yield provider, name, sentence, broken
        for name, (sentence, value) in MALFORMED.items():
            yield provider, name, sentence, {FIRST.get(provider, "messages"): [{"role": "user", "content": value}]}
        yield provider, "half a character elsewhere", r"system holds text that is not valid", {"system": HALF}


BROKEN = list(broken_bodies())


@pytest.mark.parametrize(("provider", "name", "sentence", "broken"), BROKEN, ids=[f"{p}: {n}" for p, n, *_ in BROKEN])
def test_what_a_provider_refuses_is_refused_with_a_sentence(provider: str, name: str, sentence: str, broken: Json):
    """Each rule of each provider catches the smallest body that breaks it, and says where."""
    with pytest.raises(AssertionError, match=sentence):
        PROVIDERS[provider].check(broken)


def rules() -> Iterator[tuple[str, range]]:
    """The lines of each rule: of every assert, and of every call of a shared rule."""
    for path in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if isinstance(node, ast.Assert) or name == "items" or name.lstrip("_").startswith("check_"):
                yield path.name, range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_every_rule_has_a_body_that_breaks_it():
    """No rule is only written down: each assert fails in one of the cases, and each use of a shared rule does."""
    reached: set[tuple[str, int]] = set()
    for provider, _, _, broken in BROKEN:
        with pytest.raises(AssertionError) as problem:
            PROVIDERS[provider].check(broken)
        reached |= {(Path(frame.filename).name, frame.lineno or 0) for frame in traceback.extract_tb(problem.tb)}
    assert [(name, min(lines)) for name, lines in rules() if not any((name, line) in reached for line in lines)] == []


# After the examples in the providers' documentation, and after requests that were answered.
WEATHER = {"location": "Paris, France"}
CITY: Json = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
TAKEN: dict[str, list[Json]] = {
    "openai-chat": [
        body(HI),
        body({"role": "developer", "content": "x"}, {"role": "assistant", "content": ""}, {**HI, "name": "Ann"}),
        body(
            {"role": "user", "content": [{"type": "text", "text": "What is the weather like?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call("call_1"), call("call_2")]},
            answer("call_2"),
            answer("call_1"),
            HI,
            {"role": "assistant", "content": "It is cold."},
            tools=[function("get_weather", parameters=CITY, strict=True), {"type": "function", "function": {"name": "x"}}],
        ),
        body(HI, {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "x"}}]}, answer("c"), tools=[{"type": "custom", "custom": {"name": "code"}}]),
        body(HI, asks(call()), answer(), asks(call()), answer()),  # an id may come again in another reply
    ],
    "openai-responses": [
        {"input": "Tell me a story."},
        entries(HI, {"role": "assistant", "content": "Hello!"}, parts("user", "input_text"), parts("assistant", "output_text")),
        entries(
            HI,
            {"type": "reasoning", "id": "rs_1", "summary": []},
            calls("call_1", "get_weather", id="fc_1"),
            calls("call_2", "get_weather", id="fc_2"),
            HI,
            output("call_2"),
            output("call_1", output=[{"type": "input_text", "text": "cold"}]),
            tools=[flat("get_weather", parameters=CITY, strict=True), {"type": "web_search"}],
        ),
        entries(output("call_1"), previous_response_id="resp_1"),
    ],
    "anthropic": [
        body(HI, assistant(text()), {"role": "user", "content": "And in Paris?"}),
        # Recorded: the assistant begins, and speaks twice; the user's words follow the result in a message of their own.
        body(
            assistant(text("I will check the weather.")),
            assistant(use("call_1", "get_weather", {"city": "Paris"})),
            results(result("call_1")),
            results(text("Use that result to answer briefly.")),
            tools=[tool("get_weather")],
        ),
        body(
            results(text(" "), text("What is the weather in San Francisco and New York?")),
            assistant(text("I'll check both."), use("toolu_01"), use("toolu_02")),
            results(result("toolu_02"), result("toolu_01"), text("What should I wear?")),
            tools=[tool(input_schema=CITY), {"type": "web_search_20250305", "name": "web_search"}],
        ),
        body(HI, SYSTEM),
    ],
    "gemini": [
        contents({"parts": [{"text": "Explain how AI works"}]}),
        contents(ASKS, SAYS, ASKS, ASKS),
        contents(
            ASKS,
            said({"text": "Let me see."}, *asked("power_disco_ball", "start_music")["parts"], role="model"),
            responded("power_disco_ball", "start_music"),
            asked("dim_lights"),
            responded("dim_lights"),
            ASKS,
            tools=[{"functionDeclarations": [{"name": "dim_lights", "parameters": {"type": "OBJECT", "properties": {"const": {"type": "NUMBER"}}}}]}, {"googleSearch": {}}],
        ),
        contents(ASKS, said({"functionCall": {"name": "now"}, "thoughtSignature": "x"}, role="model"), responded("now"), tools=[{"function_declarations": [{"name": "now", "parametersJsonSchema": {**OBJECT, "additionalProperties": False}}]}]),
    ],
    "mistral": [
        body(SYSTEM, HI, HI, {"role": "assistant", "content": "Yes"}, {"role": "assistant", "content": "?"}, HI),
        body(
            HI,
            asks(call("D681PevKs", "retrieve_payment_status"), call("abcdefghi")),
            answer("abcdefghi", name="retrieve_payment_date"),
            answer("D681PevKs"),
            tools=[function("retrieve_payment_status", parameters=CITY)],
        ),
        body(HI, {"role": "assistant", "content": "Once upon", "prefix": True}),
        body(HI, asks(call()), answer(), {"role": "assistant", "content": "OK."}, HI, asks(call()), answer()),
    ],
    "deepseek": [
        body(SYSTEM, HI),
        body(HI, asks(call("call_0_1"), content="Let me see."), answer("call_0_1"), HI, tools=[function(parameters=CITY)], **OFF),
        body(HI, asks(call(), reasoning_content="I need to look."), answer()),
    ],
}  # fmt: skip


@pytest.mark.parametrize("provider", TAKEN)
def test_what_a_provider_takes_passes(provider: str):
    """Parallel calls, chains, several messages in a row, tools of other kinds: none is a false alarm."""
    for taken in TAKEN[provider]:
        PROVIDERS[provider].check(taken)


# --- Rendering

FIND = ToolSpec("find", "Find it.", {"type": "object", "properties": {"what": {"type": "string"}}})
ANN = Agent("ann", "Be kind.")


def reply(*parts: Text | ToolCall) -> Message:
    return Message("assistant", parts, "ann")


def outcome(key: str, kind: Outcome = "done") -> ToolResult:
    return ToolResult(key, "find", "at the depot", kind)


TALK = ChatRequest(
    ANN,
    (
        user("Where is it?"),
        reply(Text("Let me see."), ToolCall("t1-s1-c0", "find", '{"what": 1}'), ToolCall("t1-s1-c1", "find", "{oops")),
        Message("tool", (outcome("t1-s1-c0"), outcome("t1-s1-c1", "error")), "ann"),
        user("[bob] At the depot.", "bob"),
        user("Thanks!"),
    ),
    (FIND,),
)


def rendered(provider: str, request: ChatRequest = TALK) -> Json:
    made = PROVIDERS[provider].render(request)
    PROVIDERS[provider].check(made)
    return made


def test_chat_completions_say_everything_in_messages_of_their_own():
    """The instructions come first; every result is a message."""
    made = rendered("openai-chat")
    assert [message["role"] for message in made["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
        "user",
    ]
    assert made["messages"][2]["tool_calls"][1] == {
        "id": "t1-s1-c1",
        "type": "function",
        "function": {"name": "find", "arguments": "{oops"},
    }
    assert made["tools"] == [
        {
            "type": "function",
            "function": {"name": "find", "description": "Find it.", "parameters": dict(FIND.parameters)},
        }
    ]


def test_deepseek_is_told_not_to_think():
    """Otherwise it wants thoughts back that a conversation does not hold; for the rest it is Chat Completions."""
    assert rendered("deepseek") == {**rendered("openai-chat"), "thinking": {"type": "disabled"}}


def test_mistral_gets_short_ids_and_a_word_between_results_and_users():
    """The ids are the same wherever they are sent."""
    made = rendered("mistral")["messages"]
    assert [message["role"] for message in made] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
        "user",
    ]
    assert [call["id"] for call in made[2]["tool_calls"]] == [message["tool_call_id"] for message in made[3:5]]
    assert made[3]["tool_call_id"] == short_id("t1-s1-c0") == "a185630da"
    assert made[5]["content"] == "OK."


def test_responses_are_items():
    """Words, calls and outputs stand side by side."""
    made = rendered("openai-responses")
    kinds = [
        "message",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
        "message",
    ]
    assert [item["type"] for item in made["input"]] == kinds
    assert made["instructions"] == "Be kind."
    assert made["tools"][0]["name"] == "find"


PHOTO = Media.from_bytes(b"png", "image/png", "bike.png")
DATA = "data:image/png;base64,cG5n"


def shown(*parts: Text | Media) -> ChatRequest:
    return ChatRequest(ANN, (Message("user", parts),))


IMAGES: dict[str, list[Json]] = {
    "openai-chat": [text(), {"type": "image_url", "image_url": {"url": DATA}}],
    "openai-responses": [
        {"type": "input_text", "text": "hi"},
        {"type": "input_image", "image_url": DATA, "detail": "auto"},
    ],
    "anthropic": [text(), block("image", media_type="image/png", data="cG5n")],
    "gemini": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "cG5n"}}],
    "mistral": [text(), {"type": "image_url", "image_url": DATA}],
}


@pytest.mark.parametrize("provider", IMAGES)
def test_an_image_stands_beside_the_words(provider: str):
    """In the shape of each wire, in the order of the message; blank words beside it are left out."""
    made = rendered(provider, shown(Text("hi"), PHOTO, Text(" ")))
    last = made[{"gemini": "contents", "openai-responses": "input"}.get(provider, "messages")][-1]
    assert last.get("content", last.get("parts")) == IMAGES[provider]


PDF = Media("application/pdf", data="cGRm", name="bill.pdf")
LINKED = Media("application/pdf", url="https://shop.example/bill.pdf")
NOISE = Media("audio/wav", data="d2F2")
FAR_NOISE = Media("audio/mpeg", url="https://shop.example/a.mp3")
NOTE = Media("text/plain", data="aGk=")

TAKES: dict[str, tuple[Media, ...]] = {
    "openai-chat": (PDF, NOISE, NOTE),
    "openai-responses": (PDF, LINKED, NOTE),
    "anthropic": (PDF, LINKED, NOTE),
    "gemini": (PDF, LINKED, NOISE, FAR_NOISE, NOTE),
    "mistral": (PDF, LINKED, NOISE, FAR_NOISE, NOTE),
    "deepseek": (),
}


@pytest.mark.parametrize("provider", TAKES)
def test_files_and_recordings_go_where_there_is_a_field_for_them(provider: str):
    """Rendered plainly, what a wire has no field for is refused by its judge, and nothing else is."""
    for media in (PDF, LINKED, NOISE, FAR_NOISE, NOTE):
        body = PROVIDERS[provider].render(shown(media))
        if media in TAKES[provider]:
            PROVIDERS[provider].check(body)
        else:
            with pytest.raises(AssertionError):
                PROVIDERS[provider].check(body)


def test_anthropic_gets_turns():
    """Results and what the user said after them are one message; arguments that are no object are wrapped."""
    made = rendered("anthropic")
    assert made["system"] == "Be kind."
    kinds = [(message["role"], [block["type"] for block in message["content"]]) for message in made["messages"]]
    assert kinds == [
        ("user", ["text"]),
        ("assistant", ["text", "tool_use", "tool_use"]),
        ("user", ["tool_result", "tool_result", "text", "text"]),
    ]
    assert [block["input"] for block in made["messages"][1]["content"][1:]] == [{"what": 1}, {"INVALID_JSON": "{oops"}]
    assert [block.get("is_error") for block in made["messages"][2]["content"]] == [None, True, None, None]


def test_gemini_gets_results_in_a_content_of_their_own():
    """Calls and results are paired by their places."""
    made = rendered("gemini")
    assert made["systemInstruction"] == {"parts": [{"text": "Be kind."}]}
    kinds = [(content["role"], [next(iter(part)) for part in content["parts"]]) for content in made["contents"]]
    assert kinds == [
        ("user", ["text"]),
        ("model", ["text", "functionCall", "functionCall"]),
        ("user", ["functionResponse", "functionResponse"]),
        ("user", ["text", "text"]),
    ]
    assert made["contents"][2]["parts"][1]["functionResponse"]["response"] == {"error": "at the depot"}


def test_words_after_a_call_go_before_it():
    """A model may speak after calling; no block may stand between a call and its result."""
    late = ChatRequest(
        ANN, (user("hi"), reply(ToolCall("1", "find"), Text("Wait.")), Message("tool", (outcome("1"),))), (FIND,)
    )
    check_everywhere(late)
    assert [block["type"] for block in rendered("anthropic", late)["messages"][1]["content"]] == ["text", "tool_use"]


def test_half_a_character_that_is_only_one_once_read_is_not_sent():
    """Escaped it is fine as text, and wrapped as text where the wire wants an object."""
    odd = ChatRequest(
        ANN,
        (user("hi"), reply(ToolCall("1", "find", '{"what": "\\ud800"}')), Message("tool", (outcome("1"),))),
        (FIND,),
    )
    check_everywhere(odd)


def test_an_agent_without_tools_that_called_one_can_be_sent():
    """Anthropic wants declared what was called, and is told not to call it again."""
    dreamer = ChatRequest(
        ANN,
        (user("hi"), reply(ToolCall("1", "teleport")), Message("tool", (ToolResult("1", "teleport", "no", "error"),))),
    )
    check_everywhere(dreamer)
    made = rendered("anthropic", dreamer)
    assert ([each["name"] for each in made["tools"]], made["tool_choice"]) == (["teleport"], {"type": "none"})


def test_a_request_that_some_provider_refuses_is_refused_by_name():
    """Nobody's own rule is lost in the six: this one passes the neutral check, and Gemini has no such function."""
    request = ChatRequest(ANN, (user("hi"),), (ToolSpec("2fa"),))
    check_request(request)
    with pytest.raises(AssertionError, match=r"^gemini: functionDeclarations\[0\] \(2fa\): function name '2fa'"):
        check_everywhere(request)
