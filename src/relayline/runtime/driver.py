"""The one loop: start what is wanted, cancel what is not, append what came of it, and only then show it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from relayline.events import Entry
from relayline.machine.effects import effects
from relayline.machine.inputs import EffectFailed, Input
from relayline.runtime.perform import Context, Perform
from relayline.runtime.session import Session

Show: TypeAlias = Callable[[Sequence[Entry]], Awaitable[None]]


async def drive(
    session: Session, inputs: Sequence[Input], perform: Perform, context: Context, show: Show
) -> BaseException | None:
    """Take ``inputs`` and go on until nothing is wanted: the session waits, is finished, or failed.

    Returns what made an effect fail, if that is how it ended. Cancelling cancels what is in flight; the journal is
    whole at every moment. There is no rule about conversations here.
    """
    running: dict[str, asyncio.Task[Input]] = {}
    cause: BaseException | None = None
    try:
        while True:
            if inputs:
                await show(await session.commit(inputs))
            wanted = {effect.id: effect for effect in effects(session.state)}
            for unwanted in running.keys() - wanted.keys():
                running.pop(unwanted).cancel()
            for effect in wanted.values():
                if effect.id not in running:
                    running[effect.id] = asyncio.create_task(perform(effect, context), name=effect.id)
            if not running:
                return cause
            await asyncio.wait(running.values(), return_when=asyncio.FIRST_COMPLETED)
            inputs = [running.pop(key).result() for key in [key for key, task in running.items() if task.done()]]
            cause = next((each.cause for each in inputs if isinstance(each, EffectFailed)), None)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
