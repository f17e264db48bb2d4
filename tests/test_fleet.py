"""Runs that somebody else does."""

import asyncio
import logging

import pytest

from relayline import HandoffBuilder
from relayline import fleet as fleets
from relayline.durable.local import Local
from relayline.durable.worker import Worker
from relayline.testing import ScriptedClient


async def test_a_run_that_no_worker_takes_up_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """It waits, as a worker may come; but not in silence."""
    monkeypatch.setattr(fleets, "UNANSWERED", 0.1)
    desk = ScriptedClient("Hello.").as_agent("desk")
    team = (
        HandoffBuilder(name="shop", participants=[desk]).with_terminal_agents([desk]).build().with_dispatcher(Local())
    )
    with caplog.at_level(logging.WARNING, "relayline"):
        waiting = asyncio.create_task(asyncio.wait_for(team.run("Hi.", session_id="s"), 20))
        while not caplog.messages:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        working = asyncio.create_task(Worker(team).serve())
        assert (await waiting).text == "Hello."
    working.cancel()
    assert caplog.messages == ["session 's' waits for a worker of team 'shop' that is free"]
