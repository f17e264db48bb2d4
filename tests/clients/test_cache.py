"""What a provider's prompt cache goes by: how much of a request is the beginning of one before it, on the wire."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_ai", reason="real models are an extra")

from relayline import Agent, HandoffBuilder, Workflow, tool
from relayline.agent import ChatClient
from relayline.clients.models import DEFAULTS, ModelClient, _plan, client
from relayline.testing import FakeProvider, Thinking, call, handoff_to

MODELS = {
    "openai-chat": "openai-chat:gpt-5.6-luna",
    "openai-responses": "openai-responses:gpt-5.6-luna",
    "anthropic": "anthropic:claude-opus-5-5",
    "gemini": "google:gemini-3.1-pro-preview",
}
LONG = "Be kind, and say what you know. " * 40

every_wire = pytest.mark.parametrize("wire", MODELS)
either_way = pytest.mark.parametrize("share_prefix", [False, True], ids=["own", "shared"])


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider
        provider.assert_done()


def address(fake: FakeProvider, wire: str) -> str:
    return fake.base_url + ("/v1" if wire.startswith("openai") else "")


def voice(fake: FakeProvider, wire: str) -> ModelClient:
    return client(MODELS[wire], api_key=fake.key, base_url=address(fake, wire))


def at_the_provider_itself(fake: FakeProvider, wire: str) -> ModelClient:
    """A client that takes the fake for the real one."""
    _, build, _ = _plan(wire, MODELS[wire].partition(":")[2], fake.key, address(fake, wire))
    return ModelClient(wire, build, DEFAULTS.get(wire, {}))


@tool(repeatable=True)
def find_job(ticket: int) -> str:
    """Look a repair up."""
    return f"ticket {ticket} is ready"


@tool(repeatable=True)
def take_in(bike: str, fault: str = "") -> str:
    """Write down what is to be mended."""
    return f"{bike}: {fault}"


def bikes(voice: ChatClient, *, share_prefix: bool = False, **settings: Any) -> Workflow:
    agents = [
        Agent("front", f"Greet. {LONG}", "first contact", [take_in], voice, settings=settings),
        Agent("workshop", f"Repair. {LONG}", "repairs", [find_job], voice, settings=settings),
    ]
    return HandoffBuilder(name="bikes", participants=agents, share_prefix=share_prefix).build()


def prompt(wire: str, body: Any) -> str:
    """What of a body the model reads, in the order in which providers read it: tools, instructions, conversation."""
    said = json.dumps(body[{"gemini": "contents", "openai-responses": "input"}.get(wire, "messages")]).removesuffix("]")
    first = ("tools", "system", "instructions", "systemInstruction", "system_instruction")
    return json.dumps([body.get(key) for key in first]) + said


def shares(wire: str, bodies: list[Any]) -> list[float]:
    """How much of each prompt is the beginning of the next one, too."""
    prompts = [prompt(wire, body) for body in bodies]
    return [begins_alike(before, after) / len(before) for before, after in pairwise(prompts)]


def begins_alike(one: str, other: str) -> int:
    """How many characters."""
    return next((at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))


def script(fake: FakeProvider) -> None:
    fake.add([call("take_in", bike="red")], [Thinking("Hm.", "c2VhbGVk"), "One moment.", handoff_to("workshop")])
    fake.add([call("find_job", ticket=1)], "It is ready.", [handoff_to("front")], "Front again.", "Bye.")


async def talk(team: Workflow) -> None:
    for words in ("My red bike?", "Back, please.", "Thanks."):
        await team.run(words, session_id="s")


@every_wire
async def test_an_agent_that_has_the_conversation_again_sends_what_it_sent(fake: FakeProvider, wire: str):
    """At least 95 % of its last request is the beginning of the next, colleagues' turns in between or not."""
    script(fake)
    await talk(bikes(voice(fake, wire)))
    bodies = [asked.body for asked in fake.requests]
    front, workshop = [bodies[n] for n in (0, 1, 5, 6)], bodies[2:5]
    assert min(shares(wire, front) + shares(wire, workshop)) >= 0.95
    assert shares(wire, bodies)[1] < 0.8  # and a handoff, without sharing, begins anew


