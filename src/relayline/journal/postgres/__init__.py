"""Journals in a PostgreSQL database (the extra ``postgres``): for several processes, on one machine or on many."""

from relayline.errors import MissingExtra

try:
    from relayline.journal.postgres.storage import PostgresCheckpointStorage
except ImportError as missing:
    if (missing.name or "").startswith("relayline"):
        raise
    raise MissingExtra("the PostgreSQL store needs psycopg: pip install 'relayline[postgres]'") from missing

__all__ = ["PostgresCheckpointStorage"]
