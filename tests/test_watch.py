"""Watching a session that somebody else runs."""

import asyncio
import sys
from pathlib import Path

import pytest

from relayline import Agent, HandoffBuilder, InMemoryCheckpointStorage, SessionNotFound, Workflow, WorkflowEvent, tool
from relayline.history import compact
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.testing import FakeClock, Reply, ScriptedClient, call, handoff_to


@tool(approval_mode="always_require")
def refund(order: str) -> str:
    """Pay money back."""
    return f"refunded {order}"


def desk(store: Store, *replies: Reply) -> Workflow:
    client = ScriptedClient(*replies)
    triage, orders = Agent("triage", client=client), Agent("orders", client=client, tools=[refund])
    return HandoffBuilder(name="desk", participants=[triage, orders]).with_checkpointing(store).build()


async def told(run) -> list[WorkflowEvent]:
    """What the caller of a run is given, less what has no number."""
    return [event async for event in run if event.seq is not None]


async def test_a_watcher_sees_what_the_caller_sees_as_it_happens():
    """Handoffs, calls, requests, answers and the end, from before the session begins until it rests."""
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = desk(store, handoff_to("orders"), [call("refund", order="A")], "Done.")
    seen: list[WorkflowEvent] = []

    async def follow() -> None:
        async for event in workflow.watch("s"):
            seen.append(event)
            if event.type == "request_info" and event.request_id == "s/r2":
                break

    watching = asyncio.create_task(follow())
    shown = await told(workflow.run("Refund A.", session_id="s"))
    shown += await told(workflow.run(responses={"s/r1": True}))
    async with asyncio.timeout(20):
        await watching
    assert seen == shown
    assert [event.seq for event in seen] == [*range(1, len(seen) + 1)]
    assert {"handoff_sent", "tool_call", "tool_result", "request_info", "request_answered", "message"} <= {
        event.type for event in seen
    }


async def test_a_watcher_goes_on_where_it_was():
    """After the last number it saw: nothing twice, and nothing missing."""
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = desk(store, handoff_to("orders"), "Which order?")
    shown = await told(workflow.run("Where is it?", session_id="s"))
    for after in range(len(shown) + 1):
        assert [event async for event in workflow.watch("s", after, until_rest=True)] == shown[after:]


async def test_a_watcher_may_end_when_the_session_rests():
    """And not while a turn is at work, though nothing new was written for a while."""
    store = InMemoryCheckpointStorage(FakeClock())
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def think(request) -> str:
        asked.set()
        await go_on.wait()
        return "At nine."

    workflow = desk(store, think)
    running = asyncio.create_task(told(workflow.run("When do you open?", session_id="s")))
    await asked.wait()
    watching = workflow.watch("s", until_rest=True)
    seen = [await anext(watching) for _ in range(3)]
    go_on.set()
    seen += [event async for event in watching]
    assert seen == await running


async def test_a_watcher_of_another_process_sees_it_too(tmp_path: Path):
    """Somebody runs the session in a process of their own; this one only has the file."""
    script = """
import asyncio, sys
from relayline import Agent, HandoffBuilder
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.testing import ScriptedClient, handoff_to
async def main():
    store = SqliteCheckpointStorage(sys.argv[1])
    client = ScriptedClient(handoff_to("orders"), "Which order?")
    team = [Agent(name, client=client) for name in ("triage", "orders")]
    await HandoffBuilder(name="desk", participants=team).with_checkpointing(store).build().run("Hi.", session_id="s")
    await store.aclose()
asyncio.run(main())
"""
    store = SqliteCheckpointStorage(tmp_path / "s.db")
    seen: list[WorkflowEvent] = []

    async def follow() -> None:
        async for event in desk(store).watch("s"):
            seen.append(event)
            if event.type == "request_info":
                return

    watching = asyncio.create_task(follow())
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path / "s.db"), stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    async with asyncio.timeout(20):
        await watching
    assert [event.data.agent for event in seen if event.type == "executor_invoked"] == ["triage", "orders"]
    assert [event.seq for event in seen] == [*range(1, len(seen) + 1)]
    await store.aclose()


async def test_a_watcher_of_a_session_that_is_compacted_sees_what_is_left():
    """Whoever was there before sees what comes next; whoever comes later begins with what stands for the forgotten."""
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = desk(store, "Hello.", "At nine.", "Bye.")
    shown = await told(workflow.run("Hi.", session_id="s"))
    early, slow = workflow.watch("s"), workflow.watch("s")
    assert [await anext(early) for _ in shown] == shown
    assert await anext(slow) == shown[0]
    shown += await told(workflow.run("When do you open?", session_id="s"))
    made = await compact(store, "s", messages=1)
    assert made
    late = [event async for event in workflow.watch("s", until_rest=True)]
    assert [late[0].type, late[0].data, late[0].seq] == ["compacted", made, made.upto]
    assert late[1:] == shown[made.upto :]
    assert (await anext(early)).data == made
    shown += await told(workflow.run("Thanks.", session_id="s"))
    rest = [await anext(early) for _ in shown[made.upto :]]
    assert [event.seq for event in rest] == [event.seq for event in shown[made.upto :]]
    for watcher in (early, slow):
        await watcher.aclose()


async def test_a_watcher_that_saw_it_all_is_not_told_of_a_compaction():
    """What stands for what it saw already is no news."""
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = desk(store, "Hello.", "At nine.", "Bye.")
    shown = await told(workflow.run("Hi.", session_id="s"))
    shown += await told(workflow.run("When do you open?", session_id="s"))
    watcher = workflow.watch("s")
    assert [await anext(watcher) for _ in shown] == shown
    await compact(store, "s", messages=1)
    shown = await told(workflow.run("Thanks.", session_id="s"))
    assert [await anext(watcher) for _ in shown] == shown
    await watcher.aclose()


@pytest.mark.parametrize("again", [False, True])
async def test_a_watcher_is_told_that_its_session_was_deleted(again: bool, monkeypatch: pytest.MonkeyPatch):
    """Also if another one has begun under its name meanwhile."""
    monkeypatch.setattr("relayline.runtime.watch.PATIENCE", 0.01)
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = desk(store, "Hello.", "Hello again.")
    shown = await told(workflow.run("Hi.", session_id="s"))
    watcher = workflow.watch("s")
    assert [await anext(watcher) for _ in shown] == shown
    await store.delete("s")
    if again:
        await workflow.run("Hi.", session_id="s")
    with pytest.raises(SessionNotFound, match="session 's' was deleted while it was watched"):
        await anext(watcher)
