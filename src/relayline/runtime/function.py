"""One run of a function that has a turn."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from relayline.context import SharedState
from relayline.executors import ExecutorContext, Wanting
from relayline.machine.effects import RunTool
from relayline.machine.inputs import EffectFailed, Input, ToolDone, Wondered
from relayline.machine.lanes import sight
from relayline.messages import JSON, valid
from relayline.runtime.progress import Progress, unless_cancelled
from relayline.runtime.seat import Seat, told
from relayline.runtime.session import Session


async def run_function(
    seat: Seat, effect: RunTool, session: Session, show: Callable[[str, JSON], Awaitable[None]]
) -> Input:
    """Run the function of ``seat``: what it returned, what it wants to know, or why it failed."""
    assert seat.function is not None
    turn = session.state.open[effect.turn]
    conversation = sight(session.state, effect.turn).transcript
    shared = SharedState(lambda: session.state.shared)
    progress = Progress(effect.agent, show)
    key = f"{session.id}/{effect.id}"
    answers = list(turn.part.answers)
    context = ExecutorContext(session.id, effect.agent, key, conversation, shared, answers, progress)
    try:
        async with progress:
            # Whoever begins, or was not told from whom it goes on, goes on from the last words there are.
            said = (message for message in reversed(conversation) if message.text or message.media)
            given = turn.part.given or (next(said),)
            value = seat.function.read(given, conversation, many=seat.many)
            content = await seat.function.run(value, context)
        shared.close()
        values: Mapping[str, JSON]
        values, removed = shared.changes()
        return ToolDone(effect.id, content, "done", values, removed)
    except Wanting as wanting:
        return Wondered(effect.id, wanting.data, wanting.schema, wanting.unfit)
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        unless_cancelled(error)
        return EffectFailed(effect.id, type(error).__name__, valid(told(error)), error)
