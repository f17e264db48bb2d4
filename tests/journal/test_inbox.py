import base64
from pathlib import Path

from relayline import InMemoryCheckpointStorage
from relayline.journal.postgres import PostgresCheckpointStorage
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Clock
from relayline.testing import check_inbox


async def test_the_memory_store_keeps_the_rules_of_every_inbox():
    """What holds for every inbox holds in memory."""
    await check_inbox(InMemoryCheckpointStorage)


async def test_the_sqlite_store_keeps_the_rules_of_every_inbox(tmp_path: Path):
    """What holds for every inbox holds in a file that two handles have open."""
    paths = (tmp_path / f"{number}.db" for number in range(100))
    await check_inbox(
        lambda clock: SqliteCheckpointStorage(next(paths), clock),
        lambda store, clock: _again(store, clock),
    )


async def test_the_postgres_store_keeps_the_rules_of_every_inbox(dsn: str):
    """What holds for every inbox holds in a database, with a cipher and between two processes' worth of handles."""
    schemas = (f"s{number}" for number in range(100))
    cipher = _Reversing()
    await check_inbox(
        lambda clock: PostgresCheckpointStorage(dsn, clock, schema=next(schemas), cipher=cipher),
        lambda store, clock: PostgresCheckpointStorage(dsn, clock, schema=store.schema, cipher=cipher),
    )


def _again(store: object, clock: Clock) -> SqliteCheckpointStorage:
    assert isinstance(store, SqliteCheckpointStorage)
    again = SqliteCheckpointStorage(store.path, clock)
    again.deltas = store.deltas  # words do not go from process to process in a file
    return again


async def test_what_waits_is_encrypted(tmp_path: Path):
    """With a cipher neither a waiting message nor the reason of a refusal can be read in the file."""
    store = SqliteCheckpointStorage(tmp_path / "s.db", cipher=_Reversing())
    await store.put("s", "m", '{"said":"my secret"}', team="team")
    await store.put("s", "n", "{}", team="team")
    await store.refuse("s", "n", "my secret reason")
    receipt = await store.receipt("s", "n")
    assert receipt is not None
    assert receipt.problem == "my secret reason"
    claim = await store.claim("s", "me", team="team", seconds=5)
    assert claim is not None
    assert claim.waiting[0].body == '{"said":"my secret"}'
    assert b"secret" not in (tmp_path / "s.db").read_bytes() + (tmp_path / "s.db-wal").read_bytes()
    await store.aclose()


class _Reversing:
    """Hides things from whoever does not look twice."""

    def encrypt(self, data: bytes, /) -> bytes:
        return base64.b64encode(data)[::-1]

    def decrypt(self, token: bytes, /) -> bytes:
        return base64.b64decode(token[::-1])
