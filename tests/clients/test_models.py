"""Real models: the providers' own libraries over HTTP, against a provider on this machine that is as strict as they are."""

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="real models are an extra")

from pydantic import BaseModel

from relayline import (
    Agent,
    BuildError,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    Media,
    Message,
    ModelError,
    ProviderError,
    ReplyInfo,
    Text,
    UsageError,
    Workflow,
    tool,
    views,
)
from relayline.agent import ChatRequest
from relayline.clients.models import KEYS, AzureOpenAIChatClient, ModelClient, OpenAIChatClient, client
from relayline.errors import MissingExtra
from relayline.events import Replied
from relayline.journal.codec import decode, encode
from relayline.messages import ToolCall, ToolResult, user
from relayline.testing import PROVIDERS, Fail, FakeProvider, Hang, Thinking, call, handoff_to
from relayline.testing.server.local import Exchange
from relayline.testing.server.openai_chat import OPENAI_CHAT
from relayline.testing.server.provider import PATHS

MODELS = {
    "openai-chat": "openai-chat:gpt-5.6-luna",
    "openai-responses": "openai-responses:gpt-5.6-luna",
    "anthropic": "anthropic:claude-opus-5-5",
    "gemini": "google:gemini-3.1-pro-preview",
}
SEAL = "c2VhbGVk"
INFO = ReplyInfo(input_tokens=50, output_tokens=20, metadata={"cached_tokens": 30})

every_wire = pytest.mark.parametrize("wire", MODELS)
signing_wire = pytest.mark.parametrize("wire", [wire for wire in MODELS if wire != "openai-chat"])


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


def voice(fake: FakeProvider, wire: str, model: str = "") -> ModelClient:
    path = "/v1" if wire.startswith("openai") else ""
    return client(model or MODELS[wire], api_key=fake.key, base_url=fake.base_url + path)


@tool(repeatable=True)
def find_job(ticket: int) -> str:
    """Look a repair up."""
    return f"ticket {ticket} is ready"


def bikes(*clients: Any, **settings: Any) -> Workflow:
    """A front desk, and a workshop that can look repairs up. The second client is the workshop's."""
    agents = [
        Agent("front", "Greet.", "first contact", [find_job], clients[0], settings=settings),
        Agent("workshop", "Repair.", "repairs", [find_job], clients[-1], settings=settings),
    ]
    builder = HandoffBuilder(name="bikes", participants=agents).with_checkpointing(InMemoryCheckpointStorage())
    return builder.build()


async def replies(team: Workflow, session: str) -> list[Replied]:
    return [entry.fact for entry in await team.store.read(session) if isinstance(entry.fact, Replied)]


def bodies(fake: FakeProvider, wire: str) -> list[Any]:
    return [asked.body for asked in fake.requests if asked.dialect == wire]


def holds_seal(body: Any) -> bool:
    """On one wire they are in base64."""
    return SEAL in json.dumps(body) or base64.b64encode(SEAL.encode()).decode() in json.dumps(body)


def said(wire: str, body: Any) -> list[Any]:
    """The conversation in a body."""
    return body[{"gemini": "contents", "openai-responses": "input"}.get(wire, "messages")]


# --- On every wire


@every_wire
async def test_words_come_as_they_are_said_and_what_they_took_is_kept(fake: FakeProvider, wire: str):
    """Each piece is shown at once; the model's name and its tokens, those from a cache too, are in the journal."""
    fake.add([*"Hello", " there.", INFO])
    team = bikes(voice(fake, wire))
    events = [event async for event in team.run("hi", session_id="s", stream=True)]
    assert [event.data for event in events if event.type == "message_delta"] == [*"Hello", " there."]
    (fact,) = await replies(team, "s")
    assert fact.message.text == "Hello there."
    assert (fact.input_tokens, fact.output_tokens, fact.cached_tokens) == (50, 20, 30)
    assert fact.model == MODELS[wire].replace("openai-chat", "openai").replace("openai-responses", "openai")
    assert decode(encode(fact)) == fact
    fake.assert_done()


@every_wire
async def test_parallel_calls_that_come_in_pieces_are_put_together(fake: FakeProvider, wire: str):
    """Both run with the arguments that were written, and their results are sent back as the provider wants them."""
    fake.add(["Let me ", "see.", call("find_job", ticket=1234567), call("find_job", ticket=7654321)], "Both are ready.")
    team = bikes(voice(fake, wire))
    result = await team.run("My bikes?", session_id="s")
    assert result.conversation[-1].text == "Both are ready."
    calls = [call for fact in await replies(team, "s") for call in fact.message.tool_calls]
    assert [json.loads(call.arguments) for call in calls] == [{"ticket": 1234567}, {"ticket": 7654321}]
    sent = json.dumps(bodies(fake, wire)[1])
    assert "ticket 1234567 is ready" in sent
    assert "ticket 7654321 is ready" in sent
    fake.assert_done()


