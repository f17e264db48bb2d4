"""The commands beside the chat, and what they say when something is wrong."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from typer.testing import CliRunner, Result

from relayline import ModelError
from relayline.cli.commands import app
from relayline.cli.model import Told
from relayline.clients.weights import Progress
from relayline.journal.sqlite import SqliteCheckpointStorage
from tests.cli import people
from tests.cli.conftest import PEOPLE, TEAM, Relayline
from tests.cli.team import workflow


def call(*arguments: str, lines: str = "") -> Result:
    return CliRunner().invoke(app, [*arguments], input=lines)


def hold(store: Path, session: str, *messages: str) -> None:
    """Have a conversation."""

    async def talk() -> None:
        async with aclosing(SqliteCheckpointStorage(store)) as place:
            team = workflow.with_store(place)
            for message in messages:
                with suppress(ModelError):
                    await team.run(message, session_id=session)

    asyncio.run(talk())


def damage(store: Path, session: str) -> None:
    with sqlite3.connect(store) as db:
        db.execute(
            'UPDATE fact SET body = \'{"type":"nonsense"}\' WHERE session = (SELECT key FROM session WHERE id = ?)',
            [session],
        )
    db.close()


@pytest.mark.parametrize("command", [[], ["chat"], ["sessions"], ["graph"], ["doctor"], ["model"], ["model", "fetch"]])
def test_help(command: list[str]):
    """Every command explains itself."""
    shown = call(*command, "--help")
    assert shown.exit_code == 0
    assert "Usage: " in shown.output


def test_version():
    """--version says the name and the version."""
    assert call("--version").output.startswith("relayline ")


def test_help_is_quick_to_load():
    """No terminal library, database or model is loaded to show the help."""
    script = (
        "import sys, relayline.cli.commands as c\n"
        "try: c.app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({'numpy', 'prompt_toolkit', 'rich.console', 'sqlite3'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr.split() == []


def test_a_missing_extra(run: Relayline, tmp_path: Path):
    """Without the packages of the extra there is one sentence that says what to install."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'typer' else find(name, *rest)\n"
    )
    src = Path(sys.modules["relayline"].__file__ or "").parents[1]
    done = run("--help", env={"PYTHONPATH": f"{hidden}:{src}"})
    assert done.returncode == 1
    assert done.stderr == "relayline: the command line needs typer: pip install 'relayline[cli]'\n"


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["chat", "nowhere:team"], 2, "there is no module 'nowhere'"),
        (["chat", TEAM, "--model", "gpt"], 2, "there is no model 'gpt'; there is embedded, gguf:PATH"),
        (["chat", TEAM, "--model", "gguf:/no/such/file"], 2, "/no/such/file"),
        (["chat", TEAM, "--session", ""], 2, "a session id is a printable, non-empty string"),
        (["chat", TEAM, "--session", "a\tb"], 2, "a session id is a printable, non-empty string"),
        (["graph", f"{TEAM}:nothing"], 2, "there is no 'nothing'"),
        (["model", "fetch", "--from", "/no/such/file"], 2, "there is no /no/such/file"),
        (["graph", "--format", "png"], 2, "png"),
        (["dance"], 2, "No such command 'dance'"),
    ],
)
def test_what_was_typed_wrong(arguments: list[str], status: int, says: str):
    """Each mistake gets a sentence and the status of a mistake."""
    result = call(*arguments)
    assert says in result.output
    assert result.exit_code == status


def test_places_where_no_store_can_be(tmp_path: Path):
    """A store that cannot be opened is a sentence and status 1, for every command that needs one."""
    a_file, garbage, foreign = tmp_path / "file", tmp_path / "garbage.db", tmp_path / "foreign.db"
    a_file.write_text("")
    garbage.write_bytes(b"this is no database at all" * 100)
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE somebody_elses(thing)")
    db.close()
    for path in (a_file / "below.db", tmp_path, garbage, foreign):
        for command in (["chat", TEAM], ["sessions"], ["doctor"]):
            if path == a_file / "below.db" and command == ["sessions"]:
                continue  # a file that is not there holds no sessions
            result = call(*command, "--store", str(path), lines="hello\n")
            assert result.exit_code == 1, (command, path)
            assert str(path) in result.output
            assert result.exception is None or isinstance(result.exception, SystemExit)


def test_sessions(store: Path):
    """A line per session, the latest first: who has it, where it stands, how it began."""
    hold(store, "asked", "hello")
    hold(store, "gated", "order", "money")
    hold(store, "broken", "fail please")
    rows = call("sessions", "--store", str(store)).output.split("\n")
    assert [" ".join(row.split()[:1] + row.split()[3:]) for row in rows if row] == snapshot(
        [
            "SESSION FACTS WITH STATE BEGAN WITH",
            "broken 4 triage failed fail please",
            "gated 19 orders waiting for approval order",
            "asked 6 triage waiting for the user hello",
        ]
    )


