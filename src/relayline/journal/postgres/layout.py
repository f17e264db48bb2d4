"""The tables of a session store: how they are made, and what a connection to them is set to."""

import re
from typing import Any, TypeAlias
from zlib import crc32

from psycopg import AsyncConnection, sql
from psycopg.errors import UndefinedTable

from relayline.errors import StoreError, UsageError

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

OLDEST = 14
"""The first PostgreSQL with all that is used here; older ones get no corrections from their makers any more."""

SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,50}")

MAKING = -1
"""The advisory lock of whoever makes the tables, among those of its schema."""

ROOM = -3
"""The advisory lock of whoever claims a session where there is not room for all."""

SHAPE = -2
"""The advisory lock of whoever cuts or deletes (alone), or begins a branch (beside others). Appends do without it."""

# Text is compared byte by byte: an index by a language's rules is damaged by an update of the system's C library.
# Facts and blobs have no foreign key. Whoever writes or deletes them has the row of their session, which is enough,
# and the check would be a fifth of the cost of an append. Nothing that an append changes in a session is in an index,
# so that the row can be written again where it is.
SESSIONS = """
CREATE SEQUENCE written;
CREATE TABLE session(
    key BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id TEXT COLLATE "C" NOT NULL UNIQUE, seq BIGINT NOT NULL,
    started TIMESTAMPTZ NOT NULL, updated TIMESTAMPTZ NOT NULL, written BIGINT NOT NULL,
    parent BIGINT REFERENCES session(key), shared BIGINT NOT NULL DEFAULT 0, held TEXT NOT NULL DEFAULT ''
) WITH (fillfactor = 70);
CREATE INDEX session_parent ON session(parent) WHERE parent IS NOT NULL;
CREATE TABLE fact(
    session BIGINT NOT NULL, seq BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, version INTEGER NOT NULL,
    body TEXT NOT NULL, batch BIGINT, PRIMARY KEY(session, seq)
);
CREATE TABLE blob(
    session BIGINT NOT NULL, name TEXT COLLATE "C" NOT NULL, content BYTEA NOT NULL, PRIMARY KEY(session, name)
);
ALTER TABLE blob ALTER content SET STORAGE EXTERNAL
"""
INBOX = """
CREATE TABLE inbox(
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL, due TIMESTAMPTZ NOT NULL, body TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', seq BIGINT NOT NULL DEFAULT 0, problem TEXT NOT NULL DEFAULT '',
    UNIQUE(session, message)
);
CREATE INDEX inbox_done ON inbox(due) WHERE state <> 'waiting';
CREATE TABLE work(
    session TEXT COLLATE "C" PRIMARY KEY, team TEXT NOT NULL, tenant TEXT NOT NULL, due TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ NOT NULL, owner TEXT NOT NULL DEFAULT '', attempt BIGINT NOT NULL DEFAULT 0,
    news BIGINT NOT NULL DEFAULT 0, cancelled BOOLEAN NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX work_due ON work(team, due);
CREATE INDEX work_owner ON work(owner) WHERE owner <> ''
"""
MIGRATIONS = (SESSIONS, INBOX)
"""Step n takes a schema from layout n to n + 1."""

# Whatever the database or the role is set to: a write that came second is to see what came first. Each query goes by
# an index, whatever the values, so planning it anew is a waste. Who holds what others wait for takes milliseconds;
# after half a minute it is a process that has stopped, or somebody's mistake.
SETTINGS = sql.SQL("""
SET search_path = {schema};
SET synchronous_commit = {durable};
SET default_transaction_isolation = 'read committed';
SET plan_cache_mode = force_generic_plan;
SET lock_timeout = '30s';
SET idle_in_transaction_session_timeout = '30s'
""")


def checked(schema: str) -> str:
    """The name, if a schema may have it.

    Raises:
        UsageError: it may not.
    """
    if not SCHEMA_NAME.fullmatch(schema) or schema.startswith("pg_"):
        raise UsageError(
            f"a schema's name is of small letters, digits and _, at most 51 of them, and not pg_...; not {schema!r}"
        )
    return schema


def lock_class(schema: str) -> int:
    """What all advisory locks of a store have first, to be told from those of other schemas and other programs."""
    return crc32(f"relayline {schema}".encode()) - 2**31


async def settle_in(connection: Connection, schema: str, durable: bool, name: str) -> None:
    """Make a new connection one of ours, and the tables where they are missing.

    Raises:
        StoreError: what is there is of another program or a newer release, or the database cannot keep facts.
    """
    if connection.info.server_version < OLDEST * 10_000:
        raise StoreError(f"{name} is older than PostgreSQL {OLDEST}, which is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"{name} keeps text as {encoding}, which has no place for most of it; choose one of UTF8")
    settings = SETTINGS.format(schema=sql.Identifier(schema), durable=sql.SQL("on" if durable else "off"))
    await connection.execute(settings)
    # With the schema's name, because what somebody may not look into is otherwise said not to be there.
    layout = sql.SQL("SELECT number FROM {}.relayline_layout").format(sql.Identifier(schema))
    try:
        found = await (await connection.execute(layout)).fetchone()
    except UndefinedTable:
        found = None
    if _layout(found, name) < len(MIGRATIONS):
        await _make(connection, schema, name)


def _layout(found: tuple[Any, ...] | None, name: str) -> int:
    layout: int = found[0] if found else 0
    if layout > len(MIGRATIONS):
        raise StoreError(f"{name} was written by a newer relayline (layout {layout}); upgrade to use it")
    return layout


async def _make(connection: Connection, schema: str, name: str) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (lock_class(schema), MAKING))
        layout = await _made(connection, schema, name)  # another process may have been faster
        for step in MIGRATIONS[layout:]:
            for statement in step.split(";"):
                await connection.execute(statement.encode())
        await connection.execute("DELETE FROM relayline_layout")
        await connection.execute("INSERT INTO relayline_layout VALUES (%s)", (len(MIGRATIONS),))


async def _made(connection: Connection, schema: str, name: str) -> int:
    """The layout, and a place to write it down."""
    query = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(%s)"
    tables = [row[0] for row in await (await connection.execute(query, (f'"{schema}"',))).fetchall()]
    if "relayline_layout" in tables:
        return _layout(await (await connection.execute("SELECT number FROM relayline_layout")).fetchone(), name)
    if tables:
        raise StoreError(
            f"in {name} the schema {schema!r} has the tables of another program; choose another, with schema="
        )
    query = "SELECT to_regnamespace(%s) IS NULL"
    missing = await (await connection.execute(query, (f'"{schema}"',))).fetchone()
    if missing and missing[0]:  # asked first: who may not make one may use one that was made
        await connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    await connection.execute("CREATE TABLE relayline_layout(number INTEGER NOT NULL)")
    return 0
