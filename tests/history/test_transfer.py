"""Sessions as files: whole out, and whole in or not at all."""

import asyncio
import io
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inline_snapshot import snapshot

from relayline import InMemoryCheckpointStorage, Media, Message, SessionNotFound, StoreError, Text, UsageError
from relayline.errors import DamagedJournal
from relayline.events import Entry, Fact, SessionStarted, TurnEnded, TurnStarted, UserSpoke
from relayline.history import compact, export_session, fork, import_session
from relayline.journal.checkpoints import state_after
from relayline.journal.lines import line, read_line
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.machine.effects import effects
from relayline.messages import user
from relayline.testing import FakeClock, assert_replays, read_recorded
from tests.properties.test_time_travel import journal, worlds
from tests.properties.worlds import World
from tests.record import FOLDER
from tests.strategies import facts

FIRST: list[Fact] = [SessionStarted("team", "f"), UserSpoke(user("Hi. \u2028 日本")), TurnStarted(1, "ann")]


async def small() -> Store:
    store = InMemoryCheckpointStorage(FakeClock())
    await store.append("s", FIRST, after=0)
    await store.append("s", [TurnEnded(1, "ann")], after=3)
    return store


async def exported(store: Store, session_id: str = "s") -> bytes:
    file = io.BytesIO()
    await export_session(store, session_id, file)
    return file.getvalue()


