"""What a turn costs the database, counted: so that it grows by decision only."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from relayline.durable.local import Local
from relayline.durable.worker import Worker
from relayline.journal.postgres import PostgresCheckpointStorage, inbox_statements, statements
from relayline.tools import tool
from tests.durable.fleets import Calls, team, working

KINDS = {
    "claim": inbox_statements.CLAIM,
    "finish": inbox_statements.FINISH,
    "put": inbox_statements.PUT,
    "receipt": inbox_statements.RECEIPT,
    "words": inbox_statements.PUBLISH,
    "read": statements.READ,
    "ends": statements.ENDS,
    "beyond": statements.BEYOND,
    "take": statements.go_on(blobs=False, taking=True),
    "append": statements.go_on(blobs=False, taking=False),
    "due": inbox_statements.DUE,
    "renew": inbox_statements.RENEW,
    "purge": inbox_statements.PURGE,
}
CHORES = ("due", "renew", "purge")
"""What workers ask now and then, whatever there is to do."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each kind of statement was sent, and connections were opened, since it was cleared."""
    counted = Counter[str]()
    names = {query: name for name, query in KINDS.items()}

    def counting(method: Callable[..., Any], name: Callable[[Any], str]) -> Callable[..., Any]:
        async def count(first: Any, *rest: Any, **given: Any) -> Any:
            counted[name(rest)] += 1
            return await method(first, *rest, **given)

        return count

    def kind(rest: Any) -> str:
        query = rest[0].decode() if isinstance(rest[0], bytes) else rest[0]
        return names.get(query, "other") if isinstance(query, str) else "other"

    connection: Any = psycopg.AsyncConnection
    monkeypatch.setattr(connection, "execute", counting(connection.execute, kind))
    monkeypatch.setattr(connection, "connect", classmethod(counting(connection.connect.__func__, lambda _: "connect")))
    return counted


@tool(repeatable=True)
async def look(order: int) -> str:
    """Look an order up."""
    return f"Order {order} left yesterday."


async def test_a_turn_is_seven_statements_to_its_worker(dsn: str, asked: Counter[str]):
    """Claim it, see that nobody wrote, take the message, two replies and a result between them, let go: nothing else.

    A reply that comes in one piece is not sent as words too, and a worker that does one turn at a time has one connection.
    """
    store = PostgresCheckpointStorage(dsn)
    workflow = team(store, Calls("look", order=7), tools=[look]).with_dispatcher(Local())
    worker = Worker(workflow)
    for _ in range(3):
        await workflow.submit("Where is order 7?", session_id="s")
        asked.clear()
        await worker.run_turn("s")
    assert asked == {"claim": 1, "ends": 1, "take": 1, "append": 3, "finish": 1}
    await store.aclose()


async def test_who_follows_a_turn_reads_what_is_new_and_asks_for_nothing_else(dsn: str, asked: Counter[str]):
    """See that nobody wrote, put the message, read once for each time facts were told of, and what became of it."""
    store, other = PostgresCheckpointStorage(dsn), PostgresCheckpointStorage(dsn)
    workflow = team(store, Calls("look", order=7), tools=[look]).with_dispatcher(Local())
    caller = workflow.with_store(other).with_dispatcher(Local())
    async with working(Worker(workflow)):
        for _ in range(3):
            asked.clear()
            await caller.run("Where is order 7?", session_id="s")
            told = asked.copy()
    told.subtract(claim=1, take=1, append=3, finish=1)  # the worker's; that its last was sent is not waited for
    for whatever in (*CHORES, "finish", "receipt"):  # it is asked now and then what became of a message that waits
        del told[whatever]
    reads = told.pop("read")
    assert reads <= 5
    assert +told == {"ends": 2, "put": 1}
    await store.aclose()
    await other.aclose()
