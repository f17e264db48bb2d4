"""The file store: the rules of every store, several processes, sudden deaths, full disks, torn ends, and what it costs."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from relayline import FileCheckpointStorage, HandoffBuilder, SessionNotFound, StoreError
from relayline.errors import DamagedJournal
from relayline.events import Entry, Fact, Retried, UserSpoke
from relayline.journal.codec import encode
from relayline.journal.files import folder as folders
from relayline.journal.packing import Durability
from relayline.messages import Media, Message, user
from relayline.testing import FakeClock, ScriptedClient, assert_replays, call, check_store, handoff_to
from relayline.testing.stores import ODD_IDS
from tests.journal.steps import DO, Stood, at_step, facts, furnish, no_room, stood, the_file
from tests.journal.writers import ROOT, start, tell, whole_batches


@asynccontextmanager
async def opened(path: Path, clock: FakeClock | None = None) -> AsyncIterator[FileCheckpointStorage]:
    store = FileCheckpointStorage(path, clock or FakeClock())
    try:
        yield store
    finally:
        await store.aclose()


# --- The rules


@pytest.mark.parametrize("durability", ["normal", "full"])
async def test_the_file_store_keeps_the_rules_of_every_store(tmp_path: Path, durability: Durability):
    """`FileCheckpointStorage` passes the conformance suite, with several handles on each folder."""
    paths = (tmp_path / str(number) for number in itertools.count())
    await check_store(
        lambda: FileCheckpointStorage(next(paths), durability=durability),
        lambda store: FileCheckpointStorage(store.path, durability=durability),
    )


async def test_nothing_is_made_before_the_first_write(tmp_path: Path):
    """Declaring a store, reading from it and closing it touch no disk; writing makes its folder."""
    path = tmp_path / "new" / "folder"
    store = FileCheckpointStorage(path)
    await store.aclose()
    assert await store.sessions() == await store.read("s") == await store.findings() == []
    assert not path.parent.exists()
    await store.append("s", facts(1), after=0)
    assert path.exists()
    await store.aclose()
    assert len(await store.read("s")) == 1, "a store that was closed is good for another use"
    await store.aclose()


async def test_a_journal_is_lines_of_json_that_any_tool_reads(tmp_path: Path):
    """Between a head and the seal behind each batch stand the facts, letter by letter as the codec writes them."""
    batches = [[UserSpoke(user("Hi ♥")), Retried("a")], [Retried("b")]]
    async with opened(tmp_path) as store:
        await store.append("ann / bob", batches[0], after=0)
        await store.append("ann / bob", batches[1], after=2)
    head, *lines = the_file(tmp_path, "ann-bob-").read_text("utf-8").splitlines()
    assert {"format": 1, "session": "ann / bob", "started": "2026-01-01T00:00:00.000000Z"}.items() <= json.loads(
        head
    ).items()
    assert [lines[0], lines[1], lines[3]] == [encode(fact) for batch in batches for fact in batch]
    assert [json.loads(line)["seq"] for line in (lines[2], lines[4])] == [2, 3]


async def test_files_are_named_so_that_every_file_system_tells_them_apart(tmp_path: Path):
    """A name is short, plain ASCII, no device's, and different also where case and accents do not count."""
    async with opened(tmp_path) as store:
        for number, key in enumerate(ODD_IDS):
            await store.append(key, [UserSpoke(user(str(number)))], after=0)
    names = [name for name in os.listdir(tmp_path) if name.endswith(".jsonl")]
    assert len({name.lower() for name in names}) == len(ODD_IDS)
    assert all(name.isascii() and len(name) < 100 and name[0].isalnum() for name in names)
    reserved = {"con", "prn", "aux", "nul"}
    assert not reserved & {name.split(".")[0] for name in names}


