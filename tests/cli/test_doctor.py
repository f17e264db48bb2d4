"""``relayline doctor``: is everything here, and is everything kept in order?"""

import json
import os
import sqlite3
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from relayline.cli.ailments import ailments
from relayline.cli.doctor import EXTRAS
from relayline.cli.finding import SHOWN, Finding, as_lines
from relayline.events import (
    Asked,
    Fact,
    Finished,
    Replied,
    SessionStarted,
    ToolInterrupted,
    ToolStarted,
    TurnEnded,
    TurnStarted,
    UserSpoke,
)
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.messages import Media, Message, Text, ToolCall, user
from relayline.testing import FakeClock
from tests.cli.conftest import TEAM
from tests.cli.kept import call, damage, hold, write


def test_a_damaged_journal(store: Path):
    """One damaged session is named, by the list, the doctor and the chat; the others are as well as before."""
    hold(store, "good", "hello")
    hold(store, "bad", "hello")
    damage(store, "bad")
    listed = {
        each["session_id"]: each["state"]
        for each in json.loads(call("sessions", "--json", "--store", str(store)).output)
    }
    assert listed == {"bad": "damaged", "good": "waiting for the user"}
    examined = call("doctor", "--store", str(store))
    assert examined.exit_code == 1
    assert "problem  session 'bad'" in examined.output
    talked = call("chat", TEAM, "--session", "bad", "--store", str(store), lines="hello\n")
    assert talked.exit_code == 1
    assert "session 'bad'" in talked.output


def test_the_doctor_finds_a_sound_store(store: Path):
    """The store, its sessions and the installation get a line each."""
    assert "not there yet" in call("doctor", "--store", str(store)).output
    assert not store.exists()
    hold(store, "good", "hello")
    shown = call("doctor", "--store", str(store)).output
    assert f"ok       store {store}: " in shown
    assert "sound, 1 session\n" in shown
    assert all(line.startswith(("ok ", "absent ", "problem ")) for line in shown.strip().split("\n"))


def test_the_doctor_leaves_other_peoples_databases_alone(tmp_path: Path):
    """Looking at a database of another program changes no byte of it."""
    path = tmp_path / "foreign.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE somebody_elses(thing)")
    db.close()
    before = path.read_bytes()
    assert "a database of another program" in call("doctor", "--store", str(path)).output
    assert path.read_bytes() == before


def test_a_damaged_file(store: Path):
    """A file with a torn page is found by the doctor."""
    hold(store, "good", *["hello"] * 60)
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    body = bytearray(store.read_bytes())
    body[4096 * 4 : 4096 * 5] = b"\xff" * 4096
    store.write_bytes(body)
    result = call("doctor", "--store", str(store))
    assert result.exit_code == 1
    assert "backup" in result.output


CALL = ToolCall("t1-s1-c0", "pay", '{"to": "Jo"}')
BEGUN: tuple[Fact, ...] = (SessionStarted("team", "f"), UserSpoke(user("hi")), TurnStarted(1, "a"))
CALLED: tuple[Fact, ...] = (*BEGUN, Replied(1, Message("assistant", (CALL,), "a")))


async def found(*facts: Fact, later: timedelta = timedelta()) -> list[Finding]:
    """What is found wrong with a session of these facts."""
    clock = FakeClock()
    store = InMemoryCheckpointStorage(clock)
    await store.append("s", facts, after=0)
    clock.advance(later)
    return await ailments(store, (await store.sessions())[0])


async def test_a_call_that_was_cut_off():
    """A tool that was started and has no result is a problem, once nobody can be at work on it any more."""
    (fresh,) = await found(*CALLED, ToolStarted(1, CALL), later=timedelta(minutes=2))
    assert str(fresh) == snapshot("""note     session 's' is at work in pay(to="Jo"), or was cut off 2 min ago""")
    (old,) = await found(*CALLED, ToolStarted(1, CALL), later=timedelta(hours=5))
    assert (old.state, old.check) == ("problem", "outcome")
    assert old.what.startswith(
        "session 's' was cut off in pay(to=\"Jo\") 5 h ago: it may have taken effect, or not. Take it up: "
    )
    assert old.what.endswith("chat TARGET --session s")


async def test_a_call_whose_tool_is_asked():
    """Until its tool has said what became of a call that was cut off, nobody knows."""
    facts = (*CALLED, ToolStarted(1, CALL), ToolInterrupted(1, CALL.id))
    (old,) = await found(*facts, later=timedelta(hours=5))
    assert (old.state, old.check) == ("problem", "outcome")
    unsaid = Asked("r1", "outcome", 1, "a", CALL, note="TimeoutError: the bank")
    (asked,) = await found(*facts, unsaid)
    assert "answer s/r1 TEXT" in asked.what


async def test_a_turn_that_was_cut_off():
    """Without a tool at work nothing is in doubt."""
    (cut,) = await found(*BEGUN, later=timedelta(days=3))
    assert (cut.state, cut.check) == ("note", "session")
    assert cut.what.startswith("session 's' was cut off 3 days ago. Take it up: ")


