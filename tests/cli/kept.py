"""Conversations that were had, for the commands to be tried on."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from relayline import ModelError
from relayline.cli.commands import app
from relayline.events import Entry, Fact
from relayline.journal.opening import open_store
from relayline.journal.store import Store
from tests.cli.team import workflow


def call(*arguments: object, lines: str = "") -> Result:
    """``relayline`` with these arguments, in this process."""
    return CliRunner().invoke(app, list(map(str, arguments)), input=lines)


def parsed(*arguments: object) -> Any:
    """What a command that ends well prints with --json."""
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def hold(store: object, session: str, *messages: str) -> None:
    """Have a conversation."""

    async def talk(place: Store) -> None:
        team = workflow.with_store(place)
        for message in messages:
            with suppress(ModelError):
                await team.run(message, session_id=session)

    inside(store, talk)


def write(store: object, session: str, *facts: Fact) -> None:
    """Put down facts as one batch behind what is there."""

    async def put(place: Store) -> None:
        await place.append(session, facts, after=len(await place.read(session)))

    inside(store, put)


def journal(store: object, session: str) -> Sequence[Entry]:
    return inside(store, lambda place: place.read(session))


def inside(store: object, work: Callable[[Store], Awaitable[Any]]) -> Any:
    async def do() -> Any:
        async with aclosing(open_store(str(store))) as place:
            return await work(place)

    return asyncio.run(do())


def damage(store: Path, session: str) -> None:
    with sqlite3.connect(store) as db:
        db.execute(
            'UPDATE fact SET body = \'{"type":"nonsense"}\' WHERE session = (SELECT key FROM session WHERE id = ?)',
            [session],
        )
    db.close()