@pytest.mark.parametrize("text", [None, b"", b"99999999999999999999\n", b"-7", b"\xff" * 30, b"0" * 1_000_000])
async def test_the_order_of_sessions_outlives_the_lock_file(tmp_path: Path, text: bytes | None):
    """Without the number in it, or with one that is nonsense, writes are counted on from the time."""
    clock = FakeClock()
    async with opened(tmp_path, clock) as store:
        for key in ("a", "b", "c"):
            await store.append(key, facts(1), after=0)
        lock = tmp_path / "store.lock"
        lock.unlink() if text is None else lock.write_bytes(text)
        await store.append("a", facts(1), after=1)
        await store.append("b", facts(1), after=1)
        assert [each.session_id for each in await store.sessions()] == ["c", "a", "b"]


async def test_other_files_in_the_folder_are_left_alone(tmp_path: Path):
    """What somebody else keeps there is no session, is not read and not touched."""
    (tmp_path / "notes.jsonl").write_text('{"type":"retried"}\n')
    (tmp_path / "README").write_text("mine")
    (tmp_path / "draft.new").write_text("mine")
    async with opened(tmp_path) as store:
        await store.append("s", facts(1), after=0)
        assert [each.session_id for each in await store.sessions()] == ["s"]
        assert await store.findings() == []
        await store.delete("s")
    assert sorted(os.listdir(tmp_path)) == ["README", "draft.new", "notes.jsonl", "store.lock"]


# --- Several processes


async def test_who_reads_while_others_write_sees_whole_batches(tmp_path: Path):
    """A reader that looks as fast as it can finds the beginning of the same journal every time, and no damage."""
    writer = await asyncio.to_thread(start, f"{tmp_path}/", "s", "one", 50)
    tell(writer, 150)
    seen: list[Entry] = []
    async with opened(tmp_path) as store:
        await store.append("other", facts(1), after=0)
        while len(seen) < 150 * 50:
            entries = await store.read("s")
            assert entries[: len(seen)] == seen
            assert whole_batches(entries, 50)
            assert await store.findings() == [], "a write that is under way is not one that was cut off"
            seen = entries
            if seen:
                assert await store.read("s", after=len(seen) - 1, upto=len(seen)) == seen[-1:]
    assert (await asyncio.to_thread(writer.communicate, timeout=60))[1] == ""


async def test_who_has_waited_long_enough_for_another_process_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process that stands still in the middle of a write keeps nobody waiting for ever."""
    monkeypatch.setattr(folders, "TIMEOUT", 0.05)
    async with opened(tmp_path) as store:
        await store.append("s", facts(1), after=0)
        with folders.locked(tmp_path):
            with pytest.raises(StoreError, match="another process has kept .* locked for"):
                await store.append("s", facts(1), after=1)
            assert len(await store.read("s")) == 1, "reading waits for nobody"
        await store.append("s", facts(1), after=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")
def test_a_forked_child_goes_on_with_the_store(tmp_path: Path):
    """A store that was used before a server forked its workers is good in each of them."""
    program = f"""
import asyncio, os
from relayline import FileCheckpointStorage
from relayline.events import TurnStarted

store = FileCheckpointStorage({str(tmp_path / "s")!r})

async def write(number):
    await store.append("s", [TurnStarted(number, "a")], after=number)

asyncio.run(write(0))
if not (child := os.fork()):
    asyncio.run(write(1))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(write(2))
print([entry.seq for entry in asyncio.run(store.read("s"))])
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "[1, 2, 3]\n"), done.stderr


# --- Sudden deaths and full disks


