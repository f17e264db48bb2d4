"""``relayline sessions``: what is kept, looked at and looked after."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from tests.cli import people
from tests.cli.conftest import PEOPLE, TEAM, Relayline
from tests.cli.kept import call, damage, hold, inside, journal, parsed


def test_the_list(store: Path):
    """A line per session, the latest first: whose it is, where it stands, what it branched off, how it began."""
    hold(store, "asked", "hello")
    hold(store, "gated", "order", "money")
    hold(store, "broken", "fail please")
    call("sessions", "fork", "asked", "--as", "branch", "--store", store)
    call("sessions", "hold", "gated", "--reason", "case 1", "--store", store)
    rows = call("sessions", "--store", store).output.split("\n")
    assert [" ".join(row.split()[:1] + row.split()[3:]) for row in rows if row] == snapshot(
        [
            "SESSION FACTS TEAM WITH STATE BRANCH OF BEGAN WITH",
            "branch 7 desk triage waiting for the user asked@6 hello",
            "broken 4 desk triage failed - fail please",
            "gated 19 desk orders waiting for approval, held - order",
            "asked 6 desk triage waiting for the user - hello",
        ]
    )
    assert call("sessions", "list", "--store", store).output.split("\n") == rows


def test_the_list_as_json(store: Path):
    """The same as JSON, for programs; every key is always there."""
    hold(store, "gated", "order", "money")
    (one,) = parsed("sessions", "--store", store)
    del one["updated"], one["started"]
    assert one == snapshot(
        {
            "session_id": "gated",
            "team": "desk",
            "agent": "orders",
            "state": "waiting for approval",
            "run_state": "IDLE_WITH_PENDING_REQUESTS",
            "requests": ["gated/r2"],
            "facts": 19,
            "parent": "",
            "shared": 0,
            "held": "",
            "words": "order",
            "problem": "",
        }
    )
    damage(store, "gated")
    (damaged,) = parsed("sessions", "--store", store)
    assert damaged.keys() - {"updated", "started"} == one.keys()
    assert (damaged["state"], damaged["run_state"]) == ("damaged", "")
    assert "entry 1" in damaged["problem"]


def test_no_sessions_yet(store: Path):
    """A store that does not exist holds no sessions, and looking does not make it."""
    assert call("sessions", "--store", store).output == f"No session is kept in {store} yet.\n"
    assert parsed("sessions", "--store", store) == []
    assert parsed("checkpoints", "list", "--store", store) == []
    assert parsed("requests", "--store", store) == []
    for command in (["show", "s"], ["export", "s"], ["fork", "s"], ["delete", "s"], ["compact", "s", "--keep", "1"]):
        shown = call("sessions", *command, "--store", store)
        assert shown.exit_code == 2
        assert (
            shown.output
            == f"relayline: no session is kept in {store} yet; --store or RELAYLINE_STORE names another store\n"
        )
    assert not store.exists()


def test_the_store_can_be_named_by_the_environment(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """RELAYLINE_STORE does what --store does, which has the last word, before the command or behind it."""
    hold(store, "there", "hello")
    hold(tmp_path / "other.db", "elsewhere", "hello")
    monkeypatch.setenv("RELAYLINE_STORE", str(store))
    other = ("--store", tmp_path / "other.db")
    assert "there" in call("sessions").output
    for arguments in (("sessions", *other, "list"), ("sessions", "list", *other), ("sessions", *other)):
        assert "elsewhere" in call(*arguments).output
    assert call("sessions", "--store", store, "show", "elsewhere", *other).exit_code == 0


def test_the_latest_sessions_only(store: Path):
    """--limit shows no more than so many, the latest first; 0 shows all."""
    for name in ("one", "two", "three"):
        hold(store, name, "hello")
    for command in (["sessions"], ["sessions", "list"]):
        shown = parsed(*command, "--limit", "2", "--store", store)
        assert [each["session_id"] for each in shown] == ["three", "two"]
    assert len(parsed("sessions", "list", "--limit", "0", "--store", store)) == 3


def test_sessions_that_wait_for_a_person_of_the_team(store: Path):
    """The list says for whom, and which ran out of a budget; the graph says who is a person."""

    async def talk(place):
        await people.workflow.with_store(place).run("a person, please", session_id="asked")
        short = people.short.with_store(place)
        (request,) = (await short.run("a person, please", session_id="spent")).requests
        await short.run(responses={request.request_id: request.data.hand_back()})

    inside(store, talk)
    assert {each["session_id"]: (each["agent"], each["state"]) for each in parsed("sessions", "--store", store)} == {
        "asked": ("jo", "waiting for jo"),
        "spent": ("triage", "stopped, out of budget"),
    }
    assert "jo (a person): Decides about odd cases." in call("graph", PEOPLE).output


def plain(text: str) -> str:
    """Without times."""
    return "\n".join(line for line in text.split("\n") if not line.startswith("facts "))


def test_a_session_is_shown(store: Path):
    """Where it stands, what waits, and what was said, with the number of each fact."""
    hold(store, "s", "order", "money")
    assert plain(call("sessions", "show", "s", "--store", store).output) == snapshot("""\