def test_sessions_as_json(store: Path):
    """The same as JSON, for programs."""
    hold(store, "gated", "order", "money")
    (one,) = json.loads(call("sessions", "--json", "--store", str(store)).output)
    del one["updated"]
    assert one == snapshot(
        {"session_id": "gated", "facts": 19, "agent": "orders", "state": "waiting for approval", "words": "order"}
    )


def test_no_sessions_yet(store: Path):
    """A store that does not exist holds no sessions, and looking does not make it."""
    assert call("sessions", "--store", str(store)).output == f"No session is kept in {store} yet.\n"
    assert json.loads(call("sessions", "--json", "--store", str(store)).output) == []
    assert not store.exists()


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
    assert "sound, 1 sessions" in shown
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


def test_a_graph_in_words():
    """Who may hand over to whom, with what for, where it starts and where it ends."""
    assert call("graph", TEAM).output == snapshot("""\
team desk

triage (start): First contact.
  -> orders: orders

orders: Orders.
  a person approves: refund
  -> triage
""")


def test_a_graph_in_mermaid(tmp_path: Path):
    """The same as a flowchart; the names and descriptions of agents cannot break out of their quotes."""
    path = tmp_path / "odd.py"
    path.write_text(
        "from relayline import Agent, HandoffBuilder\n"
        'a, b = Agent(\'say "hi"\'), Agent("end")\n'
        'workflow = HandoffBuilder(participants=[a, b]).add_handoff(a, b, description="x]|\\n#<br>").build()\n'
    )
    assert call("graph", str(path), "--format", "mermaid").output == snapshot("""\
flowchart LR
    a0(["say #34;hi#34;"])
    a1[["end"]]
    a0 -->|"x#93;#124; #35;#60;br#62;"| a1
""")


def test_a_graph_in_every_format():
    """For reading here under either name, for Graphviz, and as a picture."""
    assert call("graph", TEAM, "--format", "ascii").output == call("graph", TEAM).output
    assert call("graph", TEAM, "--format", "dot").output.startswith('digraph "desk" {')
    assert call("graph", TEAM, "--format", "svg").output.startswith("<svg ")


def test_a_graph_shows_the_way_of_a_session(store: Path):
    """Step by step, with what it is at; a session that is not there is no drawing, and no store is made for it."""
    missing = call("graph", TEAM, "--session", "one", "--store", str(store))
    assert missing.exit_code == 2
    assert "no session 'one'" in missing.output
    assert not store.exists()
    hold(store, "one", "my order")
    assert call("graph", TEAM, "--session", "one", "--store", str(store)).output == snapshot("""\
team desk

triage (start): First contact.
  -> orders [1]: orders

orders (here: waits for the user): Orders.
  a person approves: refund
  -> triage

path: triage -> orders
""")
    assert "[1]" in call("graph", TEAM, "--session", "one", "--store", str(store), "--format", "dot").output
    assert "no session 'two'" in call("graph", TEAM, "--session", "two", "--store", str(store)).output


def test_a_graph_shows_what_an_edge_asks(tmp_path: Path):
    """Edges nobody chooses, that are not always there, carry something or need a person, and where the conversation goes afterwards."""
    path = tmp_path / "terms.py"
    path.write_text(
        "from relayline import Agent, HandoffBuilder\n"
        'builder = HandoffBuilder(name="terms", participants=[Agent(name) for name in "abc"])\n'
        'builder.add_handoff("a", "b", always=True).add_handoff("b", "c", approval="always_require", returns="caller")\n'
        'builder.add_handoff("c", "a", payload=dict, when=lambda *_: True)\n'
        "workflow = builder.build()\n"
    )
    assert call("graph", str(path)).output == snapshot("""\
team terms

a (start)
  => b: (always)

b
  -> c: (a person approves, then back to the caller)

c
  -> a: (not always open, with a payload)
""")
    assert "a0 ==>" in call("graph", str(path), "--format", "mermaid").output


def test_a_team_in_a_file_is_drawn_and_checked(tmp_path: Path):
    """As any other; with status 2 and all that is wrong, if it cannot be built."""
    path = tmp_path / "team.yaml"
    path.write_text("name: filed\nparticipants: [{name: a}]\n")
    assert call("graph", str(path)).output == "team filed\n\na (start, end)\n"
    assert call("graph", str(path), "--check").exit_code == 0
    path.write_text("nam: filed\nparticipants: [{name: a, tools: [os:system]}]\n")
    wrong = call("graph", str(path), "--check")
    assert wrong.exit_code == 2
    assert wrong.output.replace(str(path), "team.yaml") == snapshot("""\
relayline: the team in team.yaml cannot be built as declared
- RL303 team.yaml, line 1: there is no 'nam' in a team; did you mean 'name'?
- RL306 team.yaml, line 2: 'os:system' is not allowed; allowed: nothing. What is, is said where the file is loaded: load(path, allow=[...]), or --allow
""")