def run(script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """A program of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )


# --- Out


async def test_a_session_is_one_file_of_lines():
    """A header that says what it is, then each entry with its number, its time and its format."""
    store = await small()
    await fork(store, "s", at=3, branch="a branch")
    assert (await exported(store, "a branch")).decode() == snapshot(
        """\
{"format":"relayline/session","version":1,"session":"a branch","entries":4,"parent":{"session":"s","shared":3}}
{"seq":1,"at":"2026-01-01T00:00:00+00:00","version":1,"fact":{"type":"session_started","workflow":"team","fingerprint":"f"}}
{"seq":2,"at":"2026-01-01T00:00:00+00:00","version":1,"fact":{"type":"user_spoke","message":{"role":"user","parts":[{"kind":"text","text":"Hi. \u2028 日本"}]}}}
{"seq":3,"at":"2026-01-01T00:00:00+00:00","version":1,"fact":{"type":"turn_started","turn":1,"agent":"ann"}}
{"seq":4,"at":"2026-01-01T00:00:02+00:00","version":1,"fact":{"type":"forked","session":"s","upto":3}}
"""
    )


async def test_images_are_in_the_file(tmp_path: Path):
    """Also those that a store keeps beside its journal: the file needs nothing else."""
    photo = Media.from_bytes(bytes(range(256)) * 400, "image/png", "bike.png")
    store = SqliteCheckpointStorage(tmp_path / "s.db")
    said = UserSpoke(Message("user", (Text("Look."), photo)))
    await store.append("s", [SessionStarted("team", "f"), said], after=0)
    await export_session(store, "s", tmp_path / "s.jsonl")
    await store.aclose()
    assert photo.data in (tmp_path / "s.jsonl").read_text("utf-8")
    other = SqliteCheckpointStorage(tmp_path / "other.db")
    await import_session(other, tmp_path / "s.jsonl")
    assert (await other.read("s"))[1].fact == said
    await other.aclose()


async def test_an_export_writes_over_nothing_and_leaves_no_half(tmp_path: Path):
    """A file that is there, a folder that is not, a disk that is full, a session that does not exist."""
    store, path = await small(), tmp_path / "s.jsonl"
    path.write_text("precious")
    with pytest.raises(UsageError, match="is there already; an export never writes over a file"):
        await export_session(store, "s", path)
    assert path.read_text() == "precious"
    with pytest.raises(StoreError, match=r"could not write .*nowhere"):
        await export_session(store, "s", tmp_path / "nowhere" / "s.jsonl")
    with pytest.raises(SessionNotFound):
        await export_session(store, "nobody", tmp_path / "new.jsonl")
    script = """
import asyncio, resource, signal, sys
from relayline import InMemoryCheckpointStorage, StoreError
from relayline.events import UserSpoke
from relayline.history import export_session
from relayline.machine.effects import effects
from relayline.messages import user
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    store = InMemoryCheckpointStorage()
    await store.append("s", [UserSpoke(user("x" * 10_000))], after=0)
    try:
        await export_session(store, "s", sys.argv[1])
    except StoreError as error:
        print(error)
asyncio.run(main())
"""
    full = tmp_path / "full.jsonl"
    assert "could not write" in run(script, full).stdout
    assert not full.exists()


# --- There and back


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@given(world=worlds)
@settings(max_examples=15)
def test_every_session_comes_back_as_it_was(kind: str, world: World) -> None:
    """Numbers, times, facts: whatever happened in it. And what is exported again is the same, letter by letter."""
    entries = journal(world.play(2))

    async def check(store: Store) -> None:
        await store.restore("s", entries)
        file = await exported(store)
        assert await import_session(store, io.BytesIO(file), session_id="t") == "t"
        assert await store.read("t") == entries
        again = await exported(store, "t")
        assert again.split(b"\n")[1:] == file.split(b"\n")[1:]
        if await compact(store, "t", messages=1):
            rest = await store.read("t")
            assert await import_session(store, io.BytesIO(await exported(store, "t")), session_id="u") == "u"
            assert await store.read("u") == rest

    asyncio.run(_with(kind, check))


async def _with(kind: str, check: Callable[[Store], Any]) -> None:
    if kind == "memory":
        await check(InMemoryCheckpointStorage(FakeClock()))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteCheckpointStorage(Path(folder) / "s.db", FakeClock())
        await check(store)
        await store.aclose()


@given(facts, st.integers(1, 2**40), st.datetimes(timezones=st.just(UTC)))
def test_every_entry_is_a_line_and_back(fact: Fact, seq: int, at: datetime) -> None:
    """Whatever is said in it: one line, however it is split, and the same entry again."""
    entry = Entry(seq, at, fact)
    assert "\n" not in line(entry)
    assert read_line(line(entry)) == entry


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.jsonl")), ids=lambda path: path.stem)
async def test_journals_of_every_release_can_be_taken_in(path: Path):
    """What an older version recorded is a session file but for its header."""
    lines = await asyncio.to_thread(path.read_bytes)
    header = json.dumps({"format": "relayline/session", "version": 1, "session": "s", "entries": lines.count(b"\n")})
    store = InMemoryCheckpointStorage()
    await import_session(store, io.BytesIO(header.encode() + b"\n" + lines))
    assert await store.read("s") == read_recorded(path)
    assert_replays(await store.read("s"))


async def test_a_session_is_taken_in_under_its_name_or_another(tmp_path: Path):
    """Never over one that is there, and from a path as from an open file."""
    store, path = await small(), tmp_path / "s.jsonl"
    await export_session(store, "s", str(path))
    with pytest.raises(UsageError, match="there is a session 's' already, and an import never writes over one"):
        await import_session(store, path)
    assert await import_session(store, str(path), session_id="日本 2") == "日本 2"
    with path.open("rb") as file:
        assert await import_session(store, file, session_id="t") == "t"
    assert await store.read("t") == await store.read("日本 2") == await store.read("s")
    with pytest.raises(UsageError, match="without control characters"):
        await import_session(store, path, session_id="a\x1b[2J")
    with pytest.raises(UsageError, match="there is no file"):
        await import_session(store, tmp_path / "nowhere.jsonl")
    with pytest.raises(StoreError, match="could not read"):
        await import_session(store, tmp_path)


# --- What is refused


def entry(number: int, **changed: Any) -> Callable[[list[Any]], None]:
    def change(lines: list[Any]) -> None:
        lines[number - 1].update(changed)

    return change


def fact(number: int, **changed: Any) -> Callable[[list[Any]], None]:
    def change(lines: list[Any]) -> None:
        lines[number - 1]["fact"].update(changed)

    return change


def raw(number: int, text: str) -> Callable[[list[Any]], None]:
    def change(lines: list[Any]) -> None:
        lines[number - 1] = text

    return change


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
NESTED = '{"type":"state_changed","values":{"a":' + "[" * 160 + "]" * 160 + "}}"
EARLY = '{"seq":1,"at":"2026-01-01T00:00:00+00:00","version":1,"fact":'

HOSTILE: dict[str, tuple[str, Callable[[list[Any]], Any]]] = {
    "an entry is missing": ("line 4: its number is 4; 3 was expected", lambda lines: lines.pop(3)),
    "an entry stands there twice": ("line 4: its number is 2; 3 was", lambda lines: lines.insert(2, lines[2])),
    "entries have changed places": ("line 3: its number is 3", lambda lines: lines.insert(2, lines.pop(3))),
    "the end is missing": ("line 5: 4 entries were announced, and 3 are there", lambda lines: lines.pop()),
    "there is more": ("line 6: not JSON", lambda lines: lines.append("more")),
    "there is an empty line": ("line 4: not JSON", lambda lines: lines.insert(3, "")),
    "no header": ("line 1: a file of a session begins with", lambda lines: lines.pop(0)),
    "another format": ("line 1: a file of a session begins with", entry(1, format="zip")),
    "a newer format": ("line 1: its format is 2, this release reads up to 1; upgrade", entry(1, version=2)),
    "a format that is no number": ("line 1: its format is 'x'", entry(1, version="x")),
    "a count that is none": ("line 1: a session has 1 entry or more", entry(1, entries=0)),
    "a name that moves the cursor": ("line 1: a session id is a string without control", entry(1, session="a\x1b[2J")),
    "a name that is none": ("line 1: a session id is a string", entry(1, session=["s"])),
    "a header that is a list": ("line 1: a line is one JSON object", raw(1, "[1]")),
    "an entry of a newer release": ("line 3: written by a newer relayline", entry(3, version=99)),
    "an entry's format is no number": ("line 3: not a fact of this release", entry(3, version="1; import os")),
    "a fact of the future": ("line 3: not a fact of this release", fact(3, type="teleported")),
    "a field nobody knows": ("line 5: not a fact of this release", fact(5, agent=7)),
    "an object to be made": ("line 3: not a fact", raw(3, EARLY.replace(":1,", ":2,", 1) + '{"py/object":"os.system"}}')),
    "a key too many": ("line 3: an entry has seq, at, version, fact and nothing else", entry(3, evil=1)),
    "a key twice": ("line 3: not JSON: a key stands there twice", raw(3, '{"seq":2,"seq":2}')),
    "a number that is none": ("line 2: not JSON: NaN is not JSON", raw(2, EARLY + "NaN}")),
    "a number beyond all numbers": ("line 2: seq is a number from 1", entry(2, seq=2**70)),
    "a number of five thousand digits": ("line 2: not JSON", raw(2, f'{{"seq":{"9" * 5000}}}')),
    "a negative number": ("line 2: seq is a number from 1", entry(2, seq=-1)),
    "a number that is true": ("line 2: seq is a number from 1", entry(2, seq=True)),
    "a time that is none": ("line 2: at is a time as in", entry(2, at="yesterday")),
    "a time that is a number": ("line 2: at is a time as in", entry(2, at=0)),
    "a time of somewhere": ("line 2: at is a time in UTC", entry(2, at="2026-01-01T00:00:00+02:00")),
    "a time of nowhere": ("line 2: at is a time in UTC", entry(2, at="2026-01-01T00:00:00")),
    "too deep to read": ("line 3: not JSON", raw(3, DEEP)),
    "too deep to keep": ("line 3: a 'state_changed' fact cannot be kept", raw(3, EARLY.replace(":1,", ":2,", 1) + NESTED + "}")),
    "half a character": ("line 3: not a fact", raw(3, EARLY.replace(":1,", ":2,", 1) + r'{"type":"retried","effect":"\ud800"}}')),
    "it begins in the middle": ("line 2: a session begins with session_started or compacted", raw(2, EARLY + '{"type":"retried","effect":""}}')),
    "it begins twice": ("line 4: a session begins with session_started or compacted, and has only one", lambda lines: lines[3].update(fact=lines[1]["fact"])),
    "it is no conversation": ("line 5: session 's', entry 4 (turn_ended) does not follow", fact(5, turn=9)),
    "media kept beside another store": ("line 3: a medium's data cannot begin with 'sha256:'", fact(3, message={"role": "user", "parts": [{"kind": "media", "media_type": "a/b", "data": "sha256:00"}]})),
    "a stand-in with another number": ("line 2: its number is 1; 7 was expected", fact(2, type="compacted", upto=7)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_refused_with_its_line(name: str):
    """Whatever is wrong with it, and wherever: nothing of it is written."""
    sentence, change = HOSTILE[name]
    lines: list[Any] = [json.loads(each) for each in (await exported(await small())).splitlines()[:5]]
    change(lines)
    text = "".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in lines)
    store = InMemoryCheckpointStorage()
    with pytest.raises(DamagedJournal, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        await import_session(store, io.BytesIO(text.encode()))
    assert await store.sessions() == []


@pytest.mark.parametrize("end", [0, 1, 40, -1, -2, -60])
async def test_a_file_that_was_cut_off_is_refused(end: int):
    """Also in the very last letter, which ends its last line."""
    whole = await exported(await small())
    with pytest.raises(DamagedJournal, match="line"):
        await import_session(InMemoryCheckpointStorage(), io.BytesIO(whole[:end]))


async def test_bytes_that_are_no_text_are_refused():
    """With the line they are in."""
    whole = (await exported(await small())).replace("日".encode(), b"\xff")
    with pytest.raises(DamagedJournal, match="line 3: not UTF-8: invalid start byte at byte"):
        await import_session(InMemoryCheckpointStorage(), io.BytesIO(whole))


@given(st.data())
@settings(max_examples=60)
def test_whatever_happens_to_a_file_it_is_taken_in_whole_or_not_at_all(data: st.DataObject) -> None:
    """Bytes put in, taken out or changed: a sentence, or a conversation that can be gone on with."""

    async def check() -> None:
        whole = bytearray(await exported(await small()))
        for _ in range(data.draw(st.integers(1, 3))):
            start = data.draw(st.integers(0, len(whole)))
            whole[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
        store = InMemoryCheckpointStorage()
        try:
            name = await import_session(store, io.BytesIO(bytes(whole)))
        except DamagedJournal:
            assert await store.sessions() == []
        else:
            effects(state_after(name, await store.read(name)))

    asyncio.run(check())


async def test_a_process_that_dies_while_it_takes_a_session_in_leaves_nothing(tmp_path: Path):
    """SQLite has all of it or none of it."""
    store = await small()
    for _ in range(200):
        seq = len(await store.read("s"))
        await store.append("s", [UserSpoke(user("x" * 1000)), TurnStarted(2, "ann"), TurnEnded(2, "ann")], after=seq)
    await export_session(store, "s", tmp_path / "s.jsonl")
    script = f"""
import asyncio, os, signal
from relayline.history import import_session
from relayline.journal import sqlite
from relayline.journal.sqlite import SqliteCheckpointStorage
write = sqlite._write
def dying(db, key, lines):
    write(db, key, lines)
    os.kill(os.getpid(), signal.SIGKILL)
sqlite._write = dying
asyncio.run(import_session(SqliteCheckpointStorage({str(tmp_path / "s.db")!r}), {str(tmp_path / "s.jsonl")!r}))
"""
    assert run(script).returncode == -signal.SIGKILL
    other = SqliteCheckpointStorage(tmp_path / "s.db")
    assert await other.sessions() == []
    assert await import_session(other, tmp_path / "s.jsonl") == "s"
    assert await other.read("s") == await store.read("s")
    await other.aclose()
