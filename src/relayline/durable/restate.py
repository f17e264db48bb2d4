"""Turns by Restate: an object for each session, which does one thing at a time and queues the rest.

Restate calls workers, over HTTP/2. All workers of a release are one address to it: a load balancer's, or on one machine
a port that they share. A worker whose connection breaks is replaced by another at once.
"""

import asyncio
import logging
import re
import socket
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from relayline.dispatch import Dispatcher, HandedBack, Limits, RunTurn, time_until
from relayline.errors import DispatchError, MissingExtra, UsageError

try:
    import httpx
    import restate
    from hypercorn.asyncio import serve  # pyright: ignore[reportUnknownVariableType]
    from hypercorn.config import Config
    from restate.retry_policy import InvocationRetryPolicy
except ModuleNotFoundError as missing:
    raise MissingExtra("Restate needs its SDK: pip install 'relayline[restate]'") from missing

logger = logging.getLogger(__name__)

INGRESS = "http://127.0.0.1:8080"
ADMIN = "http://127.0.0.1:9070"

LONGEST = timedelta(hours=24)
"""How long a turn may take. A model that hangs is the affair of timeouts around it, and of whoever cancels."""

RETRIES = InvocationRetryPolicy(timedelta(milliseconds=100), 2.0, timedelta(seconds=2), 500, "kill")
"""Of a turn that fails, because its store is away, say, or no worker is there: one that comes is asked within the
longest pause. What is given up in the end is found in the store."""

AGAIN = 1.0
"""Seconds until a server that is away is asked again to call this worker."""

LEAVING = 0.5
"""Seconds that a server's connections have to end when a worker leaves; its turns are over or handed back by then."""


class _Unknown(DispatchError):
    """The server knows nobody to call for this team."""