@every_wire
async def test_a_handoff(fake: FakeProvider, wire: str):
    """The handoff is a tool; the colleague is told, and takes the user's next message."""
    fake.add([handoff_to("workshop", reason="a repair")], "I mend bikes.", "Tomorrow.")
    team = bikes(voice(fake, wire))
    await team.run("Mend my bike", session_id="s")
    result = await team.run("When?", session_id="s")
    assert [message.author_name for message in result.conversation if message.role == "assistant"] == [
        "front",
        "workshop",
        "workshop",
    ]
    assert "[front] handed the conversation over to you. Reason: a repair" in json.dumps(bodies(fake, wire)[1])
    fake.assert_done()


@every_wire
@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_refusal_says_what_the_provider_said(fake: FakeProvider, wire: str, status: int):
    """The run fails with what the provider answered, its exception is the cause, and the session can be run again."""
    fake.add(Fail(status, "that will not do", retry_after=3), "Here I am.")
    team = bikes(voice(fake, wire), max_retries=0) if wire != "gemini" else bikes(voice(fake, wire))
    with pytest.raises(ModelError, match=f"answered {status}: that will not do") as failed:
        await team.run("hi", session_id="s")
    cause = failed.value.__cause__
    assert isinstance(cause, ProviderError)
    assert (failed.value.agent, cause.status) == ("front", status)
    assert cause.__cause__ is not None
    assert ("_API_KEY right?" in str(cause)) == (status == 401)
    if wire in ("openai-chat", "anthropic") and status == 429:
        assert cause.retry_after == 3
    assert (await team.run(session_id="s")).text == "Here I am."
    fake.assert_done()


@every_wire
async def test_a_failure_in_the_middle_of_a_reply(fake: FakeProvider, wire: str):
    """Words that were shown are not kept, and the reply is asked for again."""
    fake.add(["Half a", Fail(500, "sorry")], "Whole.")
    team = bikes(voice(fake, wire), max_retries=0) if wire != "gemini" else bikes(voice(fake, wire))
    with pytest.raises(ModelError, match="sorry") as failed:
        await team.run("hi", session_id="s")
    assert isinstance(failed.value.__cause__, ProviderError)
    result = await team.run(session_id="s")
    assert [message.text for message in result.conversation] == ["hi", "Whole."]
    fake.assert_done()


