"""Sessions that wait for a person outlive everybody: all workers are killed, and the engine, and then they are answered."""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from relayline import Agent, HandoffBuilder, InMemoryCheckpointStorage, ToolContext, Workflow, WorkflowRunState, tool
from relayline.cli.worker import engine
from relayline.journal.opening import open_store
from relayline.journal.store import Store
from relayline.testing import assert_replays
from tests.durable.fleets import Calls, state
from tests.kills.desk import Ledger
from tests.kills.stores import a_store
from tests.kills.workers import an_engine, workers

WORKERS = 2

PATIENCE = 600.0
"""Seconds that a session has: there are many, and engines that take a tenth of a second for each."""

FOLDER = "RELAYLINE_PAUSED"
"""The variable that tells a worker where its team's ledger is."""


def desk() -> Workflow:
    """What ``relayline worker`` is given."""
    return _team(InMemoryCheckpointStorage(), Path(os.environ[FOLDER]))


def _team(store: Store, folder: Path) -> Workflow:
    ledger = Ledger(folder)

    @tool(approval_mode="always_require")
    async def refund(order: int, context: ToolContext) -> str:
        """Give money back, if a person says so."""
        ledger.note("refund", context.idempotency_key)
        return f"refunded {order}"

    asking = Agent("desk", client=Calls("refund", order=7), tools=[refund])
    built = HandoffBuilder(name="desk", participants=[asking]).with_terminal_agents(["desk"])
    return built.with_checkpointing(store).build()


@dataclass(frozen=True, slots=True)
class Pause:
    """``asking``, ``answering``: seconds until all waited, and until all were done after everybody had been away."""

    kind: str
    sessions: int
    asking: float
    answering: float

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.sessions:,} sessions waited after {self.asking:.0f} s; all workers were killed, and the "
            f"engine; {self.answering:.0f} s after workers were back all had been answered, each refunded once"
        )


async def run(kind: str, folder: Path, many: int) -> Pause:
    """Have so many sessions wait on a fleet of this kind, take everybody away, and answer them.

    Raises:
        AssertionError: with what does not hold.
    """
    ids = [f"s{number}" for number in range(many)]
    with a_store("sqlite" if kind == "sqlite" else "postgresql", folder) as where, an_engine(kind) as served:
        store, dispatcher = open_store(where), engine(served.word, "desk")
        caller = _team(store, folder).with_dispatcher(dispatcher)
        async with workers("tests.kills.paused:desk", where, served, folder) as working:
            for _ in range(WORKERS):
                await working.start(**{FOLDER: str(folder)})
            begun = time.monotonic()
            for session_id in ids:
                await caller.submit("refund, please", session_id=session_id)
            for session_id in ids:
                await state(caller, session_id, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS, PATIENCE)
            asking = time.monotonic() - begun
            for worker in list(working.processes):
                await working.kill(worker)
            if served.server is not None:
                await asyncio.to_thread(served.server.restart)
            for session_id in ids:
                await caller.submit(responses={f"{session_id}/r1": True})
            for _ in range(WORKERS):
                await working.start(**{FOLDER: str(folder)})
            begun = time.monotonic()
            for session_id in ids:
                await state(caller, session_id, WorkflowRunState.IDLE, PATIENCE)
            answering = time.monotonic() - begun
            await working.stop()
        for session_id in ids:
            assert_replays(await store.read(session_id))
            assert [each.text for each in (await caller.session(session_id)).conversation][-1] == "Done."
        await dispatcher.aclose()
        await store.aclose()
    refunds = Counter(key for _, key in Ledger(folder).lines())
    assert len(refunds) == many
    assert max(refunds.values()) == 1
    return Pause(kind, many, asking, answering)
