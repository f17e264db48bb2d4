"""What agents say next, on its way from a worker to whoever watches."""

import asyncio
from types import TracebackType
from typing import Self

from relayline.journal.deltas import Delta, Deltas
from relayline.runtime.stream import AgentRunUpdateEvent, Emit, WorkflowEvent

MOMENT = 0.03
"""Seconds for which words are gathered, so that a fast model does not cost a message each."""

UNHEARD = 1.0
"""Seconds for which they are gathered while nobody listens; whoever comes hears them then."""


class Words:
    """Publishes the words and the progress of one session's events, in their order."""

    def __init__(self, deltas: Deltas, session_id: str) -> None:
        self._deltas = deltas
        self._session_id = session_id
        self._seq = 0
        self._waiting: list[Delta] = []
        self._heard = True
        self._pump: asyncio.Task[None] | None = None

    def after(self, seq: int) -> Emit:
        """What shows the events of a session whose last fact has this number."""
        self._seq = seq
        return self.show

    async def show(self, event: WorkflowEvent) -> None:
        """Take an event of the session's."""
        if event.seq is not None:
            # What its agent said before is in there, and nobody shows it any more; the others go on.
            others = [each for each in self._waiting if each.agent != event.executor_id]
            self._waiting = [each._replace(after=event.seq) for each in others]
            self._seq = event.seq
        elif isinstance(event, AgentRunUpdateEvent):
            self._add(Delta(self._seq, event.executor_id, event.attempt, event.data))
        elif event.type == "progress":
            self._add(Delta(self._seq, event.executor_id, 0, "", event.data))

    def _add(self, delta: Delta) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last and last[:3] == delta[:3] and last.words and delta.words:
            self._waiting[-1] = last._replace(words=last.words + delta.words)
        else:
            self._waiting.append(delta)
        if self._pump is None:
            self._pump = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        while self._waiting:
            await asyncio.sleep(MOMENT if self._heard else UNHEARD)
            waiting, self._waiting = self._waiting, []
            for delta in waiting:
                self._heard = await self._deltas.publish(self._session_id, delta)
        self._pump = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._pump is not None:
            # What was said in the end is in the journal by now.
            self._pump.cancel()
            await asyncio.wait([self._pump])
