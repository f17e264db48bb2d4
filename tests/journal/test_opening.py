"""A store from a word."""

import re
from pathlib import Path

import pytest

from relayline import UsageError
from relayline.events import SessionStarted
from relayline.journal.opening import open_store, place_of, without_password
from relayline.journal.sqlite import SqliteCheckpointStorage


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("sessions.db", "sqlite"),
        ("no/such/folder/sessions", "sqlite"),
        ("sessions/", "folder"),
        ("postgresql://me@host/db", "postgresql"),
        ("postgres:///db", "postgresql"),
        ("PostgreSQL://host/db", "postgresql"),
        ("C:\\store.db", "sqlite"),
        ("日本.db", "sqlite"),
    ],
)
def test_what_a_word_means(word: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A database by its scheme, a folder by its slash, a SQLite file otherwise; nothing is touched to find out."""
    monkeypatch.chdir(tmp_path)
    assert place_of(word).kind == kind
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there(tmp_path: Path):
    """A folder needs no slash."""
    assert place_of(tmp_path).kind == "folder"
    assert place_of(str(tmp_path)).is_there
    assert not place_of(tmp_path / "sessions.db").is_there


@pytest.mark.parametrize("word", ["", "  ", "mysql://me:secret@host/db", "sqlite://file.db", "https://x", "a\0b"])
def test_what_means_no_store(word: str):
    """Anything else is refused with what would have been right, and without the password in it."""
    with pytest.raises(UsageError, match=re.escape("postgresql://USER@HOST/NAME")) as error:
        open_store(word)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("postgresql://me:s@c:r/e?t@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://:secret@host/db", "postgresql://@host/db"),
        ("postgresql:///db?user=me&password=secret", "postgresql:///db?user=me&password=..."),
        (
            "postgresql://host/db?sslpassword=secret&PASSWORD=secret",
            "postgresql://host/db?sslpassword=...&PASSWORD=...",
        ),
        ("postgresql://me@[::1]:5432/db?application_name=a", "postgresql://me@[::1]:5432/db?application_name=a"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("sessions.db", "sessions.db"),
    ],
)
def test_a_password_is_never_shown(word: str, shown: str):
    """Wherever it stands in an address, and however it is misspelt."""
    assert without_password(word) == shown
    assert str(place_of(word)) == shown


async def test_a_store_that_is_opened_keeps_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`open_store` gives a store, made on first use, under ~ as well."""
    monkeypatch.setenv("HOME", str(tmp_path))
    store = open_store("~/made/sessions.db")
    assert isinstance(store, SqliteCheckpointStorage)
    await store.append("s", [SessionStarted("team", "f")], after=0)
    await store.aclose()
    assert (tmp_path / "made" / "sessions.db").is_file()
