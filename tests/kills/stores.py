"""A new store of each kind that processes share, as the word that opens it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import installed, running

KINDS = ("sqlite", "file", "postgresql")


@contextmanager
def a_store(kind: str, folder: Path) -> Iterator[str]:
    """What `open_store` takes for an empty store in ``folder``, or on a server that is there for it."""
    match kind:
        case "sqlite":
            yield str(folder / "sessions.db")
        case "file":
            yield f"{folder / 'sessions'}/"
        case "postgresql":
            with running(installed()) as server:
                yield server.new_database()
        case _:
            raise SystemExit(f"no store {kind!r}; there are: {', '.join(KINDS)}")
