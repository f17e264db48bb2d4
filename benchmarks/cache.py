"""How much of a request a provider has in its prompt cache already, with and without ``share_prefix``.

    python benchmarks/cache.py              # what is on the wire, and what llama.cpp reads anew; a minute
    python benchmarks/cache.py wire         # only the wire

A conversation of three agents, four tools and four handoffs, which begins with a letter that the user pastes in. On the
wire: for each request, how many of its bytes are not the beginning of any request before, and what that costs where
cached bytes are a tenth of the price. With the server: how many tokens of each request it evaluated (``prompt_n``) and
had in its cache (``cache_n``), for bodies that are those of the wire; replies are scripted, so both layouts have the
same conversation.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from relayline import Agent, HandoffBuilder, Workflow, tool
from relayline.agent import ChatClient
from relayline.clients.models import client
from relayline.testing import FakeProvider, call, handoff_to
from tests.clients.conftest import SMOLLM2
from tests.clients.llama_server import KEY, LlamaServer

WIRES = {
    "openai-chat": ("openai-chat:gpt-5.6-luna", "/v1"),
    "openai-responses": ("openai-responses:gpt-5.6-luna", "/v1"),
    "anthropic": ("anthropic:claude-opus-5-5", ""),
    "gemini": ("google:gemini-3.1-pro-preview", ""),
}
READ = ("tools", "system", "instructions", "systemInstruction", "messages", "input", "contents")
LETTERS = (0, 3_000, 30_000)  # bytes
LETTER = "The bell is loose, the chain squeaks, and the tyre has lost its air again since Sunday. "
CHEAP = 0.1  # of the price, where it is cached
RULES = "Ask for the ticket before you look anything up. Never promise a day. Prices are those of the list. "


@tool(repeatable=True)
def find_job(ticket: int) -> str:
    """Look a repair up by its ticket."""
    return f"ticket {ticket}: red city bike, flat tyre, ready on Monday, 12.50"


@tool(repeatable=True)
def order_part(name: str, count: int = 1) -> str:
    """Order a part from the wholesaler."""
    return f"{count} x {name} ordered, here on Friday"


@tool(repeatable=True)
def find_invoice(number: int) -> str:
    """Look an invoice up by its number."""
    return f"invoice {number}: 12.50, open"


@tool(repeatable=True)
def opening_hours() -> str:
    """When the shop is open."""
    return "Tuesday to Saturday, 9 to 6"


def bikes(voice: ChatClient, *, share_prefix: bool) -> Workflow:
    def agent(name: str, task: str, description: str, *tools: Any) -> Agent:
        return Agent(name, f"You are the {name} of a bike shop. {task} {RULES * 3}".strip(), description, tools, voice)

    agents = [
        agent("front", "Greet, and find out what is wanted.", "first contact", opening_hours),
        agent("workshop", "Say how repairs are going.", "repairs and parts", find_job, order_part),
        agent("office", "Answer for invoices.", "invoices and payment", find_invoice),
    ]
    return HandoffBuilder(name="bikes", participants=agents, share_prefix=share_prefix).build()


SCRIPT = [
    [handoff_to("workshop", reason="a repair")],
    [call("find_job", ticket=12)],
    "Your red bike is ready on Monday. It comes to 12.50.",
    [handoff_to("office", reason="an invoice")],
    [call("find_invoice", number=7)],
    "Invoice 7 is open: 12.50.",
    [handoff_to("workshop", reason="a part")],
    [call("order_part", name="bell")],
    "A bell is ordered; it is here on Friday.",
    [handoff_to("front")],
    "We are open from Tuesday to Saturday.",
]
WORDS = ["Is ticket 12 ready?", "And invoice 7?", "Order a bell, please.", "When are you open?"]


def bodies(wire: str, letter: int, *, share_prefix: bool) -> list[dict[str, Any]]:
    name, path = WIRES[wire]
    said = [f"{WORDS[0]} {LETTER * (letter // len(LETTER))}".strip(), *WORDS[1:]]

    async def talk(team: Workflow) -> None:
        for words in said:
            await team.run(words, session_id="s")

    with FakeProvider(*SCRIPT) as fake:
        voice = client(name, api_key=fake.key, base_url=fake.base_url + path)
        asyncio.run(talk(bikes(voice, share_prefix=share_prefix)))
        fake.assert_done()
        return [asked.body for asked in fake.requests]


def new_bytes(wire: str, letter: int, *, share_prefix: bool) -> tuple[int, int]:
    """Of all requests: bytes that a model reads, and those no cache can have."""
    sent = bodies(wire, letter, share_prefix=share_prefix)
    prompts = ["".join(json.dumps(body[key])[:-1] for key in READ if key in body) for body in sent]
    new = [
        len(prompt) - max((begins_alike(prompt, earlier) for earlier in prompts[:number]), default=0)
        for number, prompt in enumerate(prompts)
    ]
    return sum(map(len, prompts)), sum(new)


def begins_alike(one: str, other: str) -> int:
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def read_anew(address: str, letter: int, *, share_prefix: bool) -> Iterator[tuple[int, int]]:
    """For each request the tokens that llama.cpp has in its cache, and those it evaluates."""
    for body in bodies("openai-chat", letter, share_prefix=share_prefix):
        given = {**body, "stream": False, "max_tokens": 1, "temperature": 0}
        given.pop("stream_options", None)
        connection = HTTPConnection(urlsplit(address).netloc, timeout=120)
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(given), headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        timings = answer["timings"]
        yield timings["cache_n"], timings["prompt_n"]


def wire() -> None:
    print(f"{'on the wire, bytes':20}{'letter':>8}{'layout':>8}{'sent':>9}{'new':>9}{'cached':>9}{'cost':>9}")
    for name in WIRES:
        for letter in LETTERS:
            for share_prefix in (False, True):
                sent, new = new_bytes(name, letter, share_prefix=share_prefix)
                layout, cost = "shared" if share_prefix else "own", new + CHEAP * (sent - new)
                print(f"{name:20}{letter:8}{layout:>8}{sent:9}{new:9}{1 - new / sent:9.1%}{cost:9.0f}")


def server() -> None:
    from relayline.clients import weights

    model = weights.cache_folder() / "tests" / SMOLLM2.name
    if not model.exists():
        sys.exit(f"{model} is not there; the tests fetch it: pytest -m gguf")
    print(f"\n{'llama.cpp, tokens':20}{'letter':>8}{'layout':>8}{'sent':>9}{'read':>9}{'cached':>9}   read, by request")
    for room, letter in product((0, 512), LETTERS[:2]):
        for share_prefix in (False, True):
            with LlamaServer(model, cache_mib=room) as llama:
                each = list(read_anew(llama.upstream, letter, share_prefix=share_prefix))
            sent, read = sum(map(sum, each)), sum(new for _, new in each)
            layout, name = "shared" if share_prefix else "own", f"{room} MiB of prompts" if room else "one prompt kept"
            several = " ".join(str(new) for _, new in each)
            print(f"{name:20}{letter:8}{layout:>8}{sent:9}{read:9}{1 - read / sent:9.1%}   {several}")


if __name__ == "__main__":
    wire()
    if sys.argv[1:] != ["wire"]:
        server()
