"""What relayline itself costs: CPU time beside a plain asyncio loop that does the same work, in the same run.

    python benchmarks/core.py            all of it, about a minute
    python benchmarks/core.py turn tool  only these

Every model is scripted and answers at once, so what is measured is the framework. The floor keeps a list of messages,
calls the same client and the same tool, and knows nothing of journals, rules or people. CPU time of the whole process,
median of several rounds; figures of one machine are only good for comparison with each other.
"""

import asyncio
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from relayline import (
    Agent,
    ChatClient,
    ChatRequest,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    ReplyInfo,
    ToolCall,
    Workflow,
    tool,
)
from relayline.agent import Chunk
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.messages import Message, Text, ToolResult, user

logging.getLogger("relayline").setLevel("ERROR")  # the teams here are odd on purpose

ASK, ANSWER, FOUND = "q" * 120, "a" * 200, "f" * 200
Row = tuple[str, str, float, float]


class Scripted(ChatClient):
    """Answers by a rule, at once."""

    def __init__(self, rule: Callable[[ChatRequest], list[Chunk]]) -> None:
        self.rule = rule

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        for chunk in self.rule(request):
            yield chunk


@tool(repeatable=True)
async def lookup(key: str) -> str:
    """Look something up."""
    return FOUND


def handing_over(times: int) -> Callable[[ChatRequest], list[Chunk]]:
    """A rule that hands over ``times`` times and then answers."""
    left = times

    def rule(request: ChatRequest) -> list[Chunk]:
        nonlocal left
        if left == 0:
            left = times
            return [ANSWER]
        left -= 1
        return [ToolCall("1", next(spec.name for spec in request.tools if spec.target))]

    return rule


def looking_up(request: ChatRequest) -> list[Chunk]:
    """A rule that calls the tool for every message of the user and then answers."""
    return [ANSWER] if request.messages[-1].role == "tool" else [ToolCall("1", "lookup", '{"key": "k"}')]


def team(rule: Callable[[ChatRequest], list[Chunk]], store: Store | None = None) -> Workflow:
    client = Scripted(rule)
    agents = [
        Agent("triage", "Route.", tools=[lookup], client=client),
        Agent("desk", "Help.", tools=[lookup], client=client),
    ]
    return (
        HandoffBuilder(participants=agents)
        .with_checkpointing(store or InMemoryCheckpointStorage())
        .with_loop_control(max_hops=None, allow_cycles=True)
        .build()
    )


async def floor(
    rule: Callable[[ChatRequest], list[Chunk]], talk: list[Message], agents: list[Agent], at: int = 0
) -> int:
    """One user turn without a framework: who speaks, a list of messages, tools called by hand."""
    client = Scripted(rule)
    talk.append(user(ASK))
    while True:
        chunks = [chunk async for chunk in client.stream(ChatRequest(agents[at], talk, SPECS))]
        parts = [
            Text(chunk) if isinstance(chunk, str) else chunk for chunk in chunks if not isinstance(chunk, ReplyInfo)
        ]
        talk.append(Message("assistant", tuple(parts), agents[at].name))
        calls = [part for part in parts if isinstance(part, ToolCall)]
        if not calls:
            return at
        for call in calls:
            if call.name.startswith("handoff_to_"):
                at = 1 - at
                content = "ok"
            else:
                content = await lookup.function(**json.loads(call.arguments))
            talk.append(Message("tool", (ToolResult(call.id, call.name, content),), agents[at].name))


SPECS = team(looking_up).performer.seats["triage"].specs
PAIR = [Agent("triage"), Agent("desk")]


async def cpu(work: Callable[[], Awaitable[object]], rounds: int, each: int) -> float:
    """Median CPU microseconds of ``work``, over ``rounds`` of ``each`` calls."""
    await work()
    taken: list[float] = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(each):
            await work()
        taken.append((time.process_time() - start) / each)
    return statistics.median(taken) * 1e6


async def turn() -> list[Row]:
    """A new conversation: triage hands over, the specialist answers."""
    workflow = team(handing_over(1))
    rule = handing_over(1)
    ours = await cpu(lambda: _spoken(workflow), 15, 100)
    plain = await cpu(lambda: floor(rule, [], PAIR), 15, 100)
    return [("one handoff turn", "µs / conversation", ours, plain)]


async def _spoken(workflow: Workflow) -> object:
    return await workflow.run(ASK)


