"""What the fake provider answers, as a plain HTTP client sees it."""

from relayline.agent import ReplyInfo
from relayline.messages import ToolCall
from relayline.testing import FakeProvider, ScriptedClient, Thinking, call, handoff_to
from tests.testing_server.wires import WIRES, Got, ask, ask_chat, every_wire, send


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


def test_several_infos_are_one():
    """They are merged as a run merges them: later ones win, and what none of them says is some usual number."""
    with FakeProvider(["Hello", ReplyInfo("m-1", 50), ReplyInfo("m-2", metadata={"cached_tokens": 30})]) as provider:
        got = ask(provider, "anthropic").json
    assert (got["model"], got["usage"]["input_tokens"], got["usage"]["output_tokens"]) == ("m-2", 20, 10)


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


def test_replies_are_those_of_a_scripted_client():
    """A script moves from one to the other as it stands."""
    script = ["Hello.", call("look_up", order=7), ["One", handoff_to("orders"), ReplyInfo("m", 1, 1)]]
    ScriptedClient(*script)
    with FakeProvider(*script) as provider:
        assert [ask_chat(provider).status for _ in script] == [200, 200, 200]