class Restate(Dispatcher):
    """``team``: its name, which the objects have. ``ingress``, ``admin``: where the server takes calls and orders.

    ``listen``: where a worker is called, ``HOST:PORT``; several on one machine may share it, and port 0 is any that is
    free. ``address``: how the server gets there, if that is another way.
    """

    quiet = 5.0
    every = 2.0
    retries = True

    def __init__(
        self,
        team: str,
        ingress: str = INGRESS,
        admin: str = ADMIN,
        *,
        listen: str = "127.0.0.1:9080",
        address: str = "",
    ) -> None:
        self._object = object_of(team)
        self._ingress = ingress.rstrip("/")
        self._admin = admin.rstrip("/")
        self._listen = listen
        self._address = address
        self._http: httpx.AsyncClient | None = None
        self._called_at = ""

    async def submit(self, session_id: str, message_id: str, not_before: datetime | None = None) -> None:
        # Without a key of idempotency: that is the inbox's affair, and what was forgotten has to be sent again.
        delay = time_until(not_before)
        query = "" if delay is None else f"?delay={delay // timedelta(milliseconds=1)}ms"
        url = f"{self._ingress}/{self._object}/{quote(session_id, safe='')}/turn/send{query}"
        try:
            await self._post(url)
        except _Unknown:
            if not self._called_at:
                raise
            # It has lost its data, this worker's address with it.
            await self._register()
            await self._post(url)

    async def cancel(self, session_id: str) -> None:
        """The workers ask the store."""

    async def serve(self, run_turn: RunTurn, limits: Limits) -> None:
        desk = restate.VirtualObject(
            self._object,
            inactivity_timeout=LONGEST,
            abort_timeout=LONGEST,
            journal_retention=timedelta(0),
            invocation_retry_policy=RETRIES,
        )

        turns = _Turns(run_turn, limits.here)

        @desk.handler()
        async def turn(context: restate.ObjectContext) -> None:
            turns.called()
            if not await turns.take(context.key()):
                # Sent again to whoever is there, and not failed: a failure closes the connection, to others' turns too.
                await asyncio.sleep(LEAVING / 5)
                await self.submit(context.key(), "")

        place = _shared(self._listen)
        host, port = place.getsockname()[:2]
        config = Config()
        config.bind = [f"fd://{place.detach()}"]  # it is the server's to close
        config.h2_max_concurrent_streams = limits.here  # for more, Restate opens connections, to other workers perhaps
        config.graceful_timeout = LEAVING
        config.accesslog = config.errorlog = None
        config.include_date_header = config.include_server_header = False  # Restate reads neither
        app: Any = restate.app([desk])
        listening = asyncio.create_task(serve(app, config, shutdown_trigger=turns.over.wait))
        try:
            self._called_at = self._address or f"http://{host}:{port}"
            while True:
                try:
                    await self._register()
                    break
                except DispatchError as error:
                    logger.warning("%s; it is tried again", error)
                await asyncio.sleep(AGAIN)
            await asyncio.wait([listening])  # which does not cancel it
            listening.result()
        finally:
            self._called_at = ""
            turns.end()
            await asyncio.wait([listening], timeout=2 * LEAVING)
            listening.cancel()
            # Connections may break under it while they end; nobody is there any more who minds.
            await asyncio.wait([asyncio.gather(listening, return_exceptions=True)], timeout=LEAVING)
            await turns.leave()

    async def aclose(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _register(self) -> None:
        """Have the server call here from now on. What an older release is at goes on at its own address."""
        # By force: a worker of the same release has perhaps done the same.
        await self._post(f"{self._admin}/deployments", {"uri": self._called_at, "force": True})

    async def _post(self, url: str, body: object = None) -> None:
        self._http = self._http or httpx.AsyncClient(timeout=10)
        try:
            answer = await self._http.post(url, json=body)
        except httpx.HTTPError as error:
            raise DispatchError(f"Restate at {url.split('/turn')[0]} cannot be reached: {error!r:.200}") from error
        if answer.is_error:
            kind = _Unknown if answer.status_code == 404 else DispatchError
            raise kind(f"Restate at {url.split('/turn')[0]} refused: {answer.status_code} {answer.text:.200}")


class _Turns:
    """What this worker is at, until it is ``over``; not more at once than there is room for."""

    def __init__(self, run_turn: RunTurn, most: int) -> None:
        self.over = asyncio.Event()
        self._run_turn = run_turn
        self._room = asyncio.Semaphore(most)
        self._tasks: set[asyncio.Task[None]] = set()
        self._handlers: set[asyncio.Task[Any]] = set()

    def called(self) -> None:
        """Remember who calls this: a task of the server's."""
        handler = asyncio.current_task()
        if handler is not None:
            self._handlers.add(handler)
            handler.add_done_callback(self._handlers.discard)

    async def leave(self) -> None:
        """End the handlers that are still there.

        One that is cancelled waits for the server to close its side, for as long as this process lives: it takes two.
        """
        for _ in range(3):
            for handler in self._handlers:
                handler.cancel()
            if self._handlers:
                await asyncio.wait(set(self._handlers), timeout=LEAVING)

    async def take(self, session_id: str) -> bool:
        """Do a turn. False: somebody else has to."""
        async with self._room:
            if self.over.is_set():
                return False
            # A task of its own: a handler of this SDK that is cancelled waits for the server, which knows nothing.
            task = asyncio.create_task(self._run_turn(session_id))
            self._tasks.add(task)
            try:
                await asyncio.wait([task])
            finally:
                self._tasks.discard(task)
                task.cancel()
            if task.cancelled() or isinstance(task.exception(), HandedBack):
                return False
            task.result()
            return True

    def end(self) -> None:
        self.over.set()
        for task in self._tasks:
            task.cancel()


def object_of(team: str) -> str:
    """The name of a team's objects: Restate takes letters, digits, ``.``, ``_`` and ``-`` only."""
    return "relayline-" + re.sub(r"[^A-Za-z0-9-]", lambda odd: f"_{ord(odd[0]):x}_", team)


def _shared(listen: str) -> socket.socket:
    """A socket at an address that other workers of this machine may have as well."""
    host, _, port = listen.rpartition(":")
    place = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        place.bind((host.strip("[]"), int(port)))
    except (ValueError, OverflowError, OSError) as error:
        place.close()
        raise UsageError(f"{listen!r} is no HOST:PORT where Restate could call this worker: {error}") from error
    place.listen(1024)
    place.setblocking(False)
    return place
