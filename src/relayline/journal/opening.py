"""A store from a word, as a setting, an environment variable or a command line can say it."""

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from relayline.errors import UsageError
from relayline.journal.file import FileCheckpointStorage
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store

Kind: TypeAlias = Literal["sqlite", "folder", "postgresql"]

ALLOWED = "a store is a SQLite file (sessions.db), a folder (sessions/) or a database (postgresql://USER@HOST/NAME)"

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
# Up to the last @: a password with a slash or an @ in it makes no address, but is a password. So are some parameters.
_PASSWORD = re.compile(r"(?<=://)([^:@/?#]*):.*(?=@)|(?<=[?&])((?:ssl)?password)=[^&#]*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is. As a string it is fit to be shown: without the password that ``word`` may hold."""

    kind: Kind
    word: str

    @property
    def path(self) -> Path:
        """The file or folder; of no use for a database."""
        return Path(self.word).expanduser()

    @property
    def is_there(self) -> bool:
        """Whether there may be sessions: False, if there is no such file or folder yet. A database is not asked."""
        return self.kind == "postgresql" or self.path.exists()

    def open(self) -> Store:
        """The store, which opens what is behind it on first use.

        Raises:
            MissingExtra: it needs packages that are not installed.
        """
        match self.kind:
            case "sqlite":
                return SqliteCheckpointStorage(self.path)
            case "folder":
                return FileCheckpointStorage(self.path)
            case "postgresql":
                return _postgres(self.word)

    def __str__(self) -> str:
        return self.word if self.kind != "postgresql" else without_password(self.word)


def open_store(word: str | Path) -> Store:
    """The store that ``word`` means: a SQLite file, a folder for a file store, or ``postgresql://...``.

    A folder is one that is there, or a word that ends with a slash; any other path is a SQLite file, made on first use.

    Raises:
        UsageError: it can mean no store.
        MissingExtra: the packages of that kind of store are not installed.
    """
    return place_of(word).open()


def place_of(word: str | Path) -> Place:
    """What ``word`` means, without touching it; see `open_store`.

    Raises:
        UsageError: it can mean no store.
    """
    text = os.fspath(word)
    scheme = _URL.match(text)
    if scheme and scheme[1].lower() in ("postgresql", "postgres"):
        return Place("postgresql", text)
    if scheme or not text.strip() or "\0" in text:
        raise UsageError(f"{without_password(text)!r} names no store; {ALLOWED}")
    slashes = ("/", os.sep)
    return Place("folder" if text.endswith(slashes) or Path(text).expanduser().is_dir() else "sqlite", text)


def without_password(word: str) -> str:
    """The word as it may be shown, logged and typed again by somebody who knows the password."""
    return _PASSWORD.sub(lambda found: f"{found[2]}=..." if found[2] else found[1], word)


def _postgres(dsn: str) -> Store:
    module: Any = importlib.import_module("relayline.journal.postgres")  # by name: it needs an extra
    store: Store = module.PostgresCheckpointStorage(dsn)
    return store
