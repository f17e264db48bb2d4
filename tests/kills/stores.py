"""The stores that processes are killed on, by a word that fits on a command line."""

from pathlib import Path

from relayline.journal.file import FileCheckpointStorage
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store


def opened(where: str) -> Store:
    """``sqlite:PATH`` or ``file:PATH``."""
    kind, _, place = where.partition(":")
    match kind:
        case "sqlite":
            return SqliteCheckpointStorage(Path(place))
        case "file":
            return FileCheckpointStorage(Path(place))
        case "file":
            return FileCheckpointStorage(Path(place))
        case _:
            raise ValueError(where)
