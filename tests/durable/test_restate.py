"""What is Restate's own: a worker that leaves it."""

import asyncio

import pytest

from relayline.dispatch import Limits
from tests.durable.conftest import Ground


@pytest.mark.parametrize("ground", ["restate"], indirect=True)
async def test_nothing_of_a_worker_is_left_when_it_leaves(ground: Ground):
    """Also if a turn is slow to end: whoever called it waits for the server for ever, and with it the process would."""
    began = asyncio.Event()
    dispatcher = ground.dispatcher()
    before = asyncio.all_tasks()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # hypercorn is cut off, and says so

    async def stubborn(_: str) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    serving = asyncio.create_task(dispatcher.serve(stubborn, Limits()))
    async with asyncio.timeout(20):
        while not began.is_set():
            try:
                await dispatcher.submit("s", "m")
            except Exception:  # noqa: BLE001 - it is not known there yet
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.1)
        serving.cancel()
        await asyncio.wait([serving])
    await dispatcher.aclose()
    left = [each for each in asyncio.all_tasks() - before if "hypercorn" in repr(each)]
    if left:
        await asyncio.wait(left, timeout=5)  # connections end with what was called on them
    assert all(each.done() for each in left)
    for each in asyncio.all_tasks() - before:
        each.cancel()
