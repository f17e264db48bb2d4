"""Connections to one database, for one event loop: opened when needed, used again, and told from dead ones.

The pool of psycopg opens them in the background. Why that fails is then a line in the log, and what reaches the caller
is that it took too long; here the caller opens them, and is told. It also costs a third less.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DeadlockDetected, InvalidParameterValue, SerializationFailure
from psycopg.pq import TransactionStatus

from relayline.errors import StoreError, UsageError
from relayline.journal.postgres.layout import Connection, settle_in

T = TypeVar("T")

TIMEOUT = 30
"""Seconds to wait for one of our own connections, each of which is used for milliseconds."""

PATIENCE = 10.0
"""Seconds to look for the end of what was under way when a connection broke: a server takes a few to start again."""

PAUSE = 0.1

DEFAULTS = {
    "application_name": "relayline",
    "client_encoding": "UTF8",
    "connect_timeout": 10,
    # A peer that is gone without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

STATUS = "SELECT pg_xact_status(%(number)s::xid8)"


class Lost(StoreError):
    """The connection broke. What was under way may have happened or not."""


class Undone(StoreError):
    """The server took back what was under way, and it may be tried again."""


@dataclass(frozen=True, slots=True)
class Database:
    """Where to connect to. ``name``: for messages, without the password."""

    params: dict[str, Any]
    name: str

    @classmethod
    def at(cls, dsn: str) -> "Database":
        """Read an address, as libpq does.

        Raises:
            UsageError: it is none. Does not show it, as it may hold a password.
        """
        try:
            given = conninfo_to_dict(dsn)
        except (psycopg.Error, UnicodeError):
            raise UsageError(
                "the address of the PostgreSQL database cannot be read. It looks like postgresql://USER:PASSWORD@HOST/"
                "DATABASE; in it, signs like @ and / of a password are written %40 and %2F"
            ) from None
        database = repr(given["dbname"]) if given.get("dbname") else "of its user's name"
        host = given.get("host") or given.get("hostaddr") or "this machine"
        port = f":{given['port']}" if given.get("port") else ""
        return cls({**DEFAULTS, **given}, f"the PostgreSQL database {database} on {host}{port}")

    def trouble(self, error: Exception, kind: type[StoreError] = StoreError) -> StoreError:
        """The same in our words."""
        why = " ".join(str(error).split()) or type(error).__name__
        if password := self.params.get("password"):
            why = why.replace(password, "***")
        return kind(f"cannot use the session store in {self.name}: {why:.500}")


class Connections:
    """At most ``most`` connections at once. Whoever needs one more waits."""

    def __init__(self, database: Database, schema: str, durable: bool, most: int) -> None:
        self.database = database
        self._schema = schema
        self._durable = durable
        self._most = most
        self._room = asyncio.Semaphore(most)
        self._idle: list[Connection] = []  # the one used last is at the end, and is used next
        self._closed = False

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Connection]:
        """A connection in autocommit, for the caller alone.

        Raises:
            Lost: it broke under what was done with it.
            Undone: the server asks to try that again.
            StoreError: there is none to be had, or the server refused what was done with it.
        """
        await self._enter()
        try:
            connection = self._idle.pop() if self._idle else await self.open()
            try:
                yield connection
            except (psycopg.Error, OSError, UnicodeError) as error:
                raise self._trouble(connection, error) from error
            finally:
                await self._leave(connection)
        finally:
            self._room.release()

    async def open(self) -> Connection:
        """A new connection, which the caller has to close.

        Raises:
            StoreError: it cannot be had.
        """
        try:
            connection: Connection = await AsyncConnection.connect(**self.database.params, autocommit=True)
            try:
                await settle_in(connection, self._schema, self._durable, self.database.name)
            except BaseException:
                await connection.close()
                raise
        except (psycopg.Error, OSError, UnicodeError) as error:
            raise self.database.trouble(error) from error
        return connection

    async def repeat(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do what does no harm when it is done twice, once more if the connection was a dead one."""
        try:
            async with self.one() as connection:
                return await work(connection)
        except (Lost, Undone):
            async with self.one() as connection:
                return await work(connection)

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do all of it or nothing, as one transaction.

        Raises:
            StoreError: it could not be done; or, as it then says, nobody knows.
        """
        tried = False
        while True:
            end: tuple[str, T] | None = None
            try:
                async with self.one() as connection:
                    await connection.execute("BEGIN")
                    result = await work(connection)
                    end = await scalar(connection, "SELECT pg_current_xact_id()::text"), result
                    await connection.execute("COMMIT")
                    return result
            except (Lost, Undone) as error:
                if end is not None and await self._was_committed(end[0], error):
                    return end[1]
                if tried:
                    raise
                tried = True

    async def _was_committed(self, number: str, error: StoreError) -> bool:
        """What became of a transaction whose end was not seen."""
        if isinstance(error, Undone):
            return False
        patience = Patience(error)
        while True:
            try:
                status = await self.repeat(partial(scalar, query=STATUS, number=number))
            except StoreError as trouble:
                if isinstance(trouble.__cause__, InvalidParameterValue):
                    return False  # the server has crashed, and does not remember that there was one
            else:
                if status != "in progress":
                    return status == "committed"
            await patience.pause()

    def close(self) -> None:
        """Close what is idle now, and what is in use as soon as it is not."""
        self._closed = True
        self._drop()

    async def _enter(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._room.acquire()
        except TimeoutError as error:
            raise StoreError(
                f"all {self._most} connections to {self.database.name} were busy for {TIMEOUT} seconds; "
                "allow more of them with connections="
            ) from error

    async def _leave(self, connection: Connection) -> None:
        try:
            if connection.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                with suppress(psycopg.Error):
                    await connection.execute("ROLLBACK")
        finally:
            if self._closed or connection.pgconn.transaction_status != TransactionStatus.IDLE:
                await connection.close()
            else:
                self._idle.append(connection)

    def _trouble(self, connection: Connection, error: Exception) -> StoreError:
        fatal = isinstance(error, psycopg.Error) and error.diag.severity_nonlocalized in ("FATAL", "PANIC")
        if fatal or connection.closed:
            self._drop()  # they are from before it, too
            return self.database.trouble(error, Lost)
        undone = isinstance(error, SerializationFailure | DeadlockDetected)
        return self.database.trouble(error, Undone if undone else StoreError)

    def _drop(self) -> None:
        for connection in self._idle:
            connection.pgconn.finish()
        self._idle.clear()


async def rows(connection: Connection, query: Any, **given: object) -> list[tuple[Any, ...]]:
    """All that a query gives."""
    return await (await connection.execute(query, given, prepare=True, binary=True)).fetchall()


async def scalar(connection: Connection, query: Any, **given: object) -> Any:
    """The first value that a query gives, or None."""
    found = await rows(connection, query, **given)
    return found[0][0] if found else None


class Patience:
    """How long to look for the end of what ``error`` has interrupted."""

    def __init__(self, error: StoreError) -> None:
        self._error = error
        self._until = asyncio.get_running_loop().time() + PATIENCE

    async def pause(self) -> None:
        """Wait for a moment before looking again.

        Raises:
            StoreError: it was long enough, and nobody knows.
        """
        if asyncio.get_running_loop().time() > self._until:
            raise StoreError(
                f"{self._error}. Whether it was kept is not known: read the session before you go on"
            ) from self._error
        await asyncio.sleep(PAUSE)