async def handoffs() -> list[Row]:
    """One run in which the agents hand over N times."""
    rows: list[Row] = []
    for times in (10, 100, 1_000):
        workflow, rule = team(handing_over(times)), handing_over(times)
        ours = await cpu(lambda workflow=workflow: _spoken(workflow), 3 if times > 100 else 7, 1)
        plain = await cpu(lambda rule=rule: floor(rule, [], PAIR), 3 if times > 100 else 7, 1)
        rows.append((f"{times:,} handoffs in one run", "µs / handoff", ours / times, plain / times))
    return rows


async def tools() -> list[Row]:
    """One conversation of 500 turns, each with a tool call, in memory and on SQLite."""
    talk: list[Message] = []
    plain = await _turns(lambda: floor(looking_up, talk, PAIR))
    rows = _table("turn with a tool, in memory", await _turns(_next(team(looking_up))), plain)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        store = SqliteCheckpointStorage(path)
        rows += _table("turn with a tool, SQLite", await _turns(_next(team(looking_up, store))), plain)
        facts = await store.read("s")
        await store.aclose()
        from relayline.journal.codec import encode

        rows.append(
            (
                "500 such turns on disk",
                "MB, beside the JSON of the facts",
                path.stat().st_size / 1e6,
                sum(len(encode(entry.fact)) for entry in facts) / 1e6,
            )
        )
        start = time.process_time()
        reopened = SqliteCheckpointStorage(path)
        await team(looking_up, reopened).session("s")
        rows.append(("opening that session anew", "ms", (time.process_time() - start) * 1e3, float("nan")))
        await reopened.aclose()
    return rows


def _next(workflow: Workflow) -> Callable[[], Awaitable[object]]:
    async def work() -> object:
        return await workflow.run(ASK, session_id="s")

    return work


async def _turns(work: Callable[[], Awaitable[object]]) -> list[float]:
    taken: list[float] = []
    for _ in range(500):
        start = time.process_time()
        await work()
        taken.append((time.process_time() - start) * 1e6)
    return taken


def _table(name: str, ours: list[float], plain: list[float]) -> list[Row]:
    return [
        (
            f"{name}, at turn {at}",
            "µs / turn",
            statistics.median(ours[at - 10 : at + 10]),
            statistics.median(plain[at - 10 : at + 10]),
        )
        for at in (10, 100, 490)
    ]


async def tokens() -> list[Row]:
    """A reply of many tokens, one a chunk, each after giving way once, as a socket would."""
    count = 4_000

    class Streaming(ChatClient):
        async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
            for _ in range(count):
                await asyncio.sleep(0)
                yield "token "

    agents = [Agent("triage", client=Streaming()), Agent("desk", client=Streaming())]
    workflow = HandoffBuilder(participants=agents).build()

    async def ours() -> int:
        seen = 0
        async for event in workflow.run(ASK, stream=True):
            seen += event.type == "message_delta"
        assert seen == count
        return seen

    async def plain() -> str:
        return "".join(
            [chunk async for chunk in Streaming().stream(ChatRequest(PAIR[0], ())) if isinstance(chunk, str)]
        )

    return [("streamed token", "µs / token", await cpu(ours, 7, 1) / count, await cpu(plain, 7, 1) / count)]


async def imports() -> list[Row]:
    """`import relayline` in a process of its own, beside a bare interpreter."""

    def run(code: str) -> float:
        program = f"import time\nstart = time.process_time()\n{code}\nprint(time.process_time() - start)"
        runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, check=True) for _ in range(7)]
        return statistics.median(float(each.stdout) for each in runs) * 1e3

    return [
        (
            "import relayline",
            "ms, beside import asyncio + pydantic",
            run("import relayline"),
            run("import asyncio, pydantic\nfrom pydantic import BaseModel, TypeAdapter"),
        )
    ]


BENCHMARKS = {each.__name__: each for each in (turn, handoffs, tools, tokens, imports)}


def main(chosen: list[str]) -> None:
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    print(f"| {'what':<36} | {'unit':<38} | {'relayline':>10} | {'floor':>10} |")
    print(f"|{'-' * 38}|{'-' * 40}|{'-' * 11}:|{'-' * 11}:|")
    for name in chosen or BENCHMARKS:
        for what, unit, ours, plain in asyncio.run(BENCHMARKS[name]()):
            print(f"| {what:<36} | {unit:<38} | {ours:>10,.2f} | {plain:>10,.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
