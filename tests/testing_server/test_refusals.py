"""What the fake provider refuses, and how."""

import json

import pytest

from relayline.testing import Fail, FakeProvider
from tests.testing_server.wires import CONTENTS, GEMINI, WIRES, ask, ask_chat, both_ways, every_wire, send


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


def test_an_exception_has_no_place_on_a_wire():
    """What a `ScriptedClient` would raise is told apart from what a wire can do, and not left out in silence."""
    with FakeProvider(["Half a", OSError("gone")]) as provider:  # pyright: ignore[reportArgumentType]
        assert "say Fail or Cut" in ask_chat(provider).json["error"]["message"]
