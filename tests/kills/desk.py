"""What is killed: a desk whose tools leave a trace outside of every journal, and whose model follows from what it reads.

So whoever comes after a crash can compare what the journals say with what was done.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

from relayline import Agent, ChatClient, ChatRequest, HandoffBuilder, Tool, ToolCall, ToolContext, Workflow, tool
from relayline.agent import Chunk
from relayline.journal.store import Store
from relayline.testing import call, check_everywhere, handoff_to

TURNS = 4
"""How many messages the user of each session has."""

MOMENT = 0.003
"""Seconds that a model or a tool takes; long enough to be killed in."""


class Ledger:
    """What was done in the world: one line each, kept by the system and not by the process that dies."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ledger"
        self._bank = folder / "bank"
        self._bank.mkdir(exist_ok=True)

    def note(self, *words: str) -> None:
        """Write a line, whole or not at all."""
        file = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, (" ".join(words) + "\n").encode())
        finally:
            os.close(file)

    def lines(self) -> list[tuple[str, str]]:
        """What was noted: what happened, and the key it happened under."""
        text = self._file.read_text() if self._file.exists() else ""
        return [(what, key) for what, key in (line.split(" ", 1) for line in text.splitlines())]

    def pay(self, key: str) -> None:
        """A bank that takes keys: the second payment under one is none."""
        (self._bank / key.replace("/", "~")).touch()

    def paid(self) -> set[str]:
        return {each.name.replace("~", "/") for each in self._bank.iterdir()}


class Model(ChatClient):
    """Answers the same wherever the conversation stands, however often it is asked."""

    def __init__(self, ledger: Ledger, moment: float) -> None:
        self._ledger = ledger
        self._moment = moment

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        check_everywhere(request)
        await asyncio.sleep(self._moment)
        self._ledger.note("model", f"{request.session}/{len(request.messages)}")
        for chunk in _reply(request):
            yield chunk


def _reply(request: ChatRequest) -> list[str | ToolCall]:
    own = [place for place, each in enumerate(request.messages) if each.role == "user" and not each.author_name]
    turn, since = len(own), request.messages[own[-1] + 1 :]
    if request.agent.name == "triage":
        back = since and since[-1].author_name == "desk"
        return [f"Turn {turn} is done, says triage."] if back else [f"Turn {turn}. ", handoff_to("desk", reason="work")]
    match sum(each.role == "tool" for each in since):
        case 0:
            return ["Looking. ", call("look", turn=turn), call("pay", turn=turn)]
        case 1:
            return [call("send", turn=turn), call("refund", turn=turn), call("look", turn=-turn)]
        case _ if turn % 2:
            return [handoff_to("triage")]
        case _:
            return [f"Turn {turn} is done."]


def team(store: Store, folder: Path, moment: float = MOMENT, release: int = 0) -> Workflow:
    """The desk, on a store, with its ledger in ``folder``. Each ``release`` of it has another tool that nobody calls."""
    ledger = Ledger(folder)

    @tool(repeatable=True)
    async def look(turn: int, context: ToolContext) -> str:
        """Read something."""
        await asyncio.sleep(moment)
        ledger.note("look", context.idempotency_key)
        return f"found {turn}"

    @tool(repeatable=True)
    async def pay(turn: int, context: ToolContext) -> str:
        """Pay, under a key."""
        ledger.note("pay", context.idempotency_key)
        ledger.pay(context.idempotency_key)
        await asyncio.sleep(moment)
        return f"paid {turn}"

    @tool
    async def send(turn: int, context: ToolContext) -> str:
        """Send a letter; nobody can tell afterwards whether it is the same one."""
        return await _once("send", f"sent {turn}", context.idempotency_key)

    @tool(approval_mode="always_require")
    async def refund(turn: int, context: ToolContext) -> str:
        """Give money back, if a person says so."""
        return await _once("refund", f"refunded {turn}", context.idempotency_key)

    async def nothing(_: object, __: ToolContext) -> str:
        return ""

    news = Tool.from_schema(f"new_in_{release}", "Does nothing.", {}, nothing)

    async def _once(what: str, said: str, key: str) -> str:
        ledger.note("began", key)
        await asyncio.sleep(moment)
        ledger.note("took-effect", key)
        await asyncio.sleep(moment)
        return said

    model = Model(ledger, moment)
    triage = Agent("triage", client=model, description="Takes every message first.")
    desk = Agent("desk", client=model, description="Does the work.", tools=[look, pay, send, refund, news])
    return HandoffBuilder(name="desk", participants=[triage, desk]).with_checkpointing(store).build()
