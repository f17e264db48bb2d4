"""A real server and a real model, over HTTP, through the provider's own library: llama.cpp and SmolLM2.

The model is small: shape, ids, streams, errors and retries are proved, never whom or what it chooses.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="real models are an extra")
pytest.importorskip("xllamacpp", reason="it brings the server")

from relayline import Agent, HandoffBuilder, ModelError, ProviderError, Workflow, tool
from relayline.agent import ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.clients.models import ModelClient, client
from relayline.events import Replied
from relayline.messages import ToolCall, user
from tests.clients.llama_server import KEY, LlamaServer

pytestmark = pytest.mark.gguf

SETTINGS = {"temperature": 0, "max_tokens": 48}
LOOK_UP = ToolSpec(
    "find_job",
    "Look a repair up.",
    {"type": "object", "properties": {"ticket": {"type": "integer"}}, "required": ["ticket"]},
)


@pytest.fixture(scope="module")
def running(gguf_file: Path) -> Iterator[LlamaServer]:
    with LlamaServer(gguf_file) as server:
        yield server


@pytest.fixture
def server(running: LlamaServer) -> Iterator[LlamaServer]:
    running.clear()
    yield running
    assert running.problems == []


def voice(server: LlamaServer, key: str = KEY) -> ModelClient:
    return client("openai-chat:smollm2", api_key=key, base_url=f"{server.base_url}/v1")


@tool(repeatable=True)
def find_job(ticket: int) -> str:
    """Look a repair up."""
    return f"ticket {ticket} is ready"


def bikes(model: ModelClient, *, share_prefix: bool = False, **settings: Any) -> Workflow:
    given = {**SETTINGS, **settings}
    front = Agent("front", "You are the front desk of a bike shop.", "first contact", [], model, settings=given)
    workshop = Agent("workshop", "You mend bikes.", "repairs", [find_job], model, settings=given)
    return HandoffBuilder(name="bikes", participants=[front, workshop], share_prefix=share_prefix).build()


async def reply(model: ModelClient, words: str, *tools: ToolSpec, **settings: Any) -> list[Chunk]:
    agent = Agent("front", "You are the front desk of a bike shop.", settings={**SETTINGS, **settings})
    return [chunk async for chunk in model.stream(ChatRequest(agent, [user(words)], tools))]


async def test_words_stream_and_tokens_are_counted(server: LlamaServer):
    """Every piece of the stream is a piece of the reply; what it took comes last, from the cache the second time."""
    for _ in range(2):
        *words, info = await reply(voice(server), "hi")
        assert isinstance(info, ReplyInfo)
        seen = server.requests[-1]
        assert words == [delta["content"] for delta in seen.deltas if delta.get("content")]
        assert len(words) > 1
        assert info.output_tokens >= len(words)
        assert info.input_tokens == info.cached_tokens + seen.timings["prompt_n"]
    assert info.cached_tokens >= info.input_tokens - 1 > 10


async def test_a_call_in_pieces_is_put_together(server: LlamaServer):
    """The server sends its name first and its arguments bit by bit; it arrives whole, with the server's id."""
    *said, info = await reply(voice(server), "Use find_job with ticket 12.", LOOK_UP)
    assert isinstance(info, ReplyInfo)
    pieces = [call for delta in server.requests[0].deltas for call in delta.get("tool_calls") or ()]
    assert len(pieces) > 2
    (call,) = (chunk for chunk in said if isinstance(chunk, ToolCall))
    assert (call.id, call.name) == (pieces[0]["id"], "find_job")
    assert call.arguments == "".join(piece["function"].get("arguments", "") for piece in pieces)
    assert isinstance(call.parse_arguments()["ticket"], int)


async def test_a_form_that_is_asked_for_is_kept(server: LlamaServer):
    """What the server can do beyond the common settings is asked of it with ``extra_body``."""
    schema = {"type": "object", "properties": {"size": {"enum": ["S", "M"]}}, "required": ["size"]}
    form = {"type": "json_schema", "json_schema": {"name": "bike", "schema": schema}}
    *words, _ = await reply(voice(server), "Which size?", extra_body={"response_format": form})
    assert json.loads("".join(map(str, words)))["size"] in ("S", "M")


