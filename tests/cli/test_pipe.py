"""The chat as a process in a pipe."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

from inline_snapshot import snapshot

from relayline.events import Answered
from relayline.journal.sqlite import SqliteCheckpointStorage
from tests.cli.conftest import PEOPLE, SHORT, TEAM, Relayline


def test_a_whole_conversation(run: Relayline, store: Path):
    """Messages in, plain lines out; what is about the program goes to stderr; status 0."""
    lines = "where is my order?\n\nmoney\nno too much\n"
    done = run("chat", TEAM, "--session", "s", "--store", str(store), lines=lines)
    assert done.stdout == snapshot("""\
triage: One moment.
-- triage -> orders (asks about an order)
   find_order(number="A-1") = Order A-1 was delivered.
orders: So: Order A-1 was delivered.
?? orders: refund(number="A-1", amount=5) (may it run? yes, or no REASON)
   refund(number="A-1", amount=5) = refused: Not run: a person refused it. Reason: too much
orders: So: Not run: a person refused it. Reason: too much
""")
    assert done.stderr.replace(str(store), "STORE").replace(TEAM, "team.py") == snapshot("""\
team desk: triage, orders
a script
new session s
resume with: relayline chat team.py --store STORE --session s
""")
    assert done.returncode == 0


def test_an_open_request_waits_for_the_next_process(run: Relayline, store: Path):
    """What was not answered is put again when the session is taken up, and then carried out."""
    at = ("chat", TEAM, "--session", "s", "--store", str(store))
    first = run(*at, lines="order\nmoney\nwell\n")
    assert first.stderr.count("'well' is no answer") == 1
    assert first.returncode == 1
    second = run(*at, lines="yes\n")
    assert second.stdout == snapshot("""\
?? orders: refund(number="A-1", amount=5) (may it run? yes, or no REASON)
   refund(number="A-1", amount=5) = 5.00 EUR paid back for A-1.
orders: So: 5.00 EUR paid back for A-1.
""")
    assert second.returncode == 0


def test_without_a_session_a_new_one_begins(run: Relayline, store: Path):
    """Its id is new each time, and stderr has the line that takes it up again."""
    ids = set[str]()
    for _ in range(2):
        done = run("chat", TEAM, "--store", str(store), lines="hello\n")
        resume = done.stderr.strip().split("\n")[-1]
        assert resume.startswith(f"resume with: relayline chat {TEAM} --store {store} --session desk-")
        ids.add(resume.split()[-1])
    assert len(ids) == 2


def test_a_model_that_fails(run: Relayline, store: Path):
    """The sentence is on stderr, status 1, and what follows is not sent to a conversation that took another course."""
    done = run("chat", TEAM, "--store", str(store), lines="fail\nhello\n")
    assert done.stdout == ""
    assert "the line is dead" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_a_megabyte_in_a_message(run: Relayline, store: Path):
    """A very long message is a message."""
    done = run("chat", TEAM, "--store", str(store), lines="x" * 1_000_000 + "\n")
    assert done.stdout == "triage: You said 1000000 characters.\n"


def test_what_is_no_text(run: Relayline, store: Path):
    """Bytes that are no UTF-8, control characters and escape sequences neither crash nor come back out."""
    done = run("chat", TEAM, "--store", str(store), lines="caf\udce9 \x1b[31m\x00!\n")
    assert done.stdout == "triage: You said 6 characters.\n"
    assert done.returncode == 0


def test_an_output_without_unicode(run: Relayline, store: Path):
    """Where the output can hold ASCII only, the rest becomes question marks."""
    env = {"PYTHONIOENCODING": "ascii"}
    done = run("chat", TEAM, "--session", "s", "--store", str(store), lines="hello\n", env=env)
    assert done.stdout == "triage: You said 5 characters.\n"


def test_a_reader_that_leaves(store: Path):
    """When nobody reads the output any more, the chat ends without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "relayline.cli", "chat", TEAM, "--store", str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.close()
        _, told = process.communicate("hello\nhello\n", timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in told


def test_ctrl_c_in_a_pipe(store: Path):
    """An interrupt ends the chat with the status shells expect, and nothing that was said is lost."""
    with subprocess.Popen(
        [sys.executable, "-m", "relayline.cli", "chat", TEAM, "--session", "s", "--store", str(store)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == "triage: You said 5 characters.\n"
        os.kill(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        told = process.stderr.read() if process.stderr else ""
    assert process.returncode == 130
    assert "Traceback" not in told


def test_a_person_of_the_team(run: Relayline, store: Path):
    """Whoever writes the lines plays that person too, in as many processes as it takes."""
    at = ("chat", PEOPLE, "--session", "s", "--store", str(store))
    first = run(*at, lines="a person, please\n/handoff nobody\n")
    assert first.stdout == snapshot("""\
-- triage -> jo (wants a person)
?? jo: your turn (SAY SOMETHING, or /handoff triage, /handoff back office, /back)
?? jo: your turn (SAY SOMETHING, or /handoff triage, /handoff back office, /back)
""")
    assert "no handoff from 'jo' to 'nobody'" in first.stderr
    assert first.returncode == 1
    second = run(*at, lines="/handoff back office file it\n")
    assert second.stdout == snapshot("""\
?? jo: your turn (SAY SOMETHING, or /handoff triage, /handoff back office, /back)
jo: file it
-- jo -> back office
back office: back office heard: [jo] handed the conversation over to you.
""")
    assert second.returncode == 0


def test_a_budget_that_is_used_up(run: Relayline, store: Path):
    """It asks, and goes on when told to: at once or in another process."""
    at = ("chat", SHORT, "--session", "s", "--store", str(store))
    first = run(*at, lines="a person, please\n/back\n")
    assert first.stdout.endswith("(/continue, or a new message)\n")
    assert first.returncode == 0
    second = run(*at, lines="/continue\n")
    assert second.stdout == snapshot("""\
?? stopped: the budget of turns is used up, the agents had their 1 turns (/continue, or a new message)
triage: triage heard: [jo] is done and gives the conversation back to you.
""")


def test_a_decision_is_kept_with_the_name_of_the_account(run: Relayline, store: Path):
    """Who approved is in the journal."""
    lines = "order\nmoney\nyes\n"
    run("chat", TEAM, "--session", "s", "--store", str(store), lines=lines, env={"LOGNAME": "ann", "USER": "ann"})
    assert [by for by in asyncio.run(deciders(store)) if by] == ["ann"]


async def deciders(store: Path) -> list[str]:
    async with aclosing(SqliteCheckpointStorage(store)) as place:
        return [entry.fact.by for entry in await place.read("s") if isinstance(entry.fact, Answered)]


def test_reviews_and_questions_are_answered_in_words(run: Relayline, store: Path):
    """Ok lets it go on, anything else is feedback; a value is typed as it is."""
    team = str(Path(__file__).with_name("writers.py"))
    done = run("chat", team, "--session", "s", "--store", str(store), lines="write\nagain\nok\nmany\n12\n")
    assert done.stdout == "writer: Draft 1.\nwriter: Draft 2.\nprice: Draft 2. 12 cents\n"
    assert "writer is done: type ok" in done.stderr
    assert done.stderr.count('price asks: "cents for a word?"') == 2
    assert done.returncode == 0
