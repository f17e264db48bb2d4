"""What is Temporal's own."""

import asyncio
import gc
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio import workflow

from relayline import InMemoryCheckpointStorage
from relayline.durable.temporal import Drain, Temporal
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


class Continued(Exception):
    """A workflow ends, and another goes on for it; ``args``: what that is given."""


async def test_a_turn_that_is_wanted_outlives_a_long_history(monkeypatch: pytest.MonkeyPatch):
    """Who comes while the last turn of a workflow runs is heard by the workflow that goes on from it."""
    turns: list[str] = []

    async def turn(name: str, session_id: str, **given: Any) -> None:
        turns.append(session_id)
        if len(turns) == 1:
            drain.wake()

    def ended(*, args: list[Any]) -> None:
        raise Continued(*args)

    monkeypatch.setattr(workflow, "execute_activity", turn)
    monkeypatch.setattr(workflow, "info", lambda: SimpleNamespace(is_continue_as_new_suggested=lambda: True))
    monkeypatch.setattr(workflow, "continue_as_new", ended)
    drain = Drain()
    drain.wake()
    with pytest.raises(Continued) as continued:
        await drain.run("s")
    drain = Drain()
    await drain.run(*continued.value.args)
    assert turns == ["s", "s"]


def test_a_workflow_that_an_earlier_release_began_is_gone_on_with():
    """It was given a session and nothing else."""
    inspect.signature(Drain().run).bind("s")