def test_whenever_a_process_dies_what_it_did_is_done_or_not_done(tmp_path: Path):
    """Killed at any step of anything a store does, it leaves all sessions as before or as after, and the next can do it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.journal.steps", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = {name: int(count) for name, _, count in (line.rpartition(" ") for line in done.stdout.splitlines())}
    assert list(steps) == list(DO)
    assert min(steps.values()) >= 3
    assert steps["cut"] > 30


def held_and_said(found: Stood) -> dict[str, tuple[list[Fact], str]]:
    """Without the times, which differ where something is tried again."""
    return {key: ([entry.fact for entry in entries], why) for key, (entries, why) in found.items()}


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("name", DO)
async def test_a_disk_that_fails_at_any_step_is_a_store_error_and_the_store_goes_on(
    tmp_path: Path, name: str, for_good: bool, monkeypatch: pytest.MonkeyPatch
):
    """Whichever step fails, all sessions are as before or as after, and the same store can do it once there is room."""
    monkeypatch.setattr(os, "fsync", lambda number: None)  # many times over; that it fails is what matters here
    await furnish(tmp_path / "start")
    before = held_and_said(await stood(tmp_path / "start"))
    shutil.copytree(tmp_path / "start", tmp_path / "whole")
    async with opened(tmp_path / "whole") as store:
        await DO[name](store)
    after = held_and_said(await stood(tmp_path / "whole"))
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "start", folder)
        async with opened(folder) as store:
            with at_step(number, no_room, for_good=for_good) as taken:
                failed = False
                try:
                    await DO[name](store)
                except StoreError as error:
                    failed = "No space left on device" in str(error)
            steps = taken()
            found = held_and_said(await stood(folder))
            assert found in ((before, after) if failed else (after,))
            if found == before:
                await DO[name](store)
            assert held_and_said(await stood(folder)) == after
        if steps < number:
            assert not failed
            break


# --- Torn ends


async def grown(path: Path) -> list[int]:
    """A session of three batches; returns where each ends in its file."""
    ends = [0]
    async with opened(path) as store:
        for after, batch in ((0, facts(2)), (2, facts(1)), (3, [UserSpoke(user("Hi ♥")), *facts(2)])):
            await store.append("s", batch, after=after)
            ends.append(the_file(path).stat().st_size)
    return ends


async def test_a_file_that_was_cut_off_anywhere_reads_up_to_the_last_whole_batch(tmp_path: Path):
    """At every byte: what is left of a batch never happened, the next write takes its place, and it is not kept silent."""
    ends = await grown(tmp_path / "whole")
    whole = the_file(tmp_path / "whole").read_bytes()
    path = the_file(tmp_path / "whole")
    async with opened(tmp_path / "whole") as store:
        entries = await store.read("s")
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            batches = sum(end <= size for end in ends[1:])
            kept = entries[: (0, 2, 3)[batches]]
            assert await store.read("s") == kept
            assert len(await store.sessions()) == bool(kept)
            torn = size - ends[batches]
            assert [(each.torn, bool(each.problem)) for each in await store.findings()] == [(torn, True)] * bool(torn)
            await store.append("s", facts(1), after=len(kept))
            assert [each.fact for each in await store.read("s")] == [*(each.fact for each in kept), *facts(1)]
            assert await store.findings() == []


async def test_the_end_that_is_removed_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Who writes behind what was cut off says what was removed from which file."""
    ends = await grown(tmp_path)
    os.truncate(the_file(tmp_path), ends[2] + 7)
    async with opened(tmp_path) as store:
        assert len(await store.read("s")) == 3
        assert caplog.messages == []
        await store.append("s", facts(1), after=3)
    assert caplog.messages == [
        f"{the_file(tmp_path)}: the last 7 bytes are what is left of a write that was cut off; removed"
    ]


async def test_a_store_can_be_mended_without_writing_to_its_sessions(tmp_path: Path):
    """`mend` removes torn ends and nothing else, and says where."""
    await grown(tmp_path)
    async with opened(tmp_path) as store:
        await store.append("t", facts(1), after=0)
        await store.append("u", facts(1), after=0)
        broken = the_file(tmp_path, "t-")
        broken.write_bytes(broken.read_bytes().replace(b"t0", b"t1"))
        os.truncate(the_file(tmp_path, "s-"), the_file(tmp_path, "s-").stat().st_size - 1)
        os.truncate(the_file(tmp_path, "u-"), 20)
        before = broken.read_bytes()
        assert sorted(path.name[:2] for path in await store.mend()) == ["s-", "u-"]
        assert [each.session_id for each in await store.findings()] == ["t"]
        assert [(each.session_id, each.seq) for each in await store.sessions()] == [("s", 3), ("t", 1)]
        assert await store.mend() == []
    assert broken.read_bytes() == before


