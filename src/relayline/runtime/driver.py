"""The one loop: start what is wanted, cancel what is not, append what came of it, and only then show it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from relayline.errors import SequenceConflict
from relayline.events import Entry
from relayline.machine.effects import effects
from relayline.machine.inputs import EffectFailed, Input, OutOfBudget, ToolDone, told
from relayline.runtime.perform import Context, Perform
from relayline.runtime.session import Session

Show: TypeAlias = Callable[[Sequence[Entry]], Awaitable[None]]
Running: TypeAlias = dict[str, asyncio.Task[Input]]


async def drive(
    session: Session,
    inputs: Sequence[Input],
    perform: Perform,
    context: Context,
    show: Show,
    seconds: float | None = None,
) -> BaseException | None:
    """Take ``inputs`` and go on until nothing is wanted: the session waits, is finished, was stopped, or failed.

    ``seconds``: after which it is stopped.

    Returns what made an effect fail, if that is how it ended. Cancelling cancels what is in flight; the journal is
    whole at every moment. There is no rule about conversations here.
    """
    running: Running = {}
    cause: BaseException | None = None
    until = None if seconds is None else asyncio.get_running_loop().time() + seconds
    try:
        while True:
            if inputs:
                await show(await _commit(session, inputs))
            wanted = {effect.id: effect for effect in effects(session.state)}
            if not wanted:
                return cause
            if seconds is not None and until is not None and asyncio.get_running_loop().time() >= until:
                # Not left to the waiting: effects that are done at once are never waited for.
                inputs = [*_done(running), OutOfBudget("seconds", f"the run had {seconds:g} seconds")]
            elif len(wanted) == 1 and not running and until is None:
                # With nothing to wait for beside it, a task of its own would only cost: a sixth of a turn.
                inputs = [await perform(effect, context) for effect in wanted.values()]
            else:
                inputs = await _next(running, {key: partial(perform, wanted[key], context) for key in wanted}, until)
            cause = next((each.cause for each in map(told, inputs) if isinstance(each, EffectFailed)), None)
    finally:
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)


async def _commit(session: Session, inputs: Sequence[Input]) -> Sequence[Entry]:
    try:
        return await session.commit(inputs)
    except SequenceConflict:
        # Somebody else has taken the session up. What a tool did is theirs to go on with, and must not be lost.
        done = [each for each in inputs if isinstance(told(each), ToolDone)]
        if done:
            await session.commit_after_others(done)
        raise


async def _next(
    running: Running, wanted: Mapping[str, Callable[[], Coroutine[Any, Any, Input]]], until: float | None
) -> list[Input]:
    """Cancel what is not wanted, start what is, and wait until something is done, or for nothing once time is up."""
    for unwanted in running.keys() - wanted.keys():
        running.pop(unwanted).cancel()
    for key, start in wanted.items():
        if key not in running:
            running[key] = asyncio.create_task(start(), name=key)
    left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
    await asyncio.wait(running.values(), timeout=left, return_when=asyncio.FIRST_COMPLETED)
    return _done(running)


def _done(running: Running) -> list[Input]:
    return [running.pop(key).result() for key in [key for key, task in running.items() if task.done()]]