def test_the_schema_of_a_team_in_a_file():
    """As it is published."""
    assert json.loads(call("schema").output)["title"] == "A team of relayline"


def test_what_the_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It says what it is, whose, and that it is not here yet."""
    monkeypatch.setenv("RELAYLINE_CACHE", str(tmp_path / "cache"))
    shown = call("model")
    assert shown.exit_code == 0
    assert "Apache-2.0" in shown.output
    assert "not here yet" in shown.output


def test_the_progress_of_a_fetch(capsys: pytest.CaptureFixture[str]):
    """On a terminal a line that changes; in a log a line for each phase, and no more than one a second."""
    steps = [Progress("downloading", done, 84_000_000) for done in range(0, 84_000_000, 1_000_000)]
    for live in (True, False):
        told = Told(live=live)
        for step in [*steps, Progress("verifying"), Progress("done", seconds=2)]:
            told(step)
        told.end()
        shown = capsys.readouterr().err
        assert ("\r" in shown) is live
        assert shown.count("\n") == (1 if live else 3)


def test_a_chat_without_its_model(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The embedded model that is not here is missed at once, with the line to type; a team with its own needs none."""
    monkeypatch.setenv("RELAYLINE_CACHE", str(tmp_path / "cache"))
    missed = call("chat", "--store", str(store), lines="hello\n")
    assert missed.exit_code == 1
    assert "relayline model fetch" in missed.output
    assert not store.exists()
    assert call("chat", TEAM, "--store", str(store), lines="hello\n").exit_code == 0


def test_the_store_can_be_named_by_the_environment(store: Path, monkeypatch: pytest.MonkeyPatch):
    """RELAYLINE_STORE does what --store does."""
    hold(store, "there", "hello")
    monkeypatch.setenv("RELAYLINE_STORE", str(store))
    assert "there" in call("sessions").output


def test_the_latest_sessions_only(store: Path):
    """--limit shows no more than so many, the latest first."""
    for name in ("one", "two", "three"):
        hold(store, name, "hello")
    shown = json.loads(call("sessions", "--json", "--limit", "2", "--store", str(store)).output)
    assert [each["session_id"] for each in shown] == ["three", "two"]


def test_sessions_that_wait_for_a_person_of_the_team(store: Path):
    """The list says for whom, and which ran out of a budget; the graph says who is a person."""

    async def talk() -> None:
        async with aclosing(SqliteCheckpointStorage(store)) as place:
            await people.workflow.with_store(place).run("a person, please", session_id="asked")
            short = people.short.with_store(place)
            (request,) = (await short.run("a person, please", session_id="spent")).requests
            await short.run(responses={request.request_id: request.data.hand_back()})

    asyncio.run(talk())
    shown = json.loads(call("sessions", "--json", "--store", str(store)).output)
    assert {each["session_id"]: (each["agent"], each["state"]) for each in shown} == {
        "asked": ("jo", "waiting for jo"),
        "spent": ("triage", "stopped, out of budget"),
    }
    assert "jo (a person): Decides about odd cases." in call("graph", PEOPLE).output


def test_a_team_is_checked(tmp_path: Path):
    """Status 0 and a line if all is well; 1 and the warnings if something looks like a mistake; 2 if it cannot be."""
    path = tmp_path / "teams.py"
    path.write_text(
        "from relayline import Agent, HandoffBuilder\n"
        'a, b = Agent("a"), Agent("b", description="The second.")\n'
        'good = HandoffBuilder(name="good", participants=[a, b]).add_handoff(a, b).with_terminal_agents([b])\n'
        'one = HandoffBuilder(name="one", participants=[a, b]).add_handoff(a, b)\n'
        'two = HandoffBuilder(name="two", participants=[a, b]).add_handoff(b, a)\n'
        'bad = HandoffBuilder(name="bad", participants=[a, a])\n'
    )
    checks = {name: call("graph", f"{path}:{name}", "--check") for name in ("good", "one", "two", "bad")}
    assert {
        name: (each.exit_code, each.output.replace(str(path), "teams.py")) for name, each in checks.items()
    } == snapshot(
        {
            "good": (0, "good: no warnings\n"),
            "one": (
                1,
                """\
RL202 'b' has no way out: once it has answered, the conversation is finished. If that is meant, say so: .with_terminal_agents(['b'])
one: 1 warning
""",
            ),
            "two": (
                1,
                """\
RL201 nobody hands over to 'b', so it is only reached by run(to='b')
RL202 'a' has no way out: once it has answered, the conversation is finished. If that is meant, say so: .with_terminal_agents(['a'])
RL203 'b' is told nothing of 'a' but its name; give 'a' a description
two: 3 warnings
""",
            ),
            "bad": (
                2,
                """\
relayline: building 'bad' in teams.py: the team cannot be built as declared
- RL102 two participants are called 'a'; names must differ
""",
            ),
        }
    )
    assert call("graph", "--check").exit_code == 0
