"""What the patterns cost as they grow: CPU time per node, beside plain asyncio that calls the same, in the same run.

    python benchmarks/patterns.py                    all of it, about a minute
    python benchmarks/patterns.py concurrent chain   only these

Models and functions answer at once, so what is measured is the framework. The floor gathers the same models or awaits the
same functions, and keeps a list of messages. *Grows* is the cost per node beside that of the smallest of its kind: 1.0
is linear. CPU time of the whole process, the least of several rounds.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from relayline import (
    ChatClient,
    ChatRequest,
    ConcurrentBuilder,
    GroupChatBuilder,
    InMemoryCheckpointStorage,
    SequentialBuilder,
    Workflow,
    WorkflowBuilder,
    executor,
)
from relayline.messages import Message, Text, user

ASK, ANSWER = "q" * 120, "a" * 200


class Scripted(ChatClient):
    """Answers at once."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        yield ANSWER


CLIENT = Scripted()


def nodes(count: int) -> list:
    """Functions that hand their text on."""

    async def step(text: str) -> str:
        return text

    return [executor(step, name=f"n{number}", repeatable=True) for number in range(count)]


async def cpu(work: Callable[[], Awaitable[object]], rounds: int = 7) -> float:
    """The least CPU microseconds of ``work``, after once for nothing."""
    await work()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        await work()
        taken.append(time.process_time() - start)
    return min(taken) * 1e6


def concurrent(count: int) -> Workflow:
    return ConcurrentBuilder(participants=[CLIENT.as_agent(f"a{number}") for number in range(count)]).build()


def chain(count: int) -> Workflow:
    steps = nodes(count)
    return WorkflowBuilder(start_executor=steps[0], max_turns=None).add_chain(steps).build()


def lanes(count: int) -> Workflow:
    """Ten ways of the same length side by side, between a start and an end that waits for all."""
    steps = nodes(count)
    first, *middle, last = steps
    builder = WorkflowBuilder(start_executor=first, max_turns=None)
    ways = [middle[number::10] for number in range(10)]
    for way in ways:
        builder.add_edge(first, way[0]).add_chain(way)
    return builder.add_fan_in_edges([way[-1] for way in ways], last).build()


def sequential(count: int) -> Workflow:
    return SequentialBuilder(participants=nodes(count)).build()


def nested(count: int) -> Workflow:
    """A row of teams of ten."""
    steps = nodes(count)
    teams = [
        SequentialBuilder(name=f"t{at}", participants=steps[at : at + 10]).build().as_agent()
        for at in range(0, count, 10)
    ]
    return SequentialBuilder(participants=teams).build()


def chat(count: int) -> Workflow:
    """Functions that discuss, ``count`` turns."""
    return GroupChatBuilder(participants=nodes(5), max_rounds=count).build()


async def floor_of_models(count: int) -> None:
    async def one(number: int) -> Message:
        request = ChatRequest(CLIENT.as_agent(f"a{number}"), [user(ASK)])
        words = "".join([chunk async for chunk in CLIENT.stream(request) if isinstance(chunk, str)])
        return Message("assistant", (Text(words),), f"a{number}")

    await asyncio.gather(*map(one, range(count)))


async def floor_of_functions(count: int) -> None:
    talk = [user(ASK)]
    for step in nodes(1) * count:
        talk.append(Message("assistant", (Text(await step.function(talk[-1].text)),), step.name))


BENCHMARKS: dict[str, tuple[Callable[[int], Workflow], Callable[[int], Awaitable[None]], tuple[int, ...]]] = {
    "concurrent": (concurrent, floor_of_models, (5, 10, 50, 100)),
    "sequential": (sequential, floor_of_functions, (10, 100, 500)),
    "chain": (chain, floor_of_functions, (10, 100, 500)),
    "lanes": (lanes, floor_of_functions, (22, 102, 502)),
    "nested": (nested, floor_of_functions, (10, 100, 500)),
    "chat": (chat, floor_of_functions, (10, 100, 500)),
}


async def measure(name: str) -> None:
    build, floor, sizes = BENCHMARKS[name]
    first = 0.0
    for count in sizes:
        workflow = build(count).with_store(InMemoryCheckpointStorage())

        async def once(workflow: Workflow = workflow) -> object:
            return await workflow.run(ASK)

        ours, plain = await cpu(once) / count, await cpu(lambda count=count: floor(count)) / count
        first = first or ours
        print(f"| {name:<11} | {count:>5} | {ours:>10.1f} | {plain:>9.1f} | {ours / first:>6.2f} |", flush=True)


def main(chosen: list[str]) -> None:
    unknown = set(chosen) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    print("| pattern     | nodes | µs / node  | floor     | grows  |")
    print("|-------------|------:|-----------:|----------:|-------:|")
    for name in chosen or BENCHMARKS:
        asyncio.run(measure(name))


if __name__ == "__main__":
    main(sys.argv[1:])
