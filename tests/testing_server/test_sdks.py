"""The official SDKs against the fake provider: what they parse without complaint is shaped like the real thing."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors, types
from pydantic_ai import Agent
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel, GoogleModelSettings
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from relayline.agent import ReplyInfo
from relayline.testing import Cut, Fail, FakeProvider, Thinking, call

HI: Any = [{"role": "user", "content": "hi"}]
CALLS = [{"order": 7, "note": "ünpaid"}, {}]
INFO = ReplyInfo(input_tokens=50, output_tokens=20, metadata={"cached_tokens": 30, "reasoning_tokens": 5})
REPLY = [Thinking("Hm.", "sig"), "Let me ", "see.", call("look_up", **CALLS[0]), call("list"), INFO]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as fake:
        yield fake


def open_ai(provider: FakeProvider, key: str = "") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{provider.base_url}/v1", api_key=key or provider.key, max_retries=0)


def claude(provider: FakeProvider, key: str = "") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=provider.base_url, api_key=key or provider.key, max_retries=0)


def gemini(provider: FakeProvider, key: str = "") -> genai.Client:
    return genai.Client(api_key=key or provider.key, http_options=types.HttpOptions(base_url=provider.base_url))


# --- What each SDK makes of a reply


def test_openai_chat(provider: FakeProvider):
    """Words, calls and usage come out of the SDK, of a whole reply and of a stream put together."""
    provider.add(REPLY, REPLY)
    with open_ai(provider) as client:
        whole = client.chat.completions.create(model="m", messages=HI)
        with client.chat.completions.stream(model="m", messages=HI, stream_options={"include_usage": True}) as stream:
            streamed = stream.until_done().get_final_completion()
        assert [model.id for model in client.models.list()] == ["fake-model"]
    for completion in (whole, streamed):
        message = completion.choices[0].message
        assert message.content == "Let me see."
        assert [each.function.name for each in message.tool_calls or ()] == ["look_up", "list"]
        assert [each.function.arguments for each in message.tool_calls or ()] == [REPLY[3].arguments, "{}"]
        assert completion.usage.prompt_tokens_details.cached_tokens == 30
    provider.assert_done()


def test_openai_responses(provider: FakeProvider):
    """The SDK puts the events together to the very response that is sent whole, but for its ids."""
    provider.add(REPLY, REPLY)
    asked: Any = {"model": "m", "input": "hi", "store": False, "include": ["reasoning.encrypted_content"]}
    with open_ai(provider) as client:
        whole = client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            streamed = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    for response in (whole, streamed):
        reasoning, message, *calls = response.output
        assert (reasoning.summary[0].text, reasoning.encrypted_content) == ("Hm.", "sig")
        assert (response.output_text, message.role) == ("Let me see.", "assistant")
        assert [(each.name, each.arguments) for each in calls] == [("look_up", REPLY[3].arguments), ("list", "{}")]
        assert response.usage.output_tokens_details.reasoning_tokens == 5


def test_anthropic(provider: FakeProvider):
    """Thinking with its signature, words, calls as objects, usage without what was cached."""
    provider.add(REPLY, REPLY)
    with claude(provider) as client:
        whole = client.messages.create(model="m", max_tokens=9, messages=HI)
        with client.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
            streamed = stream.get_final_message()
    for message in (whole, streamed):
        thinking, text, *calls = message.content
        assert (thinking.thinking, thinking.signature, text.text) == ("Hm.", "sig", "Let me see.")
        assert [each.input for each in calls] == CALLS
        assert (message.stop_reason, message.usage.input_tokens, message.usage.cache_read_input_tokens) == (
            "tool_use",
            20,
            30,
        )


def test_gemini(provider: FakeProvider):
    """Thoughts, words, the signature on the part after the thought, calls as objects, usage."""
    provider.add(REPLY, REPLY)
    with gemini(provider) as client:
        whole = client.models.generate_content(model="m", contents="hi")
        streamed = list(client.models.generate_content_stream(model="m", contents="hi"))
    assert whole.text == "Let me see."
    assert [each.args for each in whole.function_calls or ()] == CALLS
    parts = [
        part for each in streamed for part in (each.candidates[0].content.parts if each.candidates[0].content else ())
    ]
    assert [(part.text, part.thought, part.thought_signature) for part in parts[:3]] == [
        ("Hm.", True, None),
        ("Let me ", None, b"sig"),
        ("see.", None, None),
    ]
    assert [part.function_call.args for part in parts[3:]] == CALLS
    assert streamed[-1].candidates[0].finish_reason is types.FinishReason.STOP
    assert streamed[-1].usage_metadata.cached_content_token_count == 30


# --- What each SDK makes of an error


@pytest.mark.parametrize("path", ["chat", "responses"])
def test_openai_s_errors(provider: FakeProvider, path: str):
    """A status, a wrong key, a refused body, a dead connection and a failure in a stream are the SDK's own errors."""

    def ask(key: str = "", **more: Any) -> list[Any]:
        with open_ai(provider, key) as client:
            if path == "chat":
                found = client.chat.completions.create(**{"model": "m", "messages": HI, "stream": True, **more})
            else:
                found = client.responses.create(model="m", input=more.get("messages", HI), stream=True)
            return list(found)

    provider.add(Fail(429, "slow down", retry_after=2), Cut(), ["Half a", Cut()], ["Half a", Fail(500, "sorry")])
    with pytest.raises(openai.RateLimitError, match="slow down") as limited:
        ask()
    assert (limited.value.code, limited.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "2")
    assert limited.value.request_id == "req_1"
    with pytest.raises(openai.AuthenticationError):
        ask(key="another")
    with pytest.raises(openai.BadRequestError):
        ask(messages=[])
    provider.problems.clear()
    with pytest.raises(openai.APIConnectionError):
        ask()
    with pytest.raises(openai.APIConnectionError):
        ask()
    with pytest.raises(openai.APIError, match="sorry"):
        ask()
    provider.assert_done()


