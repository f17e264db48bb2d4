"""Turns by Temporal: a workflow for each session that has something to do, which ends as soon as it has not.

The workflow never changes, whatever the team does: it asks for one activity after the other, and the activity is the
turn. So there is nothing to version, histories stay short, and no workflow waits for a person.
"""

import asyncio
import gc
import logging
from contextlib import suppress
from datetime import datetime, timedelta

from relayline.dispatch import Dispatcher, Limits, RunTurn, time_until
from relayline.errors import DispatchError, MissingExtra

try:
    from temporalio import activity, workflow
    from temporalio.client import Client
    from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy
    from temporalio.exceptions import ApplicationError
    from temporalio.runtime import Runtime, TelemetryConfig
    from temporalio.service import RPCError
    from temporalio.worker import Worker
except ModuleNotFoundError as missing:
    raise MissingExtra("Temporal needs its SDK: pip install 'relayline[temporal]'") from missing

logger = logging.getLogger(__name__)

TURN = "relayline-turn"
WAKE = "relayline-wake"

BEAT = 0.7
"""Seconds between two signs of life of a turn."""

DRAINED = 8
"""How many workflows a worker moves on at once: each has its time from when it was taken."""

MOVED = timedelta(seconds=2)
"""The time that has. What the server gives to a worker that just died is lost for so long: with five seconds, fleets
took twice as long to recover. But what a busy machine does not do in time the server puts off, and soon for minutes."""

SILENCE = timedelta(seconds=2)
"""After which a turn's worker is taken for dead, and another has it."""

LONGEST = timedelta(hours=24)
"""How long a turn may take. A model that hangs is the affair of timeouts around it, and of whoever cancels."""

RETRIES = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=10))


@workflow.defn(name="relayline", sandboxed=False)
class Drain:
    """Turns of one session, until nobody wants another."""

    def __init__(self) -> None:
        self._wanted = 0

    @workflow.signal
    def wake(self) -> None:
        """There is something to do."""
        self._wanted += 1

    @workflow.run
    async def run(self, session_id: str, wanted: int = 0) -> None:
        self._wanted += wanted  # by whom it goes on from; others may have woken it before it runs
        while self._wanted:
            self._wanted = 0  # whatever waits now is taken by the turn that begins now
            await workflow.execute_activity(
                TURN, session_id, start_to_close_timeout=LONGEST, heartbeat_timeout=SILENCE, retry_policy=RETRIES
            )
            if self._wanted and workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(args=[session_id, 1])


@workflow.defn(name="relayline-later", sandboxed=False)
class Later:
    """Wakes a session. It begins with a delay, so that the timer is the server's."""

    @workflow.run
    async def run(self, session_id: str) -> None:
        await workflow.execute_activity(
            WAKE, session_id, start_to_close_timeout=timedelta(seconds=10), retry_policy=RETRIES
        )


class Temporal(Dispatcher):
    """``team``: its name, which the task queue has. ``address``: of the server, ``HOST:PORT``."""

    quiet = 5.0
    every = 2.0
    retries = True

    def __init__(self, team: str, address: str = "127.0.0.1:7233", *, namespace: str = "default") -> None:
        self._queue = f"relayline-{team}"
        self._address = address
        self._namespace = namespace
        self._client: Client | None = None

    async def submit(self, session_id: str, message_id: str, not_before: datetime | None = None) -> None:
        """Begin the session's workflow, or tell it that there is more; then, if that is later."""
        delay = time_until(not_before)
        try:
            client = await self._connected()
            if delay is None:
                await client.start_workflow(
                    Drain.run,
                    session_id,
                    id=f"{self._queue}/{session_id}",
                    task_queue=self._queue,
                    start_signal="wake",
                    task_timeout=MOVED,
                )
            else:
                await client.start_workflow(
                    Later.run,
                    session_id,
                    id=f"later/{self._queue}/{session_id}/{message_id}",  # queues begin otherwise
                    task_queue=self._queue,
                    start_delay=delay,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    task_timeout=MOVED,
                )
        except (RPCError, RuntimeError, OSError) as error:
            raise DispatchError(f"Temporal at {self._address} cannot be reached: {error!s:.200}") from error

    async def cancel(self, session_id: str) -> None:
        """The workers ask the store."""

    async def serve(self, run_turn: RunTurn, limits: Limits) -> None:
        try:
            await self._serve(run_turn, limits)
        except asyncio.CancelledError as cancelled:
            # Without the frames it came through: whoever keeps it would keep the SDK's runtime, see aclose.
            raise cancelled.with_traceback(None) from None

    async def _serve(self, run_turn: RunTurn, limits: Limits) -> None:
        @activity.defn(name=TURN)
        async def turn(session_id: str) -> None:
            beating = asyncio.create_task(_beat())
            try:
                await run_turn(session_id)
            except asyncio.CancelledError:
                raise ApplicationError("its worker leaves", type="HandedBack") from None
            finally:
                beating.cancel()

        @activity.defn(name=WAKE)
        async def wake(session_id: str) -> None:
            await self.submit(session_id, "")

        while True:
            try:
                client = await self._connected()
                break
            except (RPCError, RuntimeError, OSError) as error:
                logger.warning("Temporal at %s cannot be reached: %.200s; it is tried again", self._address, error)
                await asyncio.sleep(1)
        # Nothing is cached: a workflow is a few events, and those of a worker that died would wait for it for long.
        worker = Worker(
            client,
            task_queue=self._queue,
            workflows=[Drain, Later],
            activities=[turn, wake],
            max_concurrent_activities=limits.here,
            max_cached_workflows=0,
            max_concurrent_workflow_tasks=DRAINED,
            max_heartbeat_throttle_interval=timedelta(seconds=BEAT),  # else four fifths of the silence
        )
        await worker.run()

    async def aclose(self) -> None:
        """End the threads of the SDK's. They end with the last reference to its runtime, and workers are circles.

        One that still is at something while Python shuts down makes it abort (temporalio/sdk-python, issue 300).
        """
        self._client = None
        gc.collect()

    async def _connected(self) -> Client:
        if self._client is None:
            # A runtime of our own: the default one has no end.
            runtime = Runtime(telemetry=TelemetryConfig())
            self._client = await Client.connect(self._address, namespace=self._namespace, runtime=runtime)
        return self._client


async def _beat() -> None:
    with suppress(RuntimeError):
        while True:
            activity.heartbeat()
            await asyncio.sleep(BEAT)