@pytest.mark.parametrize("share_prefix", [False, True], ids=["own", "shared"])
async def test_a_conversation_of_a_team(server: LlamaServer, share_prefix: bool):
    """Whatever the model does, the runs end, the journal is whole, and every request is one that providers take."""
    team = bikes(voice(server), share_prefix=share_prefix)
    shown: list[str] = []
    for words in ("Use handoff_to_workshop.", "Use find_job with ticket 12.", "hi", "Use handoff_to_front."):
        async for event in team.run(words, session_id="ann", stream=True):
            if event.type == "message_delta":
                shown.append(event.data)
    facts = [entry.fact for entry in await team.store.read("ann") if isinstance(entry.fact, Replied)]
    assert "".join(shown) == "".join(fact.message.text for fact in facts)
    messages = (await team.session("ann")).conversation
    calls = [call.id for message in messages for call in message.tool_calls]
    assert calls == [result.call_id for message in messages for result in message.tool_results]
    assert len(set(calls)) == len(calls)
    assert [each.status for each in server.requests] == [200] * len(facts)


async def test_a_return_finds_the_cache_warm(server: LlamaServer):
    """The next request of an agent is the last one and more: the server reads only what is new."""
    team = bikes(voice(server))
    await team.run("hi", session_id="s", to="front")
    await team.run("And you?", session_id="s", to="workshop")
    server.clear()
    await team.run("Where are you?", session_id="s", to="front")
    timings = server.requests[0].timings
    assert timings["cache_n"] > 0.5 * (timings["cache_n"] + timings["prompt_n"])


async def test_a_handoff_finds_the_cache_warm(server: LlamaServer):
    """With a shared prefix, a colleague's request is the last one and more, too."""
    team = bikes(voice(server), share_prefix=True)
    await team.run("hi", session_id="s", to="front")
    await team.run("And you?", session_id="s", to="workshop")
    before, after = (request.timings for request in server.requests[:: len(server.requests) - 1])
    assert after["cache_n"] >= 0.95 * (before["cache_n"] + before["prompt_n"])


async def test_a_key_that_is_wrong(server: LlamaServer):
    """The run fails with the server's 401, and goes on once the key is right."""
    with pytest.raises(ModelError, match="answered 401: Invalid API Key") as failed:
        await bikes(voice(server, "wrong")).run("hi")
    assert isinstance(failed.value.__cause__, ProviderError)
    assert (failed.value.agent, failed.value.__cause__.status) == ("front", 401)


async def test_a_prompt_that_does_not_fit(server: LlamaServer):
    """What the server says of it is the error; the next conversation is served."""
    with pytest.raises(ModelError, match="answered 400: .*context size") as failed:
        await bikes(voice(server)).run("word " * 5000)
    assert isinstance(failed.value.__cause__, ProviderError)
    assert (await bikes(voice(server)).run("hi")).conversation


async def test_a_busy_server_is_asked_again(server: LlamaServer):
    """Twice, by the provider's library; with no retries it is an error, and the session can be run again."""
    server.refusals += [503, 429]
    assert (await bikes(voice(server)).run("hi")).conversation
    assert server.refusals == []
    server.refusals += [503]
    team = bikes(voice(server), max_retries=0)
    with pytest.raises(ModelError, match="answered 503: busy") as failed:
        await team.run("hi", session_id="s")
    assert isinstance(failed.value.__cause__, ProviderError)
    assert (await team.run(session_id="s")).conversation


async def test_a_reply_that_nobody_waits_for(server: LlamaServer):
    """Leaving in the middle of the words does no harm to the server, the client or the session."""
    team = bikes(voice(server), max_tokens=400)
    run = team.run("Tell me a long story of the sea.", session_id="s", stream=True)
    async for event in run:
        if event.type == "message_delta":
            break
    await run.aclose()
    assert (await bikes(voice(server)).with_store(team.store).run(session_id="s")).conversation