async def test_an_outcome_that_nobody_told():
    """A person was asked what became of a call: that stays a problem until they say so."""
    (asked,) = await found(*CALLED, ToolStarted(1, CALL), Asked("r1", "outcome", 1, "a", CALL))
    assert (asked.state, asked.check) == ("problem", "outcome")
    assert "answer s/r1 TEXT (or --again, to run it once more)" in asked.what


@pytest.mark.parametrize(
    "facts",
    [
        (*BEGUN, Asked("r1", "approval", 1, "a", CALL)),
        (*BEGUN, Asked("r1", "reply", 1, "a"), TurnEnded(1, "a")),
        (*BEGUN, TurnEnded(1, "a"), Asked("r1", "user_input", 1, "a"), Finished("terminal")),
    ],
)
async def test_a_request_that_nothing_waits_for(facts: tuple[Fact, ...]):
    """A request whose turn or call is not there any more is found."""
    orphan = (await found(*facts))[0]
    assert (orphan.state, orphan.check) == ("problem", "request")
    assert "request s/r1 is open, but nothing waits for its answer" in orphan.what


async def test_what_is_well():
    """A session that waits as it should has nothing wrong with it."""
    asked = Asked("r1", "user_input", 1, "a")
    reply = Replied(1, Message("assistant", (Text("?"),), "a"))
    assert await found(*BEGUN, reply, TurnEnded(1, "a"), asked, later=timedelta(days=900)) == []
    assert await found(*CALLED, Asked("r1", "approval", 1, "a", CALL), later=timedelta(days=900)) == []
    assert await found(*BEGUN, Asked("r1", "reply", 1, "a"), later=timedelta(days=900)) == []


def test_a_picture_that_is_missing_or_damaged(store: Path):
    """What is kept beside the journal is looked at as well."""
    picture = Media.from_bytes(bytes(range(256)) * 40, "image/png", "bike.png")
    for name in ("gone", "torn", "well"):
        write(store, name, SessionStarted("team", "f"), UserSpoke(Message("user", (Text("look"), picture))))
    with sqlite3.connect(store) as db:
        db.execute("DELETE FROM blob WHERE session = (SELECT key FROM session WHERE id = 'gone')")
        db.execute("UPDATE blob SET content = x'00' WHERE session = (SELECT key FROM session WHERE id = 'torn')")
    db.close()
    shown = [
        each for each in json.loads(call("doctor", "--json", "--store", store).stdout) if each["check"] == "journal"
    ]
    assert {each["session_id"]: each["what"].partition(": ")[2].partition(". The")[0] for each in shown} == {
        "gone": "the content e96760a87768... of [image: bike.png] is missing",
        "torn": "the content e96760a87768... of [image: bike.png] is damaged",
    }


def test_a_session_of_a_newer_release(store: Path):
    """It is named, with what to do; so is a whole store of one."""
    hold(store, "s", "hello")
    with sqlite3.connect(store) as db:
        db.execute("UPDATE fact SET version = 99")
    db.close()
    assert "written by a newer relayline (format 99" in call("doctor", "--store", store).output
    with sqlite3.connect(store) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    shown = call("doctor", "--store", store)
    assert "was written by a newer relayline (layout 99); upgrade to use it" in shown.output
    assert shown.exit_code == 1


def test_a_disk_that_is_full(store: Path, monkeypatch: pytest.MonkeyPatch):
    """Little room is a problem before it is none."""
    import shutil
    from collections import namedtuple

    hold(store, "s", "hello")
    assert " GB free\n" in call("doctor", "--store", store).output
    usage = namedtuple("usage", "total used free")(10**12, 10**12, 5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    shown = call("doctor", "--store", store)
    assert f"problem  store {store}: only 5 MB are free on its disk. Make room\n" in shown.output
    assert shown.exit_code == 1


def test_a_place_that_cannot_be_written(store: Path, monkeypatch: pytest.MonkeyPatch):
    """A store nobody can write to is found without writing to it."""
    hold(store, "s", "hello")
    before = store.read_bytes()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    shown = call("doctor", "--store", store)
    assert f"problem  store {store}: cannot be written" in shown.output
    assert store.read_bytes() == before
    assert "cannot be made in" in call("doctor", "--store", store.with_name("new.db")).output


def test_findings_as_json(store: Path):
    """Each has its state, what was looked at, the session and a sentence."""
    hold(store, "bad", "hello")
    damage(store, "bad")
    shown = call("doctor", "--json", "--store", store)
    assert shown.exit_code == 1
    every = json.loads(shown.stdout)
    assert {tuple(each) for each in every} == {("state", "check", "session_id", "what")}
    assert [each["session_id"] for each in every if each["state"] == "problem" and each["check"] == "journal"] == [
        "bad"
    ]


def test_every_extra_is_looked_at():
    """The doctor knows each that can be installed."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys()


def test_very_many_findings():
    """People are shown the first of those that are alike, and how many more there are."""
    many = [Finding("note", "session", f"number {number}") for number in range(SHOWN + 5)]
    lines = list(as_lines([Finding("ok", "python", "here"), *many]))
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == "note     5 more of these (session); --json has all"