session  s
team     desk
state    waiting for approval, with orders
waits    s/r2  approval: refund(number="A-1", amount=5)

     2  user: order
     4  triage: One moment.
     7  -- triage -> orders (asks about an order)
    11     find_order(number="A-1") = Order A-1 was delivered.
    12  orders: So: Order A-1 was delivered.
    16  user: money
""")


def test_a_session_is_shown_as_it_was(store: Path):
    """--at goes back to any of its facts; the checkpoint of that number is the same."""
    hold(store, "s", "order", "money")
    shown = call("sessions", "show", "s", "--at", "14", "--store", store).output
    assert "state    as it was after fact 14: waiting for the user, with orders" in shown
    assert "user: money" not in shown
    assert call("checkpoints", "show", "s@14", "--store", store).output == shown
    for wrong in ("0", "20", "-1", "9" * 30):
        refused = call("sessions", "show", "s", "--at", wrong, "--store", store)
        assert refused.exit_code == 2
        assert f"session 's' has the facts 1 to 19; there is no number {wrong}" in refused.output


def test_the_journal_is_shown(store: Path):
    """--facts gives a line per fact: its number, its time, its type and what it says."""
    hold(store, "s", "order", "money")
    lines = call("sessions", "show", "s", "--facts", "--store", store).output.split("\n\n")[1].strip().split("\n")
    assert [" ".join(line.split()[3:]) for line in lines[-3:]] == snapshot(
        [
            "turn_started turn=3 agent=orders",
            'replied orders: refund(number="A-1", amount=5)',
            'asked r2 approval orders: refund(number="A-1", amount=5)',
        ]
    )
    assert len(lines) == 19


def test_a_session_as_json(store: Path):
    """The keys of the list, the messages, what is open, and with --facts the journal as it is."""
    hold(store, "s", "order", "money")
    shown = parsed("sessions", "show", "s", "--store", store)
    assert shown.keys() - parsed("sessions", "--store", store)[0].keys() == {"at", "open", "values", "messages"}
    assert shown["at"] == 19
    assert shown["messages"][-1] == snapshot(
        {
            "role": "assistant",
            "author": "orders",
            "text": "",
            "tool_calls": [{"id": "t3-s1-c0", "name": "refund", "arguments": '{"number": "A-1", "amount": 5}'}],
            "tool_results": [],
            "media": [],
        }
    )
    assert [each["request_id"] for each in shown["open"]] == ["s/r2"]
    facts = parsed("sessions", "show", "s", "--facts", "--store", store)["entries"]
    assert [each["seq"] for each in facts] == list(range(1, 20))
    assert facts[2]["fact"] == {"type": "turn_started", "turn": 1, "agent": "triage"}


def test_a_session_goes_through_a_pipe(run: Relayline, store: Path, tmp_path: Path):
    """Exported to the output and imported from the input it is the same in another store, under its id or another."""
    hold(store, "日本 x", "order", "money")
    other = tmp_path / "other.db"
    written = run("sessions", "export", "日本 x", "-", "--store", str(store))
    assert written.returncode == 0
    assert written.stderr == ""
    for arguments in ((), ("--as", "copy")):
        read = run("sessions", "import", "-", *arguments, "--store", str(other), lines=written.stdout)
        assert (read.returncode, read.stdout) == (0, f"{arguments[1] if arguments else '日本 x'}\n")
    assert journal(other, "日本 x") == journal(other, "copy") == journal(store, "日本 x")
    again = run("sessions", "import", "-", "--store", str(other), lines=written.stdout)
    assert again.returncode == 2
    assert "there is a session '日本 x' already" in again.stderr


def test_a_session_in_a_file(store: Path, tmp_path: Path):
    """A file is never written over; one that is no session is refused with its line, and leaves nothing behind."""
    hold(store, "s", "hello")
    file, other = tmp_path / "s.jsonl", tmp_path / "other.db"
    assert call("sessions", "export", "s", file, "--store", store).output == f"s is in {file}\n"
    refused = call("sessions", "export", "s", file, "--store", store)
    assert refused.exit_code == 2
    assert "there already" in refused.output
    assert parsed("sessions", "import", file, "--store", other) == {"session_id": "s"}
    file.write_text(file.read_text().replace("user_spoke", "user_sung"))
    damaged = call("sessions", "import", file, "--as", "t", "--store", other)
    assert damaged.exit_code == 1
    assert "line 3" in damaged.output
    assert [each["session_id"] for each in parsed("sessions", "--store", other)] == ["s"]
    assert call("sessions", "import", tmp_path / "none", "--store", other).exit_code == 2
    assert call("sessions", "export", "nobody", "--store", store).exit_code == 2


def test_a_branch(store: Path):
    """Its id is printed, and free if none is given; what is said in it is not in the original."""
    hold(store, "s", "hello", "order")
    before = journal(store, "s")
    first = call("sessions", "fork", "s", "--store", store).output.strip()
    assert first.startswith("s-")
    assert parsed("sessions", "fork", "s", "--at", "6", "--as", "b", "--store", store) == {
        "session_id": "b",
        "parent": "s",
        "shared": 6,
    }
    call("chat", TEAM, "--session", "b", "--store", store, lines="something else\n")
    assert journal(store, "s") == before
    assert journal(store, "b")[:6] == before[:6]
    for arguments in (("s", "--as", "b"), ("s", "--at", "99"), ("s", "--at", "0"), ("nobody",)):
        assert call("sessions", "fork", *arguments, "--store", store).exit_code == 2


def test_deleting(store: Path):
    """All or none; nobody is asked with --yes, and without anybody to ask nothing is deleted."""
    for name in ("a", "b", "c"):
        hold(store, name, "hello")
    call("sessions", "hold", "c", "--reason", "case 1", "--store", store)

    def left() -> list[str]:
        return [each["session_id"] for each in parsed("sessions", "--store", store)]

    unasked = call("sessions", "delete", "a", "--store", store)
    assert unasked.exit_code == 2
    assert "--yes" in unasked.output
    for ids in (["a", "nobody"], ["a", "c"]):
        assert call("sessions", "delete", *ids, "--yes", "--store", store).exit_code == 2
    assert left() == ["c", "b", "a"]
    assert call("sessions", "delete", "a", "b", "a", "--yes", "--store", store).output == "deleted a, b\n"
    assert left() == ["c"]


def test_a_hold(store: Path):
    """What is held can be neither deleted nor compacted nor expired, until it is released; it needs a reason."""
    hold(store, "s", "hello", "and again")
    assert call("sessions", "hold", "s", "--reason", " ", "--store", store).exit_code == 2
    assert call("sessions", "hold", "s", "--reason", "case 4711", "--store", store).output == "s is held\n"
    assert parsed("sessions", "show", "s", "--store", store)["held"] == "case 4711"
    for command in (["delete", "s", "--yes"], ["compact", "s", "--keep", "1"]):
        refused = call("sessions", *command, "--store", store)
        assert refused.exit_code == 2
        assert "case 4711" in refused.output
    assert parsed("sessions", "release", "s", "--store", store) == {"session_id": "s", "held": ""}
    assert call("sessions", "delete", "s", "--yes", "--store", store).exit_code == 0
    assert call("sessions", "hold", "s", "--reason", "late", "--store", store).exit_code == 2


def test_compacting(store: Path):
    """The beginning is forgotten and the conversation goes on; where there is nothing to forget, that is said."""
    hold(store, "s", "hello", "how are you", "fine")
    assert "no more than that" in call("sessions", "compact", "s", "--keep", "9", "--store", store).output
    done = parsed("sessions", "compact", "s", "--keep", "1", "--store", store)
    assert done["upto"] == journal(store, "s")[0].seq
    shown = call("sessions", "show", "s", "--store", store).output
    assert "compacted" in shown
    assert "hello" not in shown
    talked = call("chat", TEAM, "--session", "s", "--store", store, lines="good\n")
    assert "session s (continued)" in talked.output
    assert "triage: You said 4 characters." in talked.output


def test_expiry(store: Path):
    """What is older than so long goes; a dry run says what would; a span that is none is refused."""
    hold(store, "s", "hello")
    for wrong in ("30", "d", "0d", "1y", "-3d", "30 days"):
        assert call("sessions", "expire", f"--older-than={wrong}", "--store", store).exit_code == 2
    assert call("sessions", "expire", "--older-than", "1m", "--store", store).output == "Nothing is that old.\n"
    age(store, days=40)
    planned = call("sessions", "expire", "--older-than", "30d", "--dry-run", "--store", store).output
    assert planned == "s  would be deleted: nothing was said for 40 days\n"
    assert len(journal(store, "s")) == 6
    (done,) = parsed("sessions", "expire", "--older-than", "4w", "--store", store)
    assert (done["session_id"], done["fate"], done["dry_run"]) == ("s", "deleted", False)
    assert journal(store, "s") == []


def test_expiry_that_only_forgets(store: Path):
    """With --compact the last messages stay."""
    hold(store, "s", "hello", "how are you", "fine")
    age(store, days=2)
    (done,) = parsed("sessions", "expire", "--older-than", "36h", "--compact", "--keep", "2", "--store", store)
    assert done["fate"] == "compacted"
    assert "user: how are you" in call("sessions", "show", "s", "--store", store).output


def age(store: Path, days: int) -> None:
    """Make all that is in a store so much older."""
    import sqlite3

    with sqlite3.connect(store) as db:
        micros = days * 86_400_000_000
        db.execute("UPDATE session SET started = started - ?, updated = updated - ?", [micros, micros])
        db.execute("UPDATE fact SET at = at - ?", [micros])
    db.close()


@pytest.mark.parametrize(
    "odd", ["a ", " a", "a/b", "..", "-", "--help", "a@6", "'\"", "%2F", "日本", "🏳️", "x" * 300], ids=ascii
)
def test_odd_ids(odd: str, store: Path):
    """Ids of every kind are shown, forked, held, and deleted; behind -- they may begin with a dash."""
    hold(store, odd, "hello")
    shown = call("sessions", "show", "--json", "--store", store, "--", odd)
    assert json.loads(shown.stdout)["session_id"] == odd
    assert odd in [each["session_id"] for each in parsed("sessions", "--store", store)]
    assert call("sessions", "fork", "--as", "branch", "--store", store, "--", odd).output == "branch\n"
    assert call("checkpoints", "show", "--store", store, "--", f"{odd}@6").exit_code == 0
    assert call("sessions", "delete", "--yes", "--store", store, "--", odd).exit_code == 0
    assert [each["session_id"] for each in parsed("sessions", "--store", store)] == ["branch"]


def test_hostile_ids_and_texts_do_not_move_the_cursor(store: Path):
    """Escape sequences and direction marks are nowhere in what any command prints, as text or as JSON."""
    evil = "a\u202eb\x9b31m"
    hold(store, "s", f"order \x1b[2J{evil}")

    async def rename(place):
        await place.fork("s", "evil \u202e\u2066id", upto=6)
        await place.hold("s", f"why \x1b]0;x\x07{evil}")

    inside(store, rename)
    for command in (["sessions"], ["sessions", "show", "s"], ["sessions", "show", "s", "--facts"], ["requests", "--questions"],
                    ["checkpoints", "list"], ["checkpoints", "diff", "s", "evil \u202e\u2066id"], ["doctor"]):  # fmt: skip
        for form in ([], ["--json"]):
            shown = call(*command, *form, "--store", store).output
            assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066"), command
    assert parsed("sessions", "--store", store)[0]["session_id"] == "evil \u202e\u2066id"


def test_a_reader_that_leaves_and_an_interrupt(store: Path):
    """`| head` ends quietly, and so does Ctrl-C."""

    async def many(place):
        entries = await place.read("s")
        for number in range(300):
            await place.append(f"s{number}", [each.fact for each in entries], after=0)

    hold(store, "s", "hello")
    inside(store, many)
    command = [sys.executable, "-m", "relayline.cli", "sessions", "--limit", "0", "--store", str(store)]
    for form in ([], ["--json"]):
        with subprocess.Popen([*command, *form], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.read(1)
            process.stdout.close()
            told = process.stderr.read() if process.stderr else b""
            assert process.wait(30) in (0, 1)
        assert told == b""
    small = [sys.executable, "-m", "relayline.cli", "sessions", "show", "s", "--store", str(store)]
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(small, stdout=writing, stderr=subprocess.PIPE, env=buffered, check=False, timeout=30)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.filterwarnings("ignore:.*(fork|forkpty).*:DeprecationWarning")
def test_on_a_terminal(store: Path):
    """The list fits the terminal, and deleting asks first: no is no, yes is yes."""
    pexpect = pytest.importorskip("pexpect", reason="a pseudo-terminal is needed")
    hold(store, "日本" * 60, "長い文章を書いて表がどうなるか見てみます、いいですか" * 3)

    def spawn(*arguments: str):
        command = ["-m", "relayline.cli", "sessions", *arguments, "--store", str(store)]
        return pexpect.spawn(sys.executable, command, dimensions=(24, 80), timeout=20, encoding="utf-8")

    from rich.cells import cell_len

    listed = spawn()
    listed.expect(pexpect.EOF)
    lines = listed.before.replace("\r", "").strip().split("\n")
    assert [cell_len(line) <= 80 for line in lines] == [True, True]
    for said, fate in (("n", "EOF"), ("y", "deleted")):
        asked = spawn("delete", "日本" * 60)
        asked.expect(r"for good\? \[y/N\] ")
        asked.sendline(said)
        asked.expect(pexpect.EOF if fate == "EOF" else fate)
        asked.wait() if asked.isalive() else None
        assert len(parsed("sessions", "--store", store)) == (1 if said == "n" else 0)


def test_what_a_change_of_the_team_would_do(store: Path, tmp_path: Path):
    """Session by session, without a model and without writing; status 1 if somebody has to see to one."""
    (tmp_path / "after.py").write_text(
        "from relayline import Agent, HandoffBuilder\n"
        'def team(): return HandoffBuilder(name="desk", participants=[Agent("triage"), Agent("sales")])\n'
        'def strict(): return team().with_upgrades(on_change="refuse")\n'
    )
    assert call("sessions", "check", TEAM, "--store", store).output == "no sessions of this team\n"
    assert not store.exists()
    hold(store, "s", "hello")
    same = call("sessions", "check", TEAM, "--store", store)
    assert (same.exit_code, same.output.split("\n")[0].split()) == (0, ["ok", "s"])
    before = journal(store, "s")
    changed = call("sessions", "check", f"{tmp_path / 'after.py'}:team", "--store", store)
    assert changed.exit_code == 0, changed.output
    assert "goes on       s\n" in changed.output
    assert "- agent 'sales' is new\n" in changed.output
    refused = call("sessions", "check", f"{tmp_path / 'after.py'}:strict", "--store", store, "--json")
    assert refused.exit_code == 1
    (report,) = json.loads(refused.stdout)
    assert (report["session_id"], report["fate"]) == ("s", "refused")
    assert "agent 'orders' is gone" in report["differences"]
    assert journal(store, "s") == before
    damage(store, "s")
    assert call("sessions", "check", TEAM, "--store", store).exit_code == 1