def test_anthropic_s_errors(provider: FakeProvider):
    """The same for Anthropic's, overload included."""

    def ask(key: str = "", messages: Any = HI) -> None:
        with claude(provider, key) as client:
            with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                stream.until_done()

    provider.add(Fail(529, "overloaded"), Cut(), ["Half a", Cut()], ["Half a", Fail(529, "sorry")])
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error") as overloaded:
        ask()
    assert overloaded.value.status_code == 529
    with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        ask(key="another")
    with pytest.raises(anthropic.BadRequestError, match="invalid_request_error"):
        ask(messages=[])
    provider.problems.clear()
    for problem in (anthropic.APIConnectionError, Exception):
        with pytest.raises(problem):
            ask()
    with pytest.raises(anthropic.APIStatusError, match="sorry"):
        ask()
    provider.assert_done()


def test_gemini_s_errors(provider: FakeProvider):
    """The same for Gemini's."""

    def ask(key: str = "", contents: Any = "hi") -> None:
        with gemini(provider, key) as client:
            list(client.models.generate_content_stream(model="m", contents=contents))

    provider.add(Fail(503, "overloaded"), Cut(), ["Half a", Cut()], ["Half a", Fail(500, "sorry")])
    with pytest.raises(errors.ServerError, match="UNAVAILABLE"):
        ask()
    with pytest.raises(errors.ClientError, match="UNAUTHENTICATED"):
        ask(key="another")
    with pytest.raises(errors.ClientError, match="INVALID_ARGUMENT"):
        ask(contents=[{"role": "model", "parts": [{"text": "hi"}]}])
    provider.problems.clear()
    for _ in range(2):
        with pytest.raises(Exception, match="disconnected|incomplete"):
            ask()
    with pytest.raises(errors.APIError, match="sorry"):
        ask()
    provider.assert_done()


# --- There and back again


def models(provider: FakeProvider) -> dict[str, Model]:
    """What pydantic-ai sends, each to the fake."""
    at_openai = OpenAIProvider(base_url=f"{provider.base_url}/v1", api_key=provider.key)
    at_google = GoogleProvider(base_url=provider.base_url, api_key=provider.key)
    thoughts = GoogleModelSettings(google_thinking_config={"include_thoughts": True})
    return {
        "openai-chat": OpenAIChatModel("gpt-4o", provider=at_openai),
        "openai-responses": OpenAIResponsesModel(
            "gpt-5", provider=at_openai, settings=OpenAIResponsesModelSettings(openai_reasoning_summary="auto")
        ),
        "anthropic": AnthropicModel(
            "claude-opus-4-8", provider=AnthropicProvider(base_url=provider.base_url, api_key=provider.key)
        ),
        "gemini": GoogleModel("gemini-2.5-pro", provider=at_google, settings=thoughts),
    }


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "anthropic", "gemini"])
async def test_a_tool_call_and_its_result(provider: FakeProvider, name: str):
    """A call is made, its result is sent and judged, and what the model thought comes back with its signature."""
    provider.add([Thinking("Hm.", "sig"), call("look_up", order=7)], ["It was ", "sent."])
    agent = Agent(models(provider)[name])

    @agent.tool_plain
    def look_up(order: int) -> str:
        return f"order {order} was sent"

    thoughts = []
    async with agent.run_stream("Where is order 7?") as result:
        assert await result.get_output() == "It was sent."
        thoughts += [part for each in result.all_messages() for part in each.parts if isinstance(part, ThinkingPart)]
    provider.assert_done()
    assert [each.dialect for each in provider.requests] == [name, name]
    assert "order 7 was sent" in str(provider.requests[1].body)
    assert [part.content for part in thoughts] == ["Hm."]
    assert name == "openai-chat" or (
        "sig" in str(provider.requests[1].body) or "c2ln" in str(provider.requests[1].body)
    )