@every_wire
async def test_with_a_shared_prefix_every_request_goes_on(fake: FakeProvider, wire: str):
    """Whoever speaks: the request before is the beginning of the next one."""
    script(fake)
    await talk(bikes(voice(fake, wire), share_prefix=True))
    several = shares(wire, [asked.body for asked in fake.requests])
    # On Chat Completions a call is sent with an empty thought, while the turn is on in which anybody had one.
    assert sum(each == 1 for each in several) >= len(several) - (wire == "openai-chat")
    assert min(several) >= 0.95


PROGRAM = """
import asyncio, hashlib, json
from relayline.testing import FakeProvider
from tests.clients.test_cache import MODELS, bikes, script, talk, voice
for wire in MODELS:
    for share_prefix in (False, True):
        with FakeProvider() as fake:
            script(fake)
            asyncio.run(talk(bikes(voice(fake, wire), share_prefix=share_prefix)))
            fake.assert_done()
            print(wire, hashlib.sha256(json.dumps([asked.body for asked in fake.requests]).encode()).hexdigest())
"""


def test_the_same_bytes_in_every_process():
    """Whatever its hash seed: another process goes on with the cache of the first."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *map(os.path.abspath, sys.path)])
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            cwd=root,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate(timeout=60)[0] for process in started)
    assert one == other
    assert one.count("\n") == 2 * len(MODELS)


# --- What providers are told of their caches


async def test_anthropic_is_asked_to_keep_what_it_read(fake: FakeProvider):
    """After the tools, the instructions and the last message; `cache` says otherwise."""
    fake.add("Hello.", "Hello.")
    for settings in ({}, {"cache": False}):
        await bikes(at_the_provider_itself(fake, "anthropic"), **settings).run("hi")
    asked, silent = (request.body for request in fake.requests)
    point = {"type": "ephemeral", "ttl": "5m"}
    assert (
        asked["cache_control"] == asked["system"][-1]["cache_control"] == asked["tools"][-1]["cache_control"] == point
    )
    assert "cache_control" not in json.dumps(silent)


def test_a_gateway_is_not(monkeypatch: pytest.MonkeyPatch):
    """It may refuse what it does not know."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    assert client("anthropic:claude-opus-5-5")._settings == {"cache": True}
    assert client("anthropic:claude-opus-5-5", base_url="http://127.0.0.1:9")._settings == {}
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    assert client("anthropic:claude-opus-5-5")._settings == {}


@either_way
@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
async def test_openai_is_told_what_belongs_together(fake: FakeProvider, wire: str, share_prefix: bool):
    """One key for an agent in a session, or for all of them where they share; an agent's setting is its own."""
    for _ in range(3):
        script(fake)
    team = bikes(at_the_provider_itself(fake, wire), share_prefix=share_prefix)
    await talk(team)
    await talk(bikes(at_the_provider_itself(fake, wire), share_prefix=share_prefix))
    keys = [asked.body["prompt_cache_key"] for asked in fake.requests]
    assert keys[:7] == keys[7:]
    assert len(set(keys)) == (1 if share_prefix else 2)
    assert all(len(key) <= 64 and "s/" not in key for key in keys)
    await talk(bikes(at_the_provider_itself(fake, wire), share_prefix=share_prefix, openai_prompt_cache_key="mine"))
    assert {asked.body["prompt_cache_key"] for asked in fake.requests[14:]} == {"mine"}


async def test_another_server_is_told_no_key(fake: FakeProvider):
    """It may refuse what it does not know."""
    fake.add("Hello.")
    await bikes(voice(fake, "openai-chat")).run("hi")
    assert "prompt_cache_key" not in fake.requests[0].body


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
async def test_openai_is_told_which_of_all_tools_may_be_called(fake: FakeProvider, wire: str):
    """With a shared prefix the list of tools stays as it is, and what may be called stands beside it."""
    script(fake)
    await talk(bikes(at_the_provider_itself(fake, wire), share_prefix=True))
    front, workshop = fake.requests[0].body, fake.requests[2].body
    assert front["tools"] == workshop["tools"]
    assert len(front["tools"]) == 4
    told = [json.dumps(body["tool_choice"]) for body in (front, workshop)]
    assert [("take_in" in each, "find_job" in each, "allowed_tools" in each) for each in told] == [
        (True, False, True),
        (False, True, True),
    ]
    assert min(shares(wire, [asked.body for asked in fake.requests])) >= 0.95
