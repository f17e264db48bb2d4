"""How workers find what whoever dispatches has forgotten."""

import asyncio
from collections import Counter
from datetime import datetime

from relayline import InMemoryCheckpointStorage
from relayline.dispatch import Dispatcher, Limits, RunTurn
from tests.durable.fleets import Echo, so, team, until, worker, working


class Slow(Dispatcher):
    """Hears of everything, and gets round to nothing."""

    quiet, every, retries = 0.01, 0.0, True

    def __init__(self) -> None:
        self.submitted = Counter[str]()

    async def submit(self, session_id: str, message_id: str, not_before: datetime | None = None) -> None:
        self.submitted[session_id] += 1

    async def cancel(self, session_id: str) -> None:
        pass

    async def serve(self, run_turn: RunTurn, limits: Limits) -> None:
        await asyncio.Event().wait()


class Watched(InMemoryCheckpointStorage):
    sweeps = 0

    async def due(self, team: str, *, quiet: float = 0, most: int = 100) -> list[str]:
        await asyncio.sleep(0.01)
        self.sweeps += 1
        return await super().due(team, quiet=quiet, most=most)


async def test_sweeps_do_not_fill_the_queue_of_a_fleet_that_is_too_small():
    """What was dispatched again and still waits is dispatched again ever less often, and never forgotten."""
    store, slow = Watched(), Slow()
    workflow = team(store, Echo())
    await workflow.submit("hi", session_id="s")
    async with working(worker(workflow, slow)):
        await until(lambda: so(store.sweeps >= 60))
    assert 2 <= slow.submitted["s"] <= 20
