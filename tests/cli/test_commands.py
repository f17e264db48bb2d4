"""The commands beside the chat, and what they say when something is wrong."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from relayline.cli.model import Told
from relayline.clients.weights import Progress
from tests.cli.conftest import PEOPLE, TEAM, Relayline
from tests.cli.kept import call, hold, parsed


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
    for path in (a_file / "below.db", garbage, foreign):
        for command in (["chat", TEAM], ["sessions"], ["doctor"]):
            if path == a_file / "below.db" and command == ["sessions"]:
                continue  # a file that is not there holds no sessions
            result = call(*command, "--store", str(path), lines="hello\n")
            assert result.exit_code == 1, (command, path)
            assert str(path) in result.output
            assert result.exception is None or isinstance(result.exception, SystemExit)


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
    assert "no session is kept in" in missing.output
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
    unknown = call("graph", TEAM, "--session", "two", "--store", str(store)).output
    assert "there is no session 'two' in this store; `relayline sessions` lists them" in unknown


def test_a_graph_shows_no_session_of_another_team(store: Path):
    """Its names would mean other agents."""
    hold(store, "one", "my order")
    shown = call("graph", PEOPLE, "--session", "one", "--store", str(store))
    assert shown.exit_code == 2
    assert "session 'one' belongs to the team 'desk'" in shown.output


def test_a_graph_finds_a_session_where_its_team_keeps_it(tmp_path: Path):
    """A team that was built with a store that lasts needs no --store, as in a chat."""
    path = tmp_path / "kept.py"
    path.write_text(
        "from relayline.journal.sqlite import SqliteCheckpointStorage\n"
        "from tests.cli.team import workflow as _there\n"
        f"workflow = _there.with_store(SqliteCheckpointStorage({str(tmp_path / 'kept.db')!r}))\n"
    )
    hold(tmp_path / "kept.db", "one", "my order")
    assert "path: triage -> orders" in call("graph", str(path), "--session", "one").output


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
    as_json = parsed("model")
    assert (as_json["installed"], as_json["complete"], as_json["bytes"]) == (False, False, 0)


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
