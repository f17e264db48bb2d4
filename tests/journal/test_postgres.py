"""The PostgreSQL store: the rules of every store, several processes, broken connections, wrong databases, waiting."""

import itertools

from relayline.journal.postgres import PostgresCheckpointStorage
from relayline.testing import check_store


async def test_the_postgresql_store_keeps_the_rules_of_every_store(dsn: str):
    """`PostgresCheckpointStorage` passes the conformance suite, with several handles on each schema."""
    schemas = {}

    def make():
        schema = f"s{len(schemas)}"
        store = PostgresCheckpointStorage(dsn, schema=schema)
        schemas[id(store)] = schema
        return store

    await check_store(make, lambda store: PostgresCheckpointStorage(dsn, schema=schemas[id(store)]))