@pytest.mark.parametrize(
    "noise", [b"\0" * 5_000, b'{"type":"retried","effect":"a"}\n', b"\0", b'"gAAAA', b"{", b"\xff"]
)
async def test_what_a_dying_machine_leaves_behind_the_last_batch_is_a_torn_end(tmp_path: Path, noise: bytes):
    """Zeros, whole facts without a seal, and half a line: none of it was acknowledged."""
    await grown(tmp_path)
    with the_file(tmp_path).open("ab") as file:
        file.write(noise)
    async with opened(tmp_path) as store:
        assert len(await store.read("s")) == len(await store.read("s", after=5)) + 5 == 6
        assert [each.torn for each in await store.findings()] == [len(noise)]
        await store.append("s", facts(1), after=6)
        assert await store.findings() == []


# --- Damage


async def test_a_changed_bit_is_damage_that_names_file_and_line(tmp_path: Path):
    """One bit anywhere but in what was never acknowledged: the session is not read wrongly, others are, and nobody mends it."""
    await grown(tmp_path)
    path = the_file(tmp_path)
    whole = path.read_bytes()
    async with opened(tmp_path) as store:
        await store.append("t", facts(1), after=0)
        for place in range(len(whole)):
            for bit in (0, 1, 5, 7):
                changed = bytearray(whole)
                changed[place] ^= 1 << bit
                path.write_bytes(changed)
                line = whole[:place].count(b"\n") + 1
                with pytest.raises(DamagedJournal) as raised:
                    await store.read("s")
                assert str(path) in str(raised.value)
                told = int(str(raised.value).partition(", line ")[2].split(":")[0])
                assert line <= told <= whole.count(b"\n")
            if place % 7 == 0:
                assert [(each.session_id in ("s", ""), each.torn) for each in await store.findings()] == [(True, 0)]
                assert await store.mend() == []
                assert path.read_bytes() == changed
                assert len(await store.read("t")) == 1
                assert "t" in {each.session_id for each in await store.sessions()}
        path.write_bytes(whole)
        assert len(await store.read("s")) == 6


async def test_damage_in_the_past_does_not_hide_the_present(tmp_path: Path):
    """What stands behind a damaged batch can be read and appended to; reading all of it tells of the damage."""
    await grown(tmp_path)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"t1"', b'"t9"', 1))
    async with opened(tmp_path) as store:
        with pytest.raises(DamagedJournal, match=r"session 's' in .*\.jsonl, line 4: the checksum does not match"):
            await store.read("s")
        assert [each.seq for each in await store.read("s", after=3)] == [4, 5, 6]
        await store.append("s", facts(1), after=6)


Change = Callable[[list[bytes]], list[bytes]]