@every_wire
async def test_half_a_reply_is_none(fake: FakeProvider, wire: str, monkeypatch: pytest.MonkeyPatch):
    """A stream that ends in good order without saying that it is at its end was cut off, and is asked for again."""

    def half(self: Any, exchange: Exchange, dialect: Any, answer: Any) -> None:
        events = list(dialect.stream(answer))
        exchange.begin({})
        for event in events[: len(events) // 2]:
            exchange.write(event)
        exchange.end()

    fake.add([*"Half of it"], "Whole.")
    team = bikes(voice(fake, wire))
    with monkeypatch.context() as cut:
        cut.setattr(FakeProvider, "_stream", half)
        with pytest.raises(ModelError, match="broke off in the middle of a reply"):
            await team.run("hi", session_id="s")
    assert (await team.run(session_id="s")).text == "Whole."
    fake.assert_done()


@pytest.mark.parametrize("wire", [wire for wire in MODELS if wire != "gemini"])  # its arguments are always an object
@pytest.mark.parametrize("wrong", ['{"ticket": 12', "[12]", '{"ticket": NaN}', '{"ticket": "\\ud800"}', "[" * 3000])
async def test_malformed_arguments_break_nothing(fake: FakeProvider, wire: str, wrong: str):
    """What a model wrote goes back to it in a form every provider takes, with a result that says what was wrong."""
    fake.add([ToolCall("", "find_job", wrong)], [call("find_job", ticket=12)], "It is ready.")
    result = await bikes(voice(fake, wire)).run("My bike?")
    assert result.text == "It is ready."
    assert [each.outcome for message in result.conversation for each in message.tool_results] == ["error", "done"]
    fake.assert_done()


@every_wire
async def test_a_conversation_goes_on_elsewhere_and_comes_back(fake: FakeProvider, wire: str):
    """Every provider takes what was said at any other, calls and results included."""
    for other in MODELS:
        fake.add([Thinking("Hm.", SEAL), "One moment.", call("find_job", ticket=1)], "Ready.")
        fake.add([call("find_job", ticket=2)], "Also ready.", [call("find_job", ticket=3)], "And that.")
        team, elsewhere = bikes(voice(fake, wire)), bikes(voice(fake, other)).with_store
        there = elsewhere(team.store)
        await team.run("Ticket 1?", session_id=other)
        await there.run("Ticket 2?", session_id=other)
        assert (await team.run("Ticket 3?", session_id=other)).text == "And that."
        fake.assert_done()


@every_wire
async def test_a_request_begins_as_the_one_before(fake: FakeProvider, wire: str):
    """Letter by letter, the tools and instructions too: nothing is made anew, no time, no chance."""
    fake.add([Thinking("Hm.", SEAL), "One moment.", call("find_job", ticket=1)], "Ready.", [call("find_job", ticket=2)])
    fake.add("Also ready.")
    team = bikes(voice(fake, wire))
    await team.run("Ticket 1?", session_id="s")
    # As another process would.
    await bikes(voice(fake, wire)).with_store(team.store).run("Ticket 2?", session_id="s")
    sent = bodies(fake, wire)
    assert len(sent) == 4
    for before, after in pairwise(sent):
        shared = json.dumps(said(wire, before)).removesuffix("]")
        assert json.dumps(said(wire, after)).startswith(shared)
        rest = [{key: each for key, each in body.items() if each is not said(wire, body)} for body in (before, after)]
        assert json.dumps(rest[0]) == json.dumps(rest[1])
    fake.assert_done()


@every_wire
async def test_an_agent_that_lost_its_tools_is_still_understood(fake: FakeProvider, wire: str):
    """Calls of tools that are gone are declared to the provider, and it is told not to make any."""
    fake.add("Ready.")
    seen = [
        user("My bike?"),
        Message("assistant", (ToolCall("t1-s1-c0", "find_job", '{"ticket": 1}'),), "front"),
        Message("tool", (ToolResult("t1-s1-c0", "find_job", "ticket 1 is ready"),), "front"),
    ]
    chunks = [chunk async for chunk in voice(fake, wire).stream(ChatRequest(Agent("front"), seen))]
    assert chunks[0] == "Ready."
    assert "find_job" in json.dumps(bodies(fake, wire)[0]["tools"])
    fake.assert_done()


# --- What is a provider's own


@signing_wire
async def test_what_the_provider_sealed_comes_back_to_it_and_to_nobody_else(fake: FakeProvider, wire: str):
    """The same provider is shown its reply with the seal, also after a restart; the colleague it is quoted to is not."""
    fake.add([Thinking("Hm.", SEAL), "One moment.", call("find_job", ticket=1)], "Ready.", [handoff_to("workshop")])
    fake.add("I am the workshop.")
    team = bikes(voice(fake, wire))
    await team.run("Ticket 1?", session_id="s")
    await bikes(voice(fake, wire)).with_store(team.store).run("Mend it", session_id="s")
    assert list(map(holds_seal, bodies(fake, wire))) == [False, True, True, False]
    workshop = json.dumps(bodies(fake, wire)[-1])
    assert "[front] One moment." in workshop
    assert "Hm." not in workshop
    fake.assert_done()


@signing_wire
@pytest.mark.parametrize("other", MODELS)
async def test_a_seal_is_not_shown_to_another_provider(fake: FakeProvider, wire: str, other: str):
    """Nor what was thought, in no form; and when the first provider has its turn again, it gets both."""
    if other == wire:
        return
    fake.add([Thinking("Secretly.", SEAL), call("find_job", ticket=1)], "Ready.", "Hello.", "Welcome back.")
    team = bikes(voice(fake, wire))
    await team.run("Ticket 1?", session_id="s")
    await team.with_client(voice(fake, other), override=True).run("And you?", session_id="s")
    await team.run("And you?", session_id="s")
    elsewhere, back = bodies(fake, other)[0], bodies(fake, wire)[-1]
    assert (holds_seal(elsewhere), holds_seal(back)) == (False, True)
    assert "Secretly." not in json.dumps(elsewhere)
    fake.assert_done()


async def test_a_model_that_does_not_think_is_shown_no_thoughts(fake: FakeProvider):
    """Not of its own kin either, which it could only take for words it had said."""
    fake.add([Thinking("Secretly.", SEAL), "One moment.", call("find_job", ticket=1)], "Ready.", "Hello.")
    team = bikes(voice(fake, "openai-responses"))
    await team.run("Ticket 1?", session_id="s")
    plain = voice(fake, "openai-responses", "openai-responses:gpt-4o")
    await team.with_client(plain, override=True).run("And you?", session_id="s")
    assert "Secretly." not in json.dumps(bodies(fake, "openai-responses")[-1])
    fake.assert_done()


async def test_two_providers_in_one_team(fake: FakeProvider):
    """From OpenAI to Anthropic and back: both take every request, and each has only its own seals."""
    fake.add([Thinking("A.", "seal-of-openai"), handoff_to("workshop")])
    fake.add([Thinking("B.", "seal-of-anthropic"), call("find_job", ticket=1)], "Ready.", [handoff_to("front")])
    fake.add("I am the front desk.", [handoff_to("workshop")], "I am the workshop.")
    team = bikes(voice(fake, "openai-responses"), voice(fake, "anthropic"))
    for words in ("Ticket 1?", "Back, please.", "And again."):
        await team.run(words, session_id="s")
    openai, anthropic = json.dumps(bodies(fake, "openai-responses")), json.dumps(bodies(fake, "anthropic"))
    assert ("seal-of-openai" in openai, "seal-of-anthropic" in openai) == (True, False)
    assert ("seal-of-openai" in anthropic, "seal-of-anthropic" in anthropic) == (False, True)
    fake.assert_done()


async def test_a_message_that_was_changed_is_shown_as_it_is_now(fake: FakeProvider):
    """Whoever shortens what is shown to a model shortens it: what the provider kept beside it goes with it."""
    fake.add([Thinking("Hm.", SEAL), "My secret is 42."], "Well.")
    builder = HandoffBuilder(participants=[Agent("front", client=voice(fake, "anthropic"))])

    def without_secrets(messages: Any, _: str) -> list[Message]:
        return [
            Message(each.role, (Text("..."),), each.author_name, native=each.native)
            if each.role == "assistant"
            else each
            for each in messages
        ]

    team = builder.with_view("front", without_secrets).build()
    await team.run("hi", session_id="s")
    await team.run("and?", session_id="s")
    assert said("anthropic", bodies(fake, "anthropic")[1])[1]["content"] == [{"type": "text", "text": "..."}]


async def test_what_is_kept_beside_a_reply_is_small(fake: FakeProvider):
    """Words and arguments are in the journal once; the seal is beside them. Nothing is kept where nothing is sealed."""
    fake.add([Thinking("Hm.", SEAL), "One moment, I say.", call("find_job", ticket=1)], "Ready, I say.")
    team = bikes(voice(fake, "anthropic"))
    await team.run("Ticket 1?", session_id="s")
    first, second = await replies(team, "s")
    assert first.message.native == {
        "provider": "anthropic@127.0.0.1",
        "response": "msg_1",
        "parts": [
            {"kind": "thinking", "content": "Hm.", "signature": SEAL},
            {"kind": "text", "size": 18},
            {"kind": "call"},
        ],
    }
    assert second.message.native == {"provider": "anthropic@127.0.0.1", "response": "msg_2"}
    assert "native" not in repr(first.message)


# --- Who answers


@pytest.mark.parametrize(
    ("model", "wire"), [("mistral:mistral-large-latest", "mistral"), ("deepseek:deepseek-v4-pro", "deepseek")]
)
async def test_the_stricter_kin_of_openai(monkeypatch: pytest.MonkeyPatch, model: str, wire: str):
    """Mistral and DeepSeek are sent what they take: a handoff after results, ids of nine letters, thoughts with calls."""
    with FakeProvider() as elsewhere, FakeProvider() as fake:
        elsewhere.add([call("find_job", ticket=1), handoff_to("workshop")], "I am the workshop.", [handoff_to("front")])
        elsewhere.add("Here again.")
        team = bikes(voice(elsewhere, "openai-chat"))
        await team.run("Ticket 1?", session_id="s")
        await team.run("Front desk, please.", session_id="s")
        monkeypatch.setitem(PATHS, "/chat/completions", replace(OPENAI_CHAT, check=PROVIDERS[wire].check))
        fake.add("I am another.", "I too.")
        base = fake.base_url if wire == "mistral" else f"{fake.base_url}/v1"
        other = team.with_client(client(model, api_key=fake.key, base_url=base), override=True)
        assert (await other.run("Who are you?", session_id="s", to="front")).text == "I am another."
        assert (await other.run("Who are you?", session_id="s", to="workshop")).text == "I too."
        fake.assert_done()


async def test_thoughts_that_a_wire_has_a_field_for(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch):
    """DeepSeek wants its thoughts back beside its calls, without any signature."""
    monkeypatch.setitem(PATHS, "/chat/completions", replace(OPENAI_CHAT, check=PROVIDERS["deepseek"].check))
    fake.add([Thinking("Let me look."), call("find_job", ticket=1)], "Ready.")
    model = client("deepseek:deepseek-v4-pro", api_key=fake.key, base_url=f"{fake.base_url}/v1")
    assert (await bikes(model).run("Ticket 1?")).text == "Ready."
    assert fake.requests[1].body["messages"][2]["reasoning_content"] == "Let me look."
    fake.assert_done()


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("groq:openai/gpt-oss-20b", "/openai"),
        ("openrouter:qwen/qwen3.8-27b", "/v1"),
        ("ollama:llama3.2", "/v1"),
        ("openai:local-model", "/v1"),
        ("together:some/model", "/v1"),
    ],
)
async def test_all_that_speak_chat_completions(model: str, path: str):
    """A team works with them at whatever address they are."""
    with AnyPath() as fake:
        fake.add([call("find_job", ticket=1)], "Ready.")
        team = bikes(client(model, api_key=fake.key, base_url=fake.base_url + path))
        assert (await team.run("Ticket 1?")).text == "Ready."
        fake.assert_done()


