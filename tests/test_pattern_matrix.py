"""Every pattern with every kind of pause and end, on every kind of store: one conversation comes of it, whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from relayline import (
    ChatClient,
    ChatRequest,
    ConcurrentBuilder,
    GroupChatBuilder,
    HandoffBuilder,
    HumanAgent,
    InMemoryCheckpointStorage,
    InterruptedCallRequest,
    Message,
    SequentialBuilder,
    ToolCall,
    Workflow,
    WorkflowBuilder,
    WorkflowRunState,
    executor,
    tool,
)
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.testing import Crash, assert_replays, check_everywhere, crash_at


@tool(approval_mode="always_require")
def pay(order: int) -> str:
    """Pay it back."""
    return f"paid {order}"


@executor(repeatable=True)
def note(text: str) -> str:
    """Note it down."""
    return f"noted: {text.split()[0]}"


class Says(ChatClient):
    """Pays once if it may, hands over once if it can, and else says on how much it speaks."""

    def __init__(self) -> None:
        self.hold: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        check_everywhere(request)
        if self.hold is not None and request.agent.name == "cashier":
            self.begun.set()
            await self.hold.wait()
        done = any(each.role == "tool" for each in request.messages)
        handoffs = [spec for spec in request.tools if spec.target]
        if any(spec.name == "pay" for spec in request.tools) and not done:
            yield ToolCall("1", "pay", '{"order": 7}')
        elif handoffs and not done:
            yield ToolCall("1", handoffs[0].name, "{}")
        else:
            yield f"{request.agent.name} after {len(request.messages)}"


def handoff(members, client):
    front, *others = members
    builder = HandoffBuilder(participants=[client.as_agent("front"), *members]).add_handoff("front", front)
    for source, target in zip(members, others, strict=False):
        builder.add_handoff(source, target, always=True)
    return builder.with_terminal_agents([members[-1]])


def graph(members, client):
    first, *middle, last = members
    builder = WorkflowBuilder(start_executor=first).add_fan_out_edges(first, middle)
    return builder.add_fan_in_edges(middle, last)


PATTERNS: dict[str, Callable] = {
    "handoff": handoff,
    "sequential": lambda members, client: SequentialBuilder(participants=members),
    "concurrent": lambda members, client: ConcurrentBuilder(participants=members).with_aggregator(
        client.as_agent("sum")
    ),
    "group chat": lambda members, client: GroupChatBuilder(participants=members, max_rounds=len(members)),
    "graph": graph,
}


def team(pattern: str, client: Says, *, nested: bool = False, person: bool = False):
    """Four members: a writer, a cashier whose tool is gated, a function, and an agent or a person."""
    last = HumanAgent("jo", description="Decides.") if person else client.as_agent("closer", description="Closes.")
    members = [
        client.as_agent("writer", description="Writes."),
        client.as_agent("cashier", description="Pays.", tools=[pay]),
        note,
        last,
    ]
    if nested:
        pair = SequentialBuilder(name="pair", participants=members[:2]).build().as_agent(description="Two.")
        members = [pair, client.as_agent("reader", description="Reads."), *members[2:]]
    return PATTERNS[pattern](members, client)


STORES = {"memory": lambda path: InMemoryCheckpointStorage(), "sqlite": SqliteCheckpointStorage}

every = pytest.mark.parametrize("pattern", PATTERNS)
stored = pytest.mark.parametrize("kind", STORES)
deep = pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])


def answer(data: object) -> object:
    if isinstance(data, InterruptedCallRequest):
        return data.run_again()
    return "Fine by me." if hasattr(data, "handoffs") else True


async def whole(workflow: Workflow, store: Store) -> list[Message]:
    """Talk to the end, one answer at a time, from wherever it stands."""
    result = await workflow.run(None if await store.read("s", upto=1) else "Order 7.", session_id="s")
    while result.requests:
        first = result.requests[0]
        result = await workflow.run(responses={first.request_id: answer(first.data)})
    assert result.state is WorkflowRunState.IDLE
    assert_replays(await store.read("s"))
    return list(result.conversation)


@every
@stored
@deep
@pytest.mark.parametrize("person", [False, True], ids=["approval", "approval and person"])
async def test_pauses(pattern, kind, nested, person, tmp_path: Path):
    """Each is a request of the outer run; answered in another process, it goes on from there."""
    store, client = STORES[kind](tmp_path / "s.db"), Says()
    builder = team(pattern, client, nested=nested, person=person).with_checkpointing(store)
    asked: list[str] = []
    result = await builder.build().run("Order 7.", session_id="s")
    while result.requests:
        first = result.requests[0]
        asked.append(first.executor_id)
        # A workflow of its own each time: nothing is kept but the journal.
        result = await builder.build().run(responses={first.request_id: answer(first.data)})
    cashier = "pair/cashier" if nested else "cashier"
    assert set(asked) == {cashier, "jo"} if person else {cashier}
    said = [each.text for each in result.conversation if each.role == "tool" or each.text]
    assert any(each.startswith("noted: ") for each in said)
    assert [each.content for m in result.conversation for each in m.tool_results if each.name == "pay"] == ["paid 7"]
    assert_replays(await store.read("s"))
    await store.aclose()


@every
@stored
@deep
@pytest.mark.parametrize("written", [False, True], ids=["lost", "written"])
async def test_crashes(pattern, kind, nested, written, tmp_path: Path):
    """Killed at any append, and taken up again: the conversation that nobody killed."""
    client = Says()
    builder, smooth = team(pattern, client, nested=nested, person=True), InMemoryCheckpointStorage()
    wanted = await whole(builder.with_checkpointing(smooth).build(), smooth)
    at = crashed = 0
    while crashed == at:
        at += 1
        store = STORES[kind](tmp_path / f"{at}.db")
        crashing = crash_at(store, at, written=written)
        try:
            await whole(builder.with_checkpointing(crashing).build(), crashing)
        except Crash:
            crashed = at
        assert await whole(builder.with_checkpointing(store).build(), store) == wanted
        await store.aclose()
    assert at > 8


@every
@stored
@deep
async def test_cancels(pattern, kind, nested, tmp_path: Path):
    """Left in the middle of a reply, it goes on as if nobody had left; or a new message is heard instead."""
    client, store = Says(), STORES[kind](tmp_path / "s.db")
    builder = team(pattern, client, nested=nested)
    smooth = InMemoryCheckpointStorage()
    wanted = await whole(builder.with_checkpointing(smooth).build(), smooth)
    for session_id in ("resumed", "interrupted"):
        client.hold, client.begun = asyncio.Event(), asyncio.Event()
        workflow = builder.with_checkpointing(store).build()
        async with workflow.run("Order 7.", session_id=session_id):
            await asyncio.wait_for(client.begun.wait(), 30)
        client.hold = None
        heard = await workflow.run(None if session_id == "resumed" else "Wait.", session_id=session_id)
        while heard.requests:
            heard = await workflow.run(responses={each.request_id: True for each in heard.requests})
        assert heard.state is WorkflowRunState.IDLE
        said = list(heard.conversation)
        assert said == wanted if session_id == "resumed" else [each.text for each in said].count("Wait.") == 1
        assert_replays(await store.read(session_id))
    await store.aclose()
