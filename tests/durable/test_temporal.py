"""What is Temporal's own."""

import asyncio
import gc
from pathlib import Path

from relayline import InMemoryCheckpointStorage
from relayline.durable.temporal import Temporal
from tests.durable.fleets import Echo, answered, so, team, until, worker
from tests.durable.servers import TemporalServer, loud

THREADS = Path("/proc/self/task")


def _threads() -> int:
    if not THREADS.exists():
        loud("there is no /proc to count threads in")
    return sum((each / "comm").read_text().startswith("tokio") for each in THREADS.iterdir())


async def test_closing_it_ends_the_threads_of_its_sdk(temporal: TemporalServer):
    """Of a dispatcher that is closed no thread is left that could touch Python while that shuts down, and abort it."""
    gc.collect()
    before = _threads()
    dispatcher = Temporal("closing", temporal.address)
    workflow = team(InMemoryCheckpointStorage(), Echo()).with_dispatcher(dispatcher)
    working = worker(workflow, dispatcher)
    serving = asyncio.create_task(working.serve())
    await workflow.submit("hi", session_id="s")
    await answered(workflow, "s", 1)
    assert _threads() > before
    await working.stop()
    await serving
    await dispatcher.aclose()
    await until(lambda: so(_threads() <= before))  # the last of them may still be on their way out