LINES: dict[str, tuple[str, Change]] = {
    "a fact is missing": ("line 3: the checksum", lambda lines: [*lines[:1], *lines[2:]]),
    "a fact stands twice": ("line 5: the checksum", lambda lines: [*lines[:2], *lines[1:]]),
    "two facts have changed places": ("line 4: the checksum", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    "a batch is missing": ("line 8: the checksum", lambda lines: [*lines[:4], *lines[6:]]),
    "the first batch is missing": ("line 3: the checksum", lambda lines: [lines[0], *lines[4:]]),
    "a batch stands twice": ("line 8: the checksum", lambda lines: [*lines[:6], *lines[4:]]),
    "two batches have changed places": ("line 3: the checksum", lambda lines: [lines[0], *lines[4:6], *lines[1:4], *lines[6:]]),
    "a seal is missing": ("line 5: the checksum", lambda lines: [*lines[:3], *lines[4:]]),
    "the head is missing": ("line 1: no checksum at its end", lambda lines: lines[1:]),
    "the head stands twice": ("line 5: the checksum", lambda lines: [lines[0], *lines]),
    "an empty line": ("line 5: the checksum", lambda lines: [lines[0], b"\n", *lines[1:]]),
    "line ends of another system": ("line 1: no checksum", lambda lines: [line[:-1] + b"\r\n" for line in lines]),
    "a byte order mark": ("line 1: ", lambda lines: [b"\xef\xbb\xbf" + lines[0], *lines[1:]]),
    "something of another program": ("line 1: no checksum", lambda _: [b"Dear diary,\n", b"nothing.\n"]),
    "one line of another program": ("line 1: not the head", lambda _: [b"Dear diary"]),
    "something behind the end": ("line 11: neither a fact nor", lambda lines: [*lines, b"Dear diary,\n"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
async def test_lines_that_were_lost_doubled_or_moved_are_damage(tmp_path: Path, name: str):
    """The first line that is not what was written behind the one before it is told; nothing is written behind it."""
    sentence, change = LINES[name]
    await grown(tmp_path)
    path = the_file(tmp_path)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    before = path.read_bytes()
    async with opened(tmp_path) as store:
        with pytest.raises(DamagedJournal) as raised:
            await store.read("s")
        assert f"session 's' in {path}, {sentence}" in str(raised.value)
        (finding,) = await store.findings()
        assert sentence in finding.problem
        with suppress(StoreError):
            await store.append("s", facts(1), after=0)
        assert path.read_bytes() == before
        await store.append("t", facts(1), after=0)
        assert len(await store.read("t")) == 1
        await store.delete("s")
        assert [each.session_id for each in await store.sessions()] == ["t"]


async def test_the_journal_of_another_session_is_none_of_this_one(tmp_path: Path):
    """A file that was given another session's name is not read as its journal, whatever it holds."""
    async with opened(tmp_path) as store:
        await store.append("s", facts(1), after=0)
        await store.append("t", facts(2), after=0)
        shutil.copy(the_file(tmp_path, "s-"), the_file(tmp_path, "t-"))
        with pytest.raises(DamagedJournal, match="line 1: this is the journal of session 's'"):
            await store.read("t")
        with pytest.raises(DamagedJournal):
            await store.append("t", facts(1), after=1)
        assert [each.session_id for each in await store.sessions()] == ["s"]
        (finding,) = await store.findings()
        assert "another session" in finding.problem


async def test_a_newer_format_is_refused(tmp_path: Path):
    """A journal of a later release says that it is one, and what to do."""
    from relayline.journal.files import lines

    await grown(tmp_path)
    path = the_file(tmp_path)
    line = lines._sealed(b"", b'{"format":2,"session":"s","news":true}', 0)[0]
    path.write_bytes(line + path.read_bytes().partition(b"\n")[2])
    async with opened(tmp_path) as store:
        with pytest.raises(DamagedJournal, match=r"written by a newer relayline \(format 2, .*\); upgrade"):
            await store.read("s")


async def test_a_branch_whose_origin_is_gone_says_so(tmp_path: Path):
    """Somebody removed a file by hand: the branch is not taken for shorter than it is, and can be deleted."""
    async with opened(tmp_path) as store:
        await store.append("s", facts(3), after=0)
        await store.fork("s", "b", upto=2)
        await store.append("b", facts(1), after=3)
        the_file(tmp_path, "s-").unlink()
        with pytest.raises(
            DamagedJournal, match=r"session 'b' in .*, it shares facts with session 's', which is not there"
        ):
            await store.read("b")
        assert [each.seq for each in await store.read("b", after=2)] == [3, 4]
        await store.append("s", facts(1), after=0)
        with pytest.raises(DamagedJournal, match="it has 1 facts; a branch shares 2 of them"):
            await store.read("b")
        await store.delete("b")
        assert [each.session_id for each in await store.sessions()] == ["s"]


# --- Files that lead elsewhere


def the_one(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"")
    path.unlink()
    path.symlink_to(target)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("odd", [link, pipe, a_folder])
@pytest.mark.parametrize("which", ["s-*.jsonl", "store.lock", "s-*.media/*"])
async def test_what_is_no_regular_file_is_neither_followed_nor_waited_for(
    tmp_path: Path, odd: Callable[[Path], None], which: str
):
    """A link, a pipe or a folder where a file should be is a StoreError that names it; what it leads to stays as it is."""
    picture = Media.from_bytes(b"x" * 5_000, "image/png")
    async with opened(tmp_path) as store:
        await store.append("s", [UserSpoke(Message("user", (picture,)))], after=0)
        await store.append("t", facts(1), after=0)
    path = the_one(tmp_path, which)
    odd(path)
    async with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="is not a regular file"):
            await store.read("s")
            await store.append("s", facts(1), after=1)
        assert len(await store.read("t")) == 1
    if (target := path.with_name("target")).exists():
        assert target.read_bytes() == b""


async def test_a_folder_of_media_that_leads_elsewhere_is_not_written_to(tmp_path: Path):
    """A link in the place of the folder beside a journal: nothing lands behind it, and deleting removes the link only."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    async with opened(tmp_path / "store") as store:
        await store.append("s", facts(1), after=0)
        the_file(tmp_path / "store").with_suffix(".media").symlink_to(elsewhere)
        with pytest.raises(StoreError, match="is a link"):
            await store.append("s", [UserSpoke(Message("user", (Media.from_bytes(b"x" * 5_000, "a/b"),)))], after=1)
        await store.append("s", facts(1), after=1)
        await store.delete("s")
    assert os.listdir(elsewhere) == ["mine"]
    assert os.listdir(tmp_path / "store") == ["store.lock"]


@pytest.mark.parametrize("where", ["file", "file/folder", "x" * 300, "\0"])
async def test_a_place_where_no_folder_can_be_is_a_store_error(tmp_path: Path, where: str):
    """A path that is a file, leads through one, or that no file system takes, is told like any other trouble."""
    (tmp_path / "file").write_text("I am in the way.")
    async with opened(tmp_path / where) as store:
        with pytest.raises(StoreError, match="cannot use the session store"):
            await store.append("s", facts(1), after=0)
        with pytest.raises(StoreError, match="cannot use the session store"):
            await store.append("s", facts(1), after=0)
    assert (tmp_path / "file").read_text() == "I am in the way."


@pytest.mark.parametrize("half", ["\ud800", "a\udfff", ""])
async def test_an_id_of_half_a_character_or_none_is_a_store_error(tmp_path: Path, half: str):
    """It could not be written down, or told from no id, and is refused before anything is."""
    async with opened(tmp_path) as store:
        with pytest.raises(StoreError):
            await store.append(half, facts(1), after=0)
        await store.append("s", facts(1), after=0)
        if half:
            with pytest.raises(StoreError):
                await store.hold("s", half)
        with pytest.raises(StoreError):
            await store.fork("s", half, upto=1)
        assert [(each.session_id, each.held) for each in await store.sessions()] == [("s", "")]
        assert len(await store.read("s")) == 1


# --- What is kept of what is gone


async def test_nothing_is_left_of_a_deleted_session(tmp_path: Path):
    """Its words and its pictures are in no file any more, whoever shared them; the lock file stays."""
    async with opened(tmp_path) as store:
        await furnish(tmp_path)
        for key in ("s", "b", "c", "torn"):
            await store.delete(key)
        await store.hold("held", "")
        await store.delete("held")
        with pytest.raises(SessionNotFound):
            await store.delete("s")
    assert os.listdir(tmp_path) == ["store.lock"]


def all_bytes(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_what_was_cut_is_in_no_file(tmp_path: Path):
    """Words and pictures of the part that was forgotten are gone from the disk; those that are shared are with the branch."""
    from relayline.events import Compacted

    pictures = [Media.from_bytes(bytes([number]) * 5_000, "image/png") for number in range(3)]
    async with opened(tmp_path) as store:
        await store.append("s", [UserSpoke(Message("user", (each,))) for each in pictures], after=0)
        await store.append("s", [UserSpoke(user("secret")), *facts(1)], after=3)
        await store.fork("s", "b", upto=2)
        await store.cut("s", Compacted(4, "team", "f"))
        assert not the_file(tmp_path, "s-").with_suffix(".media").exists()
        assert len(os.listdir(the_file(tmp_path, "b-").with_suffix(".media"))) == 2
        assert len(await store.read("b")) == 3
    assert b"secret" not in all_bytes(tmp_path)


# --- What it costs


async def chat(store: FileCheckpointStorage, turns: int) -> None:
    """``turns`` messages of a user, each with a tool call or a handoff somewhere."""

    def look_up(order: int) -> str:
        """Look an order up."""
        return f"Order {order} was sent on Monday and will be there on Thursday."

    def reply(request: object) -> object:
        number = next(count)
        if number % 3 == 0:
            return call("look_up", order=number)
        if number % 10 == 4:
            return handoff_to(others[request.agent.name], reason="knows more")  # type: ignore[attr-defined]
        return f"Here is what I know about {number}: it is all in order. Is there anything else I can do for you?"

    count, others = itertools.count(), {"triage": "orders", "orders": "triage"}
    client = ScriptedClient(*[reply] * (turns * 5))  # type: ignore[list-item]
    agents = [client.as_agent(name, tools=[look_up]) for name in others]
    flow = HandoffBuilder(participants=agents).with_checkpointing(store).build()
    for turn in range(turns):
        await flow.run(f"Question {turn}: where is my order, please?", session_id="s")


async def test_a_turn_costs_as_little_at_the_end_as_at_the_beginning(tmp_path: Path):
    """Over 300 turns the file grows by the same for each, and stays below twice the plain JSON of its facts."""
    sizes: list[int] = []
    for _ in range(3):
        async with opened(tmp_path) as store:
            await chat(store, 100)
            entries = await store.read("s")
        sizes.append(the_file(tmp_path).stat().st_size)
    plain = sum(len(encode(entry.fact).encode()) for entry in entries)
    assert sizes[2] <= 2 * plain
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert second <= 1.1 * first
    assert_replays(entries)


async def test_a_write_and_a_look_at_the_end_read_the_end_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Behind a megabyte of past, an append and a read of the last facts take a few kilobytes from the disk."""
    async with opened(tmp_path) as store:
        for number in range(200):
            await store.append("s", [Retried("x" * 5_000)], after=number)
        taken: list[int] = []
        real = os.fdopen

        def counting(number: int, mode: str) -> object:
            file = real(number, mode)
            taken.append(0)

            class Counting:
                def __getattr__(self, name: str) -> object:
                    return getattr(file, name)

                def __enter__(self) -> object:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                def read(self, size: int = -1) -> bytes:
                    found = file.read(size)
                    taken[-1] += len(found)
                    return found

                def readline(self) -> bytes:
                    found = file.readline()
                    taken[-1] += len(found)
                    return found

                def __iter__(self) -> object:
                    for line in file:
                        taken[-1] += len(line)
                        yield line

            return Counting()

        monkeypatch.setattr(os, "fdopen", counting)
        await store.append("s", facts(1), after=200)
        assert [each.seq for each in await store.read("s", after=199)] == [200, 201]
        assert [each.seq for each in await store.sessions()] == [201]
    assert 0 < sum(taken) < 15_000


async def test_sessions_are_listed_without_reading_what_has_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of many sessions only those are looked at that were written to since the last time."""
    from relayline.journal.files import listing

    looked: list[str] = []
    real = listing.glance

    def glance(path: Path) -> object:
        looked.append(path.name[:2])
        return real(path)

    monkeypatch.setattr(listing, "glance", glance)
    async with opened(tmp_path) as store:
        for key in "abcde":
            await store.append(key, facts(1), after=0)
        assert len(await store.sessions()) == len(looked) == 5
        looked.clear()
        async with opened(tmp_path) as other:
            await other.append("c", facts(1), after=1)
        assert [each.session_id for each in await store.sessions()] == [*"abdec"]
        assert looked == ["c-"]


# --- Cancelling


async def test_many_may_begin_a_new_store_at_once(tmp_path: Path):
    """Whoever comes first makes the folder: all of them write, and nobody's session is lost."""
    for number in range(20):
        stores = [FileCheckpointStorage(tmp_path / str(number) / "deep") for _ in range(8)]
        try:
            await asyncio.gather(*(store.append(f"s{each}", facts(1), after=0) for each, store in enumerate(stores)))
            assert len(await stores[0].sessions()) == len(stores)
        finally:
            for store in stores:
                await store.aclose()
