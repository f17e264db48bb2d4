"""``relayline worker``: a process that does the turns of sessions, until it is told to stop."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from relayline.cli.teams import at_work
from relayline.dispatch import Dispatcher, Limits
from relayline.durable.worker import Worker
from relayline.errors import UsageError

ENGINES = ("local", "restate", "temporal")

SAID_AGAIN = 60.0
"""Seconds after which the log says again what it has said: a store that is away is looked for every second."""


def engine(word: str, team: str, listen: str = "", address: str = "") -> Dispatcher:
    """What ``--engine`` names: ``local``, ``restate``, ``temporal``, with where its server is behind a colon.

    Raises:
        UsageError: there is no such engine.
        MissingExtra: the packages of that engine are not installed.
    """
    kind, _, place = word.partition(":")
    match kind:
        case "local":
            from relayline.durable.local import Local

            return Local()
        case "restate":
            from relayline.durable.restate import ADMIN, INGRESS, Restate

            ingress, _, admin = place.partition(",")
            given = {"listen": listen} if listen else {}
            return Restate(team, ingress or INGRESS, admin or ADMIN, address=address, **given)
        case "temporal":
            from relayline.durable.temporal import Temporal

            return Temporal(team, *filter(None, [place]))
        case _:
            raise UsageError(f"no engine {kind!r}; there are: {', '.join(ENGINES)}")


def work(
    target: str | None,
    model: str | None,
    store: str | None,
    allow: Sequence[str],
    engine_word: str,
    limits: Limits,
    grace: float,
    listen: str,
    address: str,
    health: str,
) -> int:
    """Work until SIGTERM or Ctrl-C; returns the exit status."""
    # Blocked before there is any thread, so that all have it: an engine's SDK may want the signal for itself, and would
    # take it from us.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    log = logging.StreamHandler()
    log.addFilter(_NowAndThen())
    try:
        workflow = at_work(target, model, store, allow)
        workflow = workflow.with_dispatcher(engine(engine_word, workflow.name, listen, address))
        logging.getLogger("relayline").addHandler(log)  # from here on: what may be odd in a team is said by `graph`
        return asyncio.run(_work(Worker(workflow, limits), grace, health))
    finally:
        logging.getLogger("relayline").removeHandler(log)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _NowAndThen(logging.Filter):
    """Lets a message pass that was not said just now."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text, now = record.getMessage(), record.created
        self._said = {said: at for said, at in self._said.items() if now - at < SAID_AGAIN}
        return self._said.setdefault(text, now) == now


STOPPING = (signal.SIGTERM, signal.SIGINT)


async def _work(worker: Worker, grace: float, health: str) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def wait_for_signals() -> None:
        signal.sigwait(STOPPING)
        loop.call_soon_threadsafe(stop.set)
        signal.sigwait(STOPPING)
        os._exit(130)  # asked twice: at once, whatever is at work; others take it up

    threading.Thread(target=wait_for_signals, daemon=True).start()
    answering = await _answer(worker, health) if health else None
    serving = asyncio.create_task(worker.serve())
    stopping = asyncio.create_task(stop.wait())
    host, port = answering.sockets[0].getsockname()[:2] if answering else ("", 0)
    shown = f", health at http://{f'[{host}]' if ':' in host else host}:{port}" if answering else ""
    print(f"worker {worker.name} of team {worker.workflow.name}{shown}", file=sys.stderr, flush=True)
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    if stopping.done():
        print(f"stopping; at work on {worker.at_work}", file=sys.stderr, flush=True)
        await worker.stop(grace)
    if answering:
        answering.close()
    with suppress(asyncio.CancelledError):
        await serving
    stopping.cancel()
    await worker.dispatcher.aclose()
    await worker.workflow.store.aclose()
    return 0


async def _answer(worker: Worker, health: str) -> asyncio.Server:
    """Tell whoever asks over HTTP that this worker lives, and how many sessions it is at."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.wait_for(reader.readline(), 5)
            body = json.dumps({"worker": worker.name, "at_work": worker.at_work, "stopping": worker.stopping})
            status = "200 OK" if worker.lives and not worker.stopping else "503 Service Unavailable"
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n{body}".encode())
            await writer.drain()
        writer.close()

    host, _, port = health.rpartition(":")
    try:
        return await asyncio.start_server(answer, host or "127.0.0.1", int(port))
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"--health {health!r} is no HOST:PORT to listen at: {error}") from None
