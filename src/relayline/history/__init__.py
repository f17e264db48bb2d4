"""What can be done with whole sessions: branches, forgetting, and files to take elsewhere. It needs a store, no team.

::

    from relayline.history import Retention, expire, export_session, import_session

    await expire(store, Retention(delete_after=timedelta(days=365), compact_after=timedelta(days=30), keep_messages=5))
    await export_session(store, "ann", "ann.jsonl")
    await import_session(other_store, "ann.jsonl")
"""

from relayline.history.branches import Diff, diff, fork
from relayline.history.retention import Expired, Fate, Retention, compact, expire
from relayline.history.transfer import File, export_session, import_session

__all__ = [
    "Diff",
    "Expired",
    "Fate",
    "File",
    "Retention",
    "compact",
    "diff",
    "expire",
    "export_session",
    "fork",
    "import_session",
]