class AnyPath(FakeProvider):
    """Where the addresses are longer than OpenAI's own."""

    def _answer(self, exchange: Exchange) -> None:
        exchange.target = exchange.target.replace("/openai", "")
        super()._answer(exchange)


def test_an_unknown_provider_is_named_with_the_nearest_and_all():
    """The sentence helps: what was meant, and what there is."""
    with pytest.raises(
        UsageError, match=r"no provider 'antropic'; did you mean 'anthropic'\? There are openai, .*ollama"
    ):
        client("antropic:claude")
    with pytest.raises(UsageError, match=r"'gpt-5' is no model; write PROVIDER:MODEL"):
        client("gpt-5")


@pytest.mark.parametrize("provider", [name for name, variables in KEYS.items() if variables])
def test_a_missing_key_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch, provider: str):
    """At once, when the client is made, and not when somebody speaks."""
    for variable in (*(each for variables in KEYS.values() for each in variables), "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match=" or ".join(KEYS[provider])):
        client(f"{provider}:some/model")
    monkeypatch.setenv(KEYS[provider][-1], "a-key")
    assert client(f"{provider}:some/model").about.endswith(":some/model")


async def test_a_team_that_names_its_models(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch):
    """`Agent(client="provider:model")` is found when the team is built, once for each name."""
    for name, value in fake.env.items():
        monkeypatch.setenv(name, value)
    fake.add([handoff_to("workshop")], "Hello.", "Bye.")
    team = bikes("openai:some-model", "anthropic:claude-opus-5-5")
    assert (await team.run("hi")).text == "Hello."
    assert [asked.dialect for asked in fake.requests] == ["openai-chat", "anthropic"]
    same = bikes("openai:some-model", "openai:some-model").performer.seats
    assert same["front"].client is same["workshop"].client
    mute = HandoffBuilder(participants=[Agent("solo")]).build()
    assert (await mute.with_client("openai:some-model").run("hi")).text == "Bye."
    with pytest.raises(BuildError, match="RL115 the client of 'front': there is no provider 'nobody'"):
        bikes("nobody:some-model")


def test_the_command_line_takes_a_model(fake: FakeProvider, tmp_path: Path):
    """`relayline chat --model openai:NAME` speaks through it."""
    fake.add("I am a real model.")
    (tmp_path / "team.py").write_text(
        "from relayline import Agent, HandoffBuilder\nteam = HandoffBuilder(participants=[Agent('front')]).build()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "relayline.cli", "chat", "team.py", "--model", "openai:m", "--store", "s.db"],
        cwd=tmp_path,
        env={
            **os.environ,
            **fake.env,
            "XDG_DATA_HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        },
        input="hi\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "front: I am a real model." in done.stdout, done.stderr


def test_azure_by_token_and_by_key(monkeypatch: pytest.MonkeyPatch):
    """A credential's token is asked for once while it is good, of sync and async credentials; a key does as well."""
    monkeypatch.delenv("OPENAI_API_VERSION", raising=False)

    class Sync:
        asked = 0

        def get_token(self, *scopes: str) -> Any:
            assert scopes == ("https://cognitiveservices.azure.com/.default",)
            type(self).asked += 1
            return SimpleNamespace(token="a-token", expires_on=int(time.time()) + 3600)

    class Async(Sync):
        asked = 0

        async def get_token(self, *scopes: str) -> Any:
            return super().get_token(*scopes)

    with AnyPath("One.", "Two.", "Three.", "Four.", "Five.", key="a-token") as fake:
        for credential in (Sync(), Async()):
            azure = AzureOpenAIChatClient(deployment="d", endpoint=fake.base_url, credential=credential)
            team = bikes(azure)
            assert asyncio.run(both(team))
            assert credential.asked == 1
        by_key = AzureOpenAIChatClient(deployment="d", endpoint=f"{fake.base_url}/openai/v1/", api_key="a-token")
        assert asyncio.run(speak(bikes(by_key))) == "Five."
        assert fake.requests[0].body["model"] == "d"
        fake.assert_done()


async def both(team: Workflow) -> bool:
    await team.run("hi", session_id="s")
    return bool(await team.run("hi", session_id="s"))


async def speak(team: Workflow) -> str:
    return (await team.run("hi")).text


def test_azure_without_an_endpoint(monkeypatch: pytest.MonkeyPatch):
    """The variable that is missing is named."""
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(UsageError, match="AZURE_OPENAI_ENDPOINT"):
        AzureOpenAIChatClient(deployment="d", api_key="k")


async def test_any_server_that_is_compatible(fake: FakeProvider):
    """`OpenAIChatClient(base_url=...)` speaks Chat Completions, whatever the model's name."""
    fake.add("Hello.")
    local = OpenAIChatClient(model="gpt-5.6-luna", api_key=fake.key, base_url=f"{fake.base_url}/v1")
    assert (await bikes(local).run("hi")).text == "Hello."
    assert [asked.dialect for asked in fake.requests] == ["openai-chat"]


# --- Settings


@every_wire
async def test_settings_reach_the_wire(fake: FakeProvider, wire: str):
    """An agent's settings are its own, in the words of the provider."""
    fake.add("Hello.")
    await bikes(voice(fake, wire), max_tokens=77, tool_choice="none", parallel_tool_calls=True).run("hi")
    (body,) = bodies(fake, wire)
    told = json.dumps(body)
    assert "77" in told
    assert '"none"' in told.lower()
    fake.assert_done()


async def test_a_setting_that_does_not_exist(fake: FakeProvider):
    """A misspelt name would change nothing and say nothing."""
    with pytest.raises(ModelError, match="there is no setting 'temprature'; did you mean 'temperature'"):
        await bikes(voice(fake, "openai-chat"), temprature=0).run("hi")
    with pytest.raises(BuildError, match="settings of agent 'x'"):
        Agent("x", settings="hot")  # type: ignore[arg-type]


async def test_nothing_is_kept_at_openai_unless_asked(fake: FakeProvider):
    """The conversation is in the journal; sealed thoughts travel with it. `openai_store` decides otherwise."""
    fake.add("Hello.", "Hello.")
    for settings in ({}, {"openai_store": True}):
        await bikes(voice(fake, "openai-responses"), **settings).run("hi")
    assert [body["store"] for body in bodies(fake, "openai-responses")] == [False, True]


@every_wire
async def test_a_reply_that_was_cut_short_says_so(fake: FakeProvider, wire: str):
    """In the message's metadata; an ordinary end is not worth a word."""
    fake.add(["Half a", ReplyInfo(metadata={"finish_reason": "length"})], "Whole.")
    team = bikes(voice(fake, wire))
    await team.run("hi", session_id="s")
    await team.run("go on", session_id="s")
    assert [fact.message.metadata for fact in await replies(team, "s")] == [{"finish_reason": "length"}, {}]


# --- Loops, connections, cancelling


class KeepsAlive(BaseHTTPRequestHandler):
    """Answers hello, and keeps the connection: what a real provider does and the fake one does not."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        delta = {"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def test_one_client_in_many_loops():
    """One after the other and at once, with connections that are kept; each loop closes its own when it ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), KeepsAlive) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        local = client("openai:m", api_key="k", base_url=f"http://127.0.0.1:{server.server_port}/v1")
        for _ in range(3):
            assert asyncio.run(both(bikes(local)))
        heard: list[str] = []
        threads = [threading.Thread(target=lambda: heard.append(asyncio.run(speak(bikes(local))))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard == ["Hello."] * 4
        server.shutdown()


async def test_a_reply_can_be_left(fake: FakeProvider):
    """Leaving a run in the middle of its words closes the connection and harms nothing."""
    fake.add(["Hello", Hang()], "Hello again.")
    team = bikes(voice(fake, "openai-chat"))
    run = team.run("hi", session_id="s", stream=True)
    async for event in run:
        if event.type == "message_delta":
            break
    await run.aclose()
    assert (await team.run(session_id="s")).text == "Hello again."


async def test_nobody_is_there():
    """A server that does not answer at all is named, with the reason."""
    away = client("openai:m", api_key="k", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ModelError, match=r"openai-chat:m failed: Connection error.*ConnectError"):
        await bikes(away, max_retries=0).run("hi")


# --- The package


def test_the_line_to_type_is_said_where_the_extra_is_missing():
    """In the error, whichever way the model was asked for."""
    script = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "from relayline import Agent, HandoffBuilder, MissingExtra\n"
        "try: HandoffBuilder(participants=[Agent('a', client='openai:m')]).build()\n"
        "except MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'relayline[models]'" in done.stdout


def test_a_provider_whose_package_is_missing():
    """A provider that is not in the extra says what it needs."""
    with pytest.raises(MissingExtra, match="pydantic-ai-slim"):
        client("bedrock:some-model")


def test_help_and_the_embedded_model_do_not_load_it():
    """It takes seconds."""
    script = (
        "import sys; from relayline.cli.commands import app; import relayline.clients.local\n"
        "print([name for name in sys.modules if name.startswith(('pydantic_ai', 'openai', 'anthropic'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


# --- The real ones, for whoever has a key

LIVE = {
    "openai": "gpt-5.6-luna",
    "openai-chat": "gpt-5.6-luna",
    "anthropic": "claude-haiku-5-5",
    "google": "gemini-3.5-flash-lite",
    "groq": "openai/gpt-oss-20b",
    "mistral": "mistral-small-latest",
    "deepseek": "deepseek-flash",
    "openrouter": "openai/gpt-oss-20b",
}


async def test_live_providers():
    """Whoever has a provider's key has a conversation with a tool and a handoff there."""
    having = [name for name in LIVE if any(map(os.environ.get, KEYS[name]))]
    for name in having:
        team = bikes(f"{name}:{LIVE[name]}", max_tokens=2000)
        result = await team.run("Hand me over to the workshop, which has to look up ticket 12.")
        assert "workshop" in {message.author_name for message in result.conversation}, name
    if missing := [name for name in LIVE if name not in having]:
        pytest.skip(f"live: ran {', '.join(having) or 'none'}; no key for {', '.join(missing)}")


# --- Media

PHOTO = Media.from_bytes(b"png", "image/png", "bike.png")
PDF = Media.from_bytes(b"pdf", "application/pdf", "bill.pdf")
FAR = Media("image/png", url="https://shop.example/bike.png")


@every_wire
async def test_an_image_is_shown_beside_the_words(fake: FakeProvider, wire: str):
    """By value and by reference, in the shape that a judge of the wire takes, and again with the next message."""
    fake.add("A bike.", "Still a bike.")
    team = bikes(voice(fake, wire))
    shown = (Text("What is this?"), PHOTO, *([] if wire == "gemini" else [FAR]))  # of an address it is told the content
    await team.run(Message("user", (*shown, Text(" "))), session_id="s")
    await team.run("Sure?", session_id="s")
    spelled = json.loads(json.dumps(bodies(fake, wire)).replace("mime_type", "mimeType"))  # Google takes both
    first, second = (said(wire, body) for body in spelled)
    assert json.dumps(first[-1]) in json.dumps(second)
    plain = PROVIDERS[wire].render(ChatRequest(Agent("a"), [Message("user", shown)]))
    assert holds(first[-1], said(wire, plain)[-1])


def holds(body: Any, wanted: Any) -> bool:
    """Whether a body says all that the plain rendering says."""
    if isinstance(wanted, dict):
        return all(key == "type" or (key in body and holds(body[key], each)) for key, each in wanted.items())
    if isinstance(wanted, list):
        return len(body) == len(wanted) and all(map(holds, body, wanted))
    return body == wanted


@every_wire
async def test_a_message_may_be_a_file_alone(fake: FakeProvider, wire: str):
    """Without a word beside it."""
    fake.add("A bill.")
    result = await bikes(voice(fake, wire)).run(Message("user", (PDF,)))
    assert result.text == "A bill."
    assert base64.b64encode(b"pdf").decode() in json.dumps(bodies(fake, wire))


RECORDING = Message("user", (Media.from_bytes(b"wav", "audio/wav", "noise.wav"),))


@pytest.mark.parametrize("wire", ["openai-responses", "anthropic"])
async def test_what_a_wire_has_no_field_for_is_refused_with_a_way_out(fake: FakeProvider, wire: str):
    """The run fails and says what to do; done so, the same session goes on."""
    fake.add("I cannot hear it.")
    team = bikes(voice(fake, wire))
    with pytest.raises(ModelError) as refused:
        await team.run(RECORDING, session_id="s")
    assert "with_view('front', views.words)" in str(refused.value)
    assert (await worded(team).run(session_id="s")).text == "I cannot hear it."


@pytest.mark.parametrize("wire", ["openai-chat", "gemini"])
async def test_recordings_are_played_where_they_can_be(fake: FakeProvider, wire: str):
    """Two of the wires have a field for audio."""
    fake.add("A rattle.")
    assert (await bikes(voice(fake, wire)).run(RECORDING)).text == "A rattle."


async def test_deepseek_reads_words_alone(fake: FakeProvider):
    """An image is refused before it is sent, and shown as a note the answer comes."""
    fake.add("I cannot see it.")
    team = bikes(client("deepseek:deepseek-chat", api_key=fake.key, base_url=f"{fake.base_url}/v1"))
    with pytest.raises(ModelError, match="reads words alone"):
        await team.run(Message("user", (Text("This?"), PHOTO)), session_id="s")
    assert not fake.requests
    await worded(team).run(session_id="s")
    assert "[image: bike.png]" in json.dumps(fake.requests[0].body)


def worded(team: Workflow) -> Workflow:
    """The same team on the same store, whose front desk is given words alone."""
    builder = HandoffBuilder(name=team.name, participants=team.agents).with_view("front", views.words)
    return builder.with_checkpointing(team.store).build()


# --- Outputs, and settings of a run


class Bill(BaseModel):
    """What is to be paid."""

    amount: int


def billing(voice: ModelClient, *tools: Any) -> Workflow:
    agent = Agent("front", "Bill.", client=voice, tools=tools, output_type=Bill)
    return HandoffBuilder(participants=[agent]).with_checkpointing(InMemoryCheckpointStorage()).build()


def asked_schema(wire: str, body: Any) -> Any:
    """The schema a body has in the place where its provider sees to it."""
    match wire:
        case "openai-chat":
            return body["response_format"]["json_schema"]["schema"]
        case "openai-responses":
            return body["text"]["format"]["schema"]
        case "anthropic":
            return body["output_config"]["format"]["schema"]
        case _:
            return body["generationConfig"]["responseJsonSchema"]


@every_wire
async def test_a_provider_that_can_sees_to_the_output(fake: FakeProvider, wire: str):
    """Beside tools, which stay on offer; and what does not fit all the same is repaired."""
    fake.add(call("find_job", ticket=1), '{"amount": "much"}', '{"amount": 38}')
    result = await billing(voice(fake, wire), find_job).run("What is it?")
    assert result.value == Bill(amount=38)
    for body in bodies(fake, wire):
        assert asked_schema(wire, body)["properties"] == {"amount": {"type": "integer"}}
        assert "find_job" in json.dumps(body["tools"])


async def test_where_no_provider_does_the_model_is_told(fake: FakeProvider):
    """DeepSeek has no schemas, and an older Gemini none beside tools; without tools it has."""
    fake.add(*['{"amount": 38}'] * 3)
    deepseek = client("deepseek:deepseek-chat", api_key=fake.key, base_url=f"{fake.base_url}/v1")
    gemini = voice(fake, "gemini", "google:gemini-2.5-flash")
    for each in (billing(deepseek), billing(gemini, find_job), billing(gemini)):
        assert (await each.run("What is it?")).value == Bill(amount=38)
    told = ["one JSON object that fits this schema" in json.dumps(asked.body) for asked in fake.requests]
    assert told == [True, True, False]
    assert asked_schema("gemini", fake.requests[2].body)["properties"]


@pytest.mark.parametrize(
    ("wire", "model", "place", "required"),
    [
        ("openai-chat", "", ("tool_choice",), "required"),
        ("openai-responses", "", ("tool_choice",), "required"),
        ("anthropic", "anthropic:claude-sonnet-4-6", ("tool_choice", "type"), "any"),
        ("gemini", "", ("toolConfig", "functionCallingConfig", "mode"), "ANY"),
    ],
)
async def test_tools_can_be_demanded_for_one_run(
    fake: FakeProvider, wire: str, model: str, place: tuple[str, ...], required: str
):
    """Of an agent always, by its settings; or by those of a run, and in the next it is free again."""
    fake.add("It is ready.", "It is ready.", "It is ready.")
    free = bikes(voice(fake, wire, model))
    await free.run("Is it ready?", session_id="s", settings={"tool_choice": "required"})
    await free.run("Sure?", session_id="s")
    await bikes(voice(fake, wire, model), tool_choice="required").run("Is it ready?")
    found: list[Any] = bodies(fake, wire)
    for key in place:
        found = [each.get(key, {}) for each in found]
    assert [each == required for each in found] == [True, False, True]


async def test_a_setting_of_a_run_that_does_not_exist_is_an_error(fake: FakeProvider):
    """Told with the nearest name; without it the same session goes on."""
    fake.add("Hi.")
    team = bikes(voice(fake, "openai-chat"))
    with pytest.raises(ModelError, match="did you mean 'temperature'"):
        await team.run("hi", session_id="s", settings={"temprature": 1})
    assert (await team.run(session_id="s")).text == "Hi."


async def test_a_model_that_refuses_an_image_is_told_apart(fake: FakeProvider):
    """What the provider says, and the way out, stand together; where no media is shown nothing is added."""
    fake.add(Fail(404, "No endpoints found that support image input."), Fail(404, "No such model."))
    team = bikes(voice(fake, "openai-chat"))
    with pytest.raises(ModelError, match=r"support image input\. .*with_view\('front', views\.words\)"):
        await team.run(Message("user", (PHOTO,)))
    with pytest.raises(ModelError) as plain:
        await team.run("hi")
    assert "views.words" not in str(plain.value)
