"""The fake provider, as a plain HTTP client sees it: what it answers, what it refuses, what it does to a connection."""

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import pytest

from relayline.agent import ReplyInfo
from relayline.messages import ToolCall
from relayline.testing import Cut, Fail, FakeProvider, Hang, ScriptedClient, Thinking, call, handoff_to
from relayline.testing.server.local import LocalServer

HI: dict[str, Any] = {"role": "user", "content": "hi"}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
GEMINI = "/v1beta/models/m:"


@dataclass(frozen=True)
class Wire:
    """How one dialect is spoken to. ``path``: whole, and as a stream."""

    path: tuple[str, str]
    key: str
    body: Mapping[str, Any]
    wrong: Mapping[str, Any]


WIRES = {
    "openai-chat": Wire(
        ("/v1/chat/completions",) * 2,
        "authorization",
        {"model": "m", "messages": [HI]},
        {"model": "m", "messages": [HI, {"role": "tool", "tool_call_id": "x", "content": "7"}]},
    ),
    "openai-responses": Wire(
        ("/v1/responses",) * 2,
        "authorization",
        {"model": "m", "input": [HI], "store": False},
        {"model": "m", "input": [{"type": "function_call_output", "call_id": "x", "output": "7"}]},
    ),
    "anthropic": Wire(
        ("/v1/messages",) * 2,
        "x-api-key",
        {"model": "m", "max_tokens": 9, "messages": [HI]},
        {"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": "hi"}]},
    ),
    "gemini": Wire(
        (f"{GEMINI}generateContent", f"{GEMINI}streamGenerateContent?alt=sse"),
        "x-goog-api-key",
        CONTENTS,
        {"contents": [{"role": "model", "parts": [{"text": "hi"}]}]},
    ),
}
every_wire = pytest.mark.parametrize("name", WIRES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """The data of the server-sent events, without the mark that ends Chat Completions."""
        found = [line.removeprefix("data: ") for line in self.text.split("\n") if line.startswith("data: ")]
        return [json.loads(each) for each in found if each != "[DONE]"]


def send(
    server: LocalServer, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Got:
    connection = HTTPConnection(urlsplit(server.base_url).netloc, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        text = response.read().decode()
        return Got(response.status, {key.lower(): value for key, value in response.getheaders()}, text)
    finally:
        connection.close()


def ask(
    server: LocalServer,
    name: str,
    *,
    stream: bool = False,
    key: str = "test-key",
    body: Mapping[str, Any] | None = None,
) -> Got:
    wire = WIRES[name]
    whole = dict(wire.body if body is None else body)
    if stream and name != "gemini":
        whole["stream"] = True
    secret = f"Bearer {key}" if wire.key == "authorization" else key
    headers = {wire.key: secret, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    return send(server, "POST", wire.path[stream], json.dumps(whole).encode(), headers)


def ask_chat(server: LocalServer, *, stream: bool = False, **more: Any) -> Got:
    return ask(server, "openai-chat", stream=stream, body={**WIRES["openai-chat"].body, **more})


# --- What is said


def said(name: str, got: Got) -> str:
    """The words of a streamed reply."""
    match name:
        case "openai-chat":
            return "".join(each["choices"][0]["delta"].get("content") or "" for each in got.events if each["choices"])
        case "openai-responses":
            return "".join(each["delta"] for each in got.events if each["type"] == "response.output_text.delta")
        case "anthropic":
            return "".join(each["delta"].get("text", "") for each in got.events if "text" in each.get("delta", {}))
        case _:
            parts = [p for e in got.events for p in e["candidates"][0].get("content", {}).get("parts", ())]
            return "".join(part["text"] for part in parts if not part.get("thought"))


@every_wire
def test_words_stream_in_the_chunks_of_the_script(name: str):
    """A list of words is one reply in as many deltas, on every wire."""
    with FakeProvider(["Hel", "lo ", "日本."]) as provider:
        got = ask(provider, name, stream=True)
        assert (got.status, got.headers["content-type"]) == (200, "text/event-stream")
        assert said(name, got) == "Hello 日本."
        provider.assert_done()


def test_a_whole_reply_on_each_wire():
    """Words, thoughts and calls stand where each provider puts them."""
    script = [Thinking("Hm.", "sig"), "Let me see.", call("look_up", order=7), handoff_to("orders")]
    with FakeProvider(*[script] * 4) as provider:
        chat, responses, anthropic, gemini = (ask(provider, name).json for name in WIRES)
    message = chat["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Let me see.", "Hm.")
    assert [each["function"]["name"] for each in message["tool_calls"]] == ["look_up", "handoff_to_orders"]
    assert chat["choices"][0]["finish_reason"] == "tool_calls"
    assert [each["type"] for each in responses["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert responses["output"][2] == {
        "id": "fc_2_2",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_2_2",
        "name": "look_up",
        "arguments": '{"order": 7}',
    }
    assert anthropic["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_3_2", "name": "look_up", "input": {"order": 7}},
        {"type": "tool_use", "id": "toolu_3_3", "name": "handoff_to_orders", "input": {}},
    ]
    assert gemini["candidates"][0]["content"]["parts"] == [
        {"text": "Hm.", "thought": True},
        {"text": "Let me see.", "thoughtSignature": "c2ln"},
        {"functionCall": {"name": "look_up", "args": {"order": 7}}},
        {"functionCall": {"name": "handoff_to_orders", "args": {}}},
    ]


def test_the_arguments_of_a_call_come_in_pieces():
    """Where arguments are text they never come at once, so that nobody reads only the first delta."""
    with FakeProvider(*[call("look_up", order=7)] * 3) as provider:
        chat = [
            delta["tool_calls"][0]["function"]["arguments"]
            for event in ask(provider, "openai-chat", stream=True).events
            if "tool_calls" in (delta := event["choices"][0]["delta"])
        ]
        responses = [
            event["delta"]
            for event in ask(provider, "openai-responses", stream=True).events
            if event["type"] == "response.function_call_arguments.delta"
        ]
        anthropic = [
            event["delta"]["partial_json"]
            for event in ask(provider, "anthropic", stream=True).events
            if event["type"] == "content_block_delta"
        ]
    assert chat == ["", '{"or', 'der"', ": 7}"]
    assert responses == anthropic == chat[1:]


def test_encrypted_reasoning_is_for_those_who_ask():
    """Responses gives a reasoning item's ``encrypted_content`` only where ``include`` names it."""
    asking = {**WIRES["openai-responses"].body, "include": ["reasoning.encrypted_content"]}
    with FakeProvider(Thinking("Hm.", "sig"), Thinking("Hm.", "sig")) as provider:
        assert "encrypted_content" not in ask(provider, "openai-responses").json["output"][0]
        assert ask(provider, "openai-responses", body=asking).json["output"][0]["encrypted_content"] == "sig"


def test_what_is_wrong_with_a_call_stays_wrong():
    """Arguments that are no JSON and ids that are used twice arrive as they are; Gemini, which cannot, says why."""
    script = [ToolCall("same", "look_up", '{"order": '), ToolCall("same", "look_up", "[]")]
    with FakeProvider(script, script) as provider:
        calls = ask(provider, "openai-chat").json["choices"][0]["message"]["tool_calls"]
        assert [(each["id"], each["function"]["arguments"]) for each in calls] == [
            ("same", '{"order": '),
            ("same", "[]"),
        ]
        candidate = ask(provider, "gemini").json["candidates"][0]
        assert (candidate["finishReason"], "content" in candidate) == ("MALFORMED_FUNCTION_CALL", False)


INFO = ReplyInfo("m-2", 50, 20, {"cached_tokens": 30, "reasoning_tokens": 5, "finish_reason": "length"})


def test_usage_in_each_shape():
    """``input_tokens`` counts what was cached, which Anthropic counts apart; Gemini counts thoughts apart."""
    with FakeProvider(*[["Hello", INFO]] * 4) as provider:
        chat, responses, anthropic, gemini = (ask(provider, name).json for name in WIRES)
    assert (chat["usage"]["prompt_tokens"], chat["usage"]["prompt_tokens_details"]["cached_tokens"]) == (50, 30)
    assert chat["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5
    assert responses["usage"]["input_tokens_details"]["cached_tokens"] == 30
    assert (anthropic["usage"]["input_tokens"], anthropic["usage"]["cache_read_input_tokens"]) == (20, 30)
    assert gemini["usageMetadata"]["candidatesTokenCount"] == 15
    assert gemini["usageMetadata"]["cachedContentTokenCount"] == 30
    assert [chat["model"], responses["model"], anthropic["model"], gemini["modelVersion"]] == ["m-2"] * 4


def test_a_reply_that_was_too_long_ends_in_each_provider_s_word():
    """A ``finish_reason`` is translated."""
    with FakeProvider(*[["Hello", INFO]] * 4) as provider:
        chat, responses, anthropic, gemini = (ask(provider, name).json for name in WIRES)
    assert chat["choices"][0]["finish_reason"] == "length"
    assert (responses["status"], responses["incomplete_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert anthropic["stop_reason"] == "max_tokens"
    assert gemini["candidates"][0]["finishReason"] == "MAX_TOKENS"


def test_chat_streams_usage_to_those_who_ask():
    """Usage comes in a last chunk of its own, and only with ``include_usage``."""
    with FakeProvider("One.", "Two.") as provider:
        assert all("usage" not in event for event in ask_chat(provider, stream=True).events)
        asked = ask_chat(provider, stream=True, stream_options={"include_usage": True}).events
    assert [event["usage"] is None for event in asked] == [True] * (len(asked) - 1) + [False]
    assert asked[-1]["choices"] == []


def test_a_function_answers_by_the_body():
    """A reply may be a function of what was posted."""
    with FakeProvider(lambda body: f"{len(body['messages'])} messages for {body['model']}") as provider:
        assert ask_chat(provider).json["choices"][0]["message"]["content"] == "1 messages for m"


def test_the_models_are_listed():
    """A client that asks first which models there are finds one."""
    with FakeProvider() as provider:
        got = send(provider, "GET", "/v1/models", headers={"authorization": "Bearer test-key"})
        assert [each["id"] for each in got.json["data"]] == ["fake-model"]
        assert send(provider, "GET", "/v1/models").status == 401


# --- What is refused


@every_wire
def test_a_body_the_real_one_refuses_is_refused(name: str):
    """The judge's sentence is answered as that provider's 400 and remembered, and no reply is used up."""
    with FakeProvider("Hello.") as provider:
        got = ask(provider, name, body=WIRES[name].wrong)
        assert got.status == 400
        assert got.json["error"]["message"] == str(provider.problems[0])
        assert ask(provider, name).status == 200
        with pytest.raises(AssertionError, match=r"\[|input"):
            provider.assert_done()


@every_wire
def test_another_key_is_refused(name: str):
    """A wrong key is a 401, not a problem of the test, and no request of its own."""
    with FakeProvider("Hello.") as provider:
        got = ask(provider, name, key="another")
        assert (got.status, provider.requests, provider.problems) == (401, [], [])
        assert ask(provider, name).status == 200
        provider.assert_done()


def test_gemini_s_key_may_be_in_the_address():
    """``?key=`` is as good as the header, and is not kept either."""
    with FakeProvider("Hello.") as provider:
        got = send(provider, "POST", f"{GEMINI}generateContent?key=test-key", json.dumps(CONTENTS).encode())
        assert got.status == 200
        assert "test-key" not in repr(provider.requests)


ERRORS = {
    "openai-chat": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"},
    "openai-responses": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"},
    "anthropic": {"type": "rate_limit_error", "message": "slow down"},
    "gemini": {
        "code": 429,
        "message": "slow down",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}],
    },
}


@every_wire
@both_ways
def test_a_failure_has_the_provider_s_shape(name: str, stream: bool):
    """`Fail` is that status and that provider's error; when to try again is a header, or a detail at Gemini."""
    with FakeProvider(Fail(429, "slow down", retry_after=1.5)) as provider:
        got = ask(provider, name, stream=stream)
    assert (got.status, got.json["error"]) == (429, ERRORS[name])
    assert got.headers.get("retry-after") == (None if name == "gemini" else "1.5")


@every_wire
def test_a_failure_after_words_is_in_the_stream(name: str):
    """A provider that fails half-way can only say so in the stream it has begun."""
    with FakeProvider(["Half a", Fail(503, "overloaded")]) as provider:
        got = ask(provider, name, stream=True)
    assert got.status == 200
    assert [each["error"]["message"] for each in got.events if each.get("error")] == ["overloaded"]


def test_a_failure_may_have_its_own_code():
    """``code`` stands where the status has no word of its own for it."""
    with FakeProvider(Fail(400, "too long", code="context_length_exceeded")) as provider:
        assert ask(provider, "openai-responses").json["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/v1/embeddings", b"{}", "nothing is at POST /v1/embeddings"),
        ("/v1/chat/completions", b"{", "the body is not JSON"),
        ("/v1/chat/completions", b"[]", "not a JSON object"),
        ("/v1/chat/completions", b'{"messages": []}', "model: field required"),
        ("/v1/messages", b'{"model": "m"}', "max_tokens: field required"),
        ("/v1/messages", b'{"model": "m", "max_tokens": 1}', "anthropic-version: header is required"),
        ("/v1/messages", b'{"model": "m", "max_tokens": 1, "messages": [1]}', "cannot be answered"),
        (f"{GEMINI}streamGenerateContent", b"{}", "alt=sse"),
    ],
)
def test_what_is_no_request_at_all(path: str, body: bytes, problem: str):
    """A wrong address, no JSON and missing settings are told apart, and remembered."""
    headers = {"authorization": "Bearer test-key", "x-goog-api-key": "test-key"}
    if b"[1]" in body:
        headers["anthropic-version"] = "2023-06-01"
    with FakeProvider("Hello.") as provider:
        got = send(provider, "POST", path, body, headers)
        assert got.status in (400, 404)
        with pytest.raises(AssertionError, match=problem.replace("[", r"\[")):
            provider.assert_done()


def test_the_end_of_the_script_is_a_refusal():
    """One request too many is a 400, which no SDK tries again, and a problem; a reply too many is told at the end."""
    provider = FakeProvider()
    with provider:
        assert (
            ask_chat(provider).json["error"]["message"]
            == "request 1 (/v1/chat/completions) finds the script at its end"
        )
    with pytest.raises(AssertionError, match="at its end"):
        provider.assert_done()
    with pytest.raises(AssertionError, match=r"not used: 2, next 'One\.'"):
        FakeProvider("One.", "Two.").assert_done()


def test_a_function_that_fails_is_heard_of():
    """An exception of the test's own function does not get lost in the server's thread."""
    with FakeProvider(lambda body: body["nothing"]) as provider:
        assert ask_chat(provider).status == 400
        with pytest.raises(AssertionError, match="KeyError"):
            provider.assert_done()


# --- What happens to a connection


@every_wire
@both_ways
def test_a_cut_before_anything_is_no_answer_at_all(name: str, stream: bool):
    """The connection dies before the status line."""
    with FakeProvider(Cut()) as provider:
        with pytest.raises(RemoteDisconnected):
            ask(provider, name, stream=stream)


@every_wire
@both_ways
def test_a_cut_after_words_leaves_half_an_answer(name: str, stream: bool):
    """The connection dies in the middle, and nothing says that this was all."""
    with FakeProvider(["Half a", Cut(), " word."]) as provider:
        with pytest.raises(IncompleteRead) as broken:
            ask(provider, name, stream=stream)
    assert not stream or (b"Half a" in broken.value.partial and b"word" not in broken.value.partial)


def test_a_cut_after_a_call_leaves_it_open():
    """What follows a block's last delta is not sent, so a call may be cut within its arguments."""
    with FakeProvider([ToolCall("", "look_up", '{"or'), Cut()]) as provider:
        with pytest.raises(IncompleteRead) as broken:
            ask(provider, "anthropic", stream=True)
    assert b"input_json_delta" in broken.value.partial
    assert b"content_block_stop" not in broken.value.partial


@both_ways
def test_a_hang_ends_by_itself_or_with_the_provider(stream: bool):
    """A pause delays a reply; one without an end keeps a client waiting until the provider is closed."""
    provider = FakeProvider(["One", Hang(0.01), " two."], Hang()).open()
    assert "two." in ask_chat(provider, stream=stream).text
    threading.Timer(0.05, provider.close).start()
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        ask_chat(provider, stream=stream)


def test_words_before_a_hang_are_there_at_once():
    """A stream is sent as it comes, so a client that hangs has seen what was said."""
    with FakeProvider(["One", Hang()]) as provider:
        connection = HTTPConnection(urlsplit(provider.base_url).netloc, timeout=20)
        body = json.dumps({**WIRES["openai-chat"].body, "stream": True})
        connection.request("POST", "/chat/completions", body, {"authorization": "Bearer test-key"})
        response = connection.getresponse()
        seen = b""
        while b"One" not in seen:
            seen += response.read1()
        connection.close()


# --- What is kept, and what is left


def test_requests_are_kept_without_the_key():
    """Dialect, path, headers and body of every request, oldest first, and no secret."""
    with FakeProvider("One.", "Two.") as provider:
        ask(provider, "openai-chat")
        ask(provider, "anthropic")
    first, second = provider.requests
    assert (first.dialect, first.path, second.dialect) == ("openai-chat", "/v1/chat/completions", "anthropic")
    assert first.body == WIRES["openai-chat"].body
    assert first.headers["content-type"] == "application/json"
    assert "test-key" not in repr(provider.requests)


def test_a_fixture_may_leave_the_replies_to_the_test():
    """`add` puts replies after those there are."""
    with FakeProvider("One.") as provider:
        provider.add("Two.", "Three.")
        assert ["One." in ask_chat(provider).text, "Two." in ask_chat(provider).text] == [True, True]
        with pytest.raises(AssertionError, match="1, next 'Three"):
            provider.assert_done()


async def test_it_opens_in_async_code_too():
    """``async with`` is the same; before it there is no address."""
    provider = FakeProvider("Hello.", key="mine")
    with pytest.raises(RuntimeError, match="FakeProvider is not open"):
        _ = provider.base_url
    async with provider:
        assert provider.env["OPENAI_BASE_URL"] == f"{provider.base_url}/v1"
        assert provider.env["ANTHROPIC_API_KEY"] == "mine"
    with pytest.raises(RuntimeError):
        _ = provider.base_url


def test_it_leaves_nothing_behind():
    """Opened and closed fifty times, with somebody still connected, it leaves no thread and no open port."""
    before = threading.active_count()
    for _ in range(50):
        with FakeProvider("Hello.") as provider:
            address = urlsplit(provider.base_url)
            idle = socket.create_connection((address.hostname, address.port), timeout=20)
            assert ask_chat(provider).status == 200
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port), timeout=20)
        provider.close()
    assert threading.active_count() == before


def test_replies_are_those_of_a_scripted_client():
    """A script moves from one to the other as it stands."""
    script = ["Hello.", call("look_up", order=7), ["One", handoff_to("orders"), ReplyInfo("m", 1, 1)]]
    ScriptedClient(*script)
    with FakeProvider(*script) as provider:
        assert [ask_chat(provider).status for _ in script] == [200, 200, 200]
