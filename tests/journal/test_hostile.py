"""Hostile and damaged journals: whatever a store holds, nothing runs, nothing escapes, and the others are well."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relayline.errors import DamagedJournal, StoreError
from relayline.events import Compacted, Entry, Fact, SessionStarted, ToolInterrupted, TurnStarted, UserSpoke
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.messages import user
from tests.journal.audited import tried
from tests.journal.corpus import HARMLESS, HOSTILE, KEPT, LAX, NONSENSE, REFUSED, Kept, muddled, talk, team
from tests.journal.writers import ROOT
from tests.strategies import facts

every_kind = pytest.mark.parametrize("kind", KEPT)


class Outcome(NamedTuple):
    error: str
    text: str


REFUSED_LINES = {**{name: (body, 1) for name, body in (HOSTILE | LAX).items()}, **REFUSED}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each kind a store with two conversations, s and t."""
    place = tmp_path_factory.mktemp("template")

    async def furnish(kind: str) -> None:
        async with aclosing(KEPT[kind].open(place / kind)) as store:
            await talk(store, "s")
            await talk(store, "t")

    for kind in KEPT:
        (place / kind).mkdir()
        asyncio.run(furnish(kind))
    return place


def audited(kind: str, folder: Path) -> tuple[Mapping[tuple[str, str], Outcome], list[str]]:
    """What came of each case and attempt in another process, and what the auditor noted there."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.journal.audited", kind, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    *outcomes, noted = map(json.loads, done.stdout.splitlines())
    return {(case, attempt): Outcome(error, text) for case, attempt, error, text in outcomes}, noted


READING = ("read", "list checkpoints", "list all checkpoints", "look", "preview", "usage", "answer", "resume", "say")


@every_kind
def test_no_line_does_anything_but_be_refused(kind: str, template: Path, tmp_path: Path):
    """Code, links, lies and noise where a fact should be: a sentence from everything, no act, and the neighbours are well."""
    kept = KEPT[kind]
    names = {f"{number:03}": name for number, name in enumerate(REFUSED_LINES)}
    for number, name in names.items():
        shutil.copytree(template / kind, tmp_path / number)
        kept.plant(tmp_path / number, "s", 3, *REFUSED_LINES[name])
    shutil.copytree(template / kind, tmp_path / "warm-well")
    shutil.copytree(tmp_path / "000", tmp_path / "warm-ill")
    outcomes, noted = audited(kind, tmp_path)
    assert noted == []
    assert len(outcomes) > 10 * len(names)
    for (number, attempt), (error, text) in outcomes.items():
        where = f"{names[number]}, {attempt}: {error} {text}"
        assert len(text) < 1_000, where
        if attempt in READING:
            assert error == "DamagedJournal", where
            assert "session 's' in " in text, where
        elif attempt == "go on from a checkpoint":
            assert error in ("DamagedJournal", "UsageError"), where
        elif attempt == "another: list":
            assert {"s", "t", "u"} <= set(json.loads(text.replace("'", '"'))), where
        elif attempt in ("list", "another: read", "another: go on", "another: append"):
            assert not error, where
        else:
            assert error in ("", "DamagedJournal"), where


async def test_no_line_in_postgresql_does_anything_but_be_refused(dsn: str):
    """The same, as far as the database takes it: text without the zero character."""
    import psycopg

    from relayline.journal.postgres import PostgresCheckpointStorage

    store = PostgresCheckpointStorage(dsn)
    await talk(store, "s")
    await talk(store, "t")
    others, planted = await store.read("t"), 0
    plant = (
        "UPDATE relayline.fact SET body = %s, version = %s"
        " WHERE seq = 3 AND session = (SELECT key FROM relayline.session WHERE id = 's')"
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, (body, version) in REFUSED_LINES.items():
            with suppress(UnicodeError, psycopg.DataError):
                text = body.decode() if isinstance(body, bytes) else body
                connection.execute(plant, [text, version])
                planted += 1
                for attempt in (
                    lambda: store.read("s"),
                    lambda: store.list_checkpoints(),
                    lambda: team(store).session("s"),
                ):
                    with pytest.raises(DamagedJournal) as raised:
                        await attempt()
                    assert len(str(raised.value)) < 1_000, name
    assert planted > len(REFUSED_LINES) - 10
    assert await store.read("t") == others
    await store.aclose()


@every_kind
async def test_what_only_looks_bad_is_read_as_what_it_says(kind: str, template: Path, tmp_path: Path):
    """Fields nobody knows and keys that are dangerous elsewhere are data, or nothing."""
    for number, (name, (body, fact)) in enumerate(HARMLESS.items()):
        place = tmp_path / str(number)
        shutil.copytree(template / kind, place)
        KEPT[kind].plant(place, "s", 3, body, 1)
        async with aclosing(KEPT[kind].open(place)) as store:
            assert (await store.read("s"))[2].fact == fact, name


@pytest.mark.parametrize("name", NONSENSE)
async def test_facts_that_make_no_conversation_end_in_a_sentence(name: str):
    """Whatever is done with such a session: an answer or an error of ours, and others are not touched."""
    batch = NONSENSE[name]
    if not isinstance(batch[0], SessionStarted | Compacted) and name != "no beginning":
        batch = [SessionStarted("desk", "f"), *batch]
    await _end_in_a_sentence(batch)


@given(st.lists(facts, min_size=1, max_size=8), st.booleans())
@example(batch=[TurnStarted(0, ""), ToolInterrupted(0, "")], begun=False)
async def test_any_facts_at_all_end_in_a_sentence(batch: list[Fact], begun: bool):
    """Random facts behind a beginning, or without one."""
    await _end_in_a_sentence([*([SessionStarted("desk", "f")] if begun else []), *batch])


@given(st.lists(muddled, min_size=1, max_size=8), st.integers(0, 3))
async def test_facts_that_nearly_make_a_conversation_end_in_a_sentence(batch: list[Fact], begun: int):
    """Facts of few agents, turns, calls and requests, so that many of them fit together, and few do altogether."""
    beginning: list[Fact] = [SessionStarted("desk", "f"), UserSpoke(user("hi")), TurnStarted(1, "triage")]
    await _end_in_a_sentence([*beginning[:begun], *batch])


async def _end_in_a_sentence(batch: Sequence[Fact]) -> None:
    store = InMemoryCheckpointStorage()
    await talk(store, "t")
    first = batch[0].upto if isinstance(batch[0], Compacted) else 1
    if not 0 < first < 2**60:
        return  # no store takes that
    await store.restore("s", [Entry(seq, store.now(), fact) for seq, fact in enumerate(batch, first)])
    for attempt, error, text in await tried(store):
        assert not error.startswith("not ours"), f"{attempt}: {text}"
        assert not attempt.startswith("another") or not error, f"{attempt}: {text}"


# --- Bytes


@every_kind
@given(data=st.data())
def test_random_bytes_in_a_journal_are_damage_or_do_no_harm(
    kind: str, template: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    """Spliced in, written over or cut out anywhere: a StoreError or facts, and in lines with checksums nothing but the truth."""
    kept = KEPT[kind]
    place = tmp_path_factory.mktemp("spliced")
    shutil.copytree(template / kind, place, dirs_exist_ok=True)
    path = kept.file(place, "s")
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    gone = data.draw(st.sampled_from([0, 0, 1, 7, 100, 5_000]))
    new = data.draw(st.binary(max_size=40) | st.sampled_from([b"\n", b"\0" * 500, b"{", b'"', b'{"seq":', b"}\n"]))
    path.write_bytes(whole[:start] + new + whole[start + gone :])
    asyncio.run(_read_all(kept, place, template / kind, whole))
    shutil.rmtree(place)


async def _read_all(kept: Kept, place: Path, sound: Path, whole: bytes) -> None:
    async with aclosing(kept.open(sound)) as store:
        entries, others = await store.read("s"), await store.read("t")
    async with aclosing(kept.open(place)) as store:
        try:
            found: list[Entry] = await store.read("s")
            await store.sessions()
            await store.list_checkpoints("s")
        except StoreError:
            found = []
        if kept is KEPT["file"]:
            assert found == entries[: len(found)]
            assert await store.read("t") == others
            assert "t" in [each.session_id for each in await store.sessions()]
        for attempt in (store.sessions, lambda: store.append("s", [SessionStarted("desk", "f")], after=19)):
            with suppress(StoreError):
                await attempt()


@every_kind
def test_a_journal_cut_off_anywhere_is_damage_or_shorter(kind: str, template: Path, tmp_path: Path):
    """At a hundred places of the file."""
    kept = KEPT[kind]
    shutil.copytree(template / kind, tmp_path, dirs_exist_ok=True)
    path = kept.file(tmp_path, "s")
    whole = path.read_bytes()
    for size in range(0, len(whole), len(whole) // 100):
        path.write_bytes(whole[:size])
        asyncio.run(_read_all(kept, tmp_path, template / kind, whole))


# --- The command line


@every_kind
def test_the_command_line_names_what_cannot_be_read(kind: str, template: Path, tmp_path: Path):
    """`relayline sessions` lists a damaged session as damaged, says why, and lists the others; the doctor names it, too."""
    pytest.importorskip("typer", reason="the command line is an extra")
    shutil.copytree(template / kind, tmp_path, dirs_exist_ok=True)
    KEPT[kind].plant(tmp_path, "s", 3, '{"type":"os.system"}', 1)
    store = KEPT[kind].open(tmp_path).path  # type: ignore[attr-defined]
    listed, doctor = (
        subprocess.run(
            [sys.executable, "-m", "relayline.cli", command, "--json", "--store", str(store)],
            capture_output=True,
            text=True,
            check=False,
        )
        for command in ("sessions", "doctor")
    )
    shown = {each["session_id"]: each for each in json.loads(listed.stdout)}
    assert shown["t"]["state"] == "waiting for approval"
    assert shown["s"]["state"] == "damaged"
    assert "entry 3: not a fact of this release" in shown["s"]["problem"]
    assert "entry 3: not a fact of this release" in doctor.stdout
    assert "session 't'" not in doctor.stdout


def test_damage_is_a_store_error():
    """Who catches what the world does to a store catches damage, too."""
    assert issubclass(DamagedJournal, StoreError)
