"""``relayline requests``, ``approve``, ``deny`` and ``answer``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from relayline.events import Answered, ToolStarted
from relayline.messages import ToolCall
from tests.cli import people
from tests.cli.conftest import PEOPLE, TEAM, Relayline
from tests.cli.kept import call, damage, hold, inside, journal, parsed, write


def test_what_waits_for_a_person(store: Path):
    """In all sessions, the longest first; an agent's question to the user is left out unless it is asked for."""
    hold(store, "a", "hello")
    hold(store, "b", "order", "money")
    inside(store, lambda place: people.workflow.with_store(place).run("a person", session_id="c"))
    shown = call("requests", "--store", store)
    assert [" ".join(row.split()[:1] + row.split()[3:]) for row in shown.stdout.strip().split("\n")] == snapshot(
        [
            "REQUEST KIND ASKED BY WHAT",
            'b/r2 desk approval orders refund(number="A-1", amount=5)',
            "c/r1 people turn jo say something, hand over to triage, hand over to back office, or hand back",
        ]
    )
    assert shown.stderr == "1 more wait for their user to say something; --questions lists them\n"
    assert "a/r1" in call("requests", "--questions", "--store", store).stdout
    assert call("requests", "--store", store.with_name("none.db")).output == "Nothing waits for a person.\n"


def test_what_waits_as_json(store: Path):
    """The same for programs: every key is always there."""
    hold(store, "a", "hello")
    hold(store, "b", "order", "money")
    first, second = parsed("requests", "--questions", "--store", store)
    assert first.keys() == second.keys()
    del first["since"], second["since"]
    assert (first["kind"], first["words"], first["call"]) == ("question", "You said 5 characters.", None)
    assert second == snapshot(
        {
            "request_id": "b/r2",
            "session_id": "b",
            "team": "desk",
            "kind": "approval",
            "agent": "orders",
            "call": {"name": "refund", "arguments": '{"number": "A-1", "amount": 5}'},
            "words": "",
            "data": None,
            "handoffs": [],
            "note": "",
        }
    )


def test_requests_beside_a_damaged_session(store: Path):
    """Whatever can be read is listed; the rest is named, with status 1."""
    hold(store, "bad", "hello")
    hold(store, "good", "order", "money")
    damage(store, "bad")
    for command in (["requests"], ["requests", "--json"], ["checkpoints", "list"]):
        shown = call(*command, "--store", store)
        assert shown.exit_code == 1
        assert "good" in shown.stdout
        assert "relayline: session 'bad'" in shown.stderr


def test_an_approval(run: Relayline, store: Path):
    """The call runs, the team goes on, and what follows is printed as in a pipe; whose decision it was is kept."""
    hold(store, "s", "order", "money")
    done = run("approve", "s/r2", TEAM, "--reason", "a good customer", "--store", str(store), env={"LOGNAME": "ann"})
    assert done.stdout == snapshot("""\
   refund(number="A-1", amount=5) = 5.00 EUR paid back for A-1.
orders: So: 5.00 EUR paid back for A-1.
""")
    assert done.stderr == ""
    assert done.returncode == 0
    answered = [entry.fact for entry in journal(store, "s") if isinstance(entry.fact, Answered)][-1]
    assert (answered.settled, answered.note, answered.by) == ("approved", "a good customer", "ann")
    again = run("approve", "s/r2", TEAM, "--store", str(store))
    assert again.returncode == 2
    assert (
        "request 's/r2' is not open: never put, answered already, or withdrawn. Open in session 's': 's/r3'"
        in again.stderr
    )


def test_an_approval_with_other_arguments(store: Path):
    """--arguments replaces them; what does not fit is refused, and the request stays open."""
    hold(store, "s", "order", "money")
    for wrong, says in (("{", "JSON object"), ("[1]", "JSON object"), ('{"amount": "lots"}', "do not fit")):
        refused = call("approve", "s/r2", TEAM, "--arguments", wrong, "--store", store)
        assert refused.exit_code == 2
        assert says in refused.output
    shown = call("approve", "s/r2", TEAM, "--arguments", '{"number": "A-1", "amount": 2}', "--store", store)
    assert '   refund(number="A-1", amount=2) = 2.00 EUR paid back for A-1.\n' in shown.output


def test_a_refusal(store: Path):
    """The call does not run, and the agent reads why; as JSON there is what was said and what is open."""
    hold(store, "s", "order", "money")
    shown = parsed("deny", "s/r2", TEAM, "--reason", "too much", "--store", store)
    assert shown["messages"][0]["tool_results"][0]["outcome"] == "refused"
    assert "too much" in shown["messages"][0]["tool_results"][0]["content"]
    assert (shown["session_id"], shown["run_state"]) == ("s", "IDLE_WITH_PENDING_REQUESTS")
    assert shown["requests"] == ["s/r3"]


def test_what_waits_next_is_told(store: Path):
    """When the team comes to another decision, its line has the request's id."""
    hold(store, "s", "order", "money")
    write(store, "s", Answered("r2", "approved"), ToolStarted(3, journal(store, "s")[-1].fact.call))
    call("chat", TEAM, "--session", "s", "--store", store)
    shown = call("answer", "s/r3", "--again", TEAM, "--store", store)
    assert shown.exit_code == 0, shown.output
    hold(store, "t", "order")
    asked = call("answer", "t/r1", "money", TEAM, "--store", store)
    assert asked.output == snapshot('?? orders: refund(number="A-1", amount=5) (t/r2)\n')


def test_an_answer(store: Path):
    """Words go to the agent that asked; with - they come from the input."""
    hold(store, "s", "hello")
    assert call("answer", "s/r1", "a few words", TEAM, "--store", store).output == "triage: You said 11 characters.\n"
    assert (
        call("answer", "s/r2", "-", TEAM, "--store", store, lines="four").output == "triage: You said 4 characters.\n"
    )


def test_the_turn_of_a_person(store: Path):
    """They say something, hand over or hand back."""
    for name in "abc":
        inside(store, lambda place, name=name: people.workflow.with_store(place).run("a person", session_id=name))
    said = call("answer", "a/r1", "file it", PEOPLE, "--to", "back office", "--store", store).output
    assert said == snapshot("""\
jo: file it
-- jo -> back office
back office: back office heard: [jo] handed the conversation over to you.
""")
    assert "-- jo -> triage" in call("answer", "b/r1", "", PEOPLE, "--back", "--store", store).output
    wrong = call("answer", "c/r1", "", PEOPLE, "--to", "nobody", "--store", store)
    assert wrong.exit_code == 2
    assert "no handoff from 'jo' to 'nobody'" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["approve", "gated", TEAM], "'gated' is no request"),
        (["approve", "nobody/r1", TEAM], "there is no session 'nobody'"),
        (["approve", "gated/r9", TEAM], "Open in session 'gated': 'gated/r2'"),
        (["approve", "asked/r1", TEAM], "asks for words, not for a decision"),
        (["answer", "gated/r2", "yes", TEAM], "asks for a decision: relayline approve"),
        (["answer", "asked/r1", " ", TEAM], "the answer is empty"),
        (["answer", "asked/r1", "x", TEAM, "--back"], "--to and --back are for the turn of a person"),
        (["answer", "asked/r1", "--again", TEAM], "--again is for a call that was interrupted"),
        (
            ["approve", "gated/r2", PEOPLE],
            "belongs to the team 'desk', not to 'people'; say where that team is, as TARGET",
        ),
        (["approve", "gated/r2", "nowhere:x"], "there is no module 'nowhere'"),
    ],
)
def test_what_is_no_answer(arguments: list[str], says: str, store: Path):
    """Each mistake gets a sentence and status 2, and the request stays open."""
    hold(store, "gated", "order", "money")
    hold(store, "asked", "hello")
    result = call(*arguments, "--store", store)
    assert result.exit_code == 2
    assert says in result.output
    assert [each["request_id"] for each in parsed("requests", "--questions", "--store", store)] == [
        "gated/r2",
        "asked/r1",
    ]


def test_a_team_that_fails_afterwards(store: Path):
    """The answer is kept, and the line that tries again is shown."""
    hold(store, "s", "hello")
    failed = call("answer", "s/r1", "fail", TEAM, "--store", store)
    assert failed.exit_code == 1
    assert "the line is dead" in failed.output
    assert f"relayline chat {TEAM} --store {store} --session s` tries again" in failed.output
    assert [each["state"] for each in parsed("sessions", "--store", store)] == ["failed"]


def test_a_call_that_was_killed(run: Relayline, store: Path):
    """Kill -9 in a tool: the doctor finds it, the next run asks, and a person tells or has it run again."""
    command = [sys.executable, "-m", "relayline.cli", "chat", TEAM, "--session", "s", "--store", str(store)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chat:
        assert chat.stdin
        chat.stdin.write("sleep\n")
        chat.stdin.flush()
        until = time.monotonic() + 30
        while not any(entry.fact.type == "tool_started" for entry in journal(store, "s")):
            assert time.monotonic() < until
        os.kill(chat.pid, signal.SIGKILL)
    found = [
        each for each in json.loads(call("doctor", "--json", "--store", store).stdout) if each["session_id"] == "s"
    ]
    assert [(each["state"], each["check"]) for each in found] == [("note", "session")]
    assert "is at work in count_sheep(), or was cut off" in found[0]["what"]
    call("chat", TEAM, "--session", "s", "--store", store)
    examined = call("doctor", "--store", store)
    assert examined.exit_code == 1
    assert "nobody knows what became of count_sheep(), which was cut off. Find out, and type: " in examined.output
    assert "answer s/r1 TEXT" in examined.output
    assert [each["kind"] for each in parsed("requests", "--store", store)] == ["outcome"]
    refused = call("approve", "s/r1", TEAM, "--store", store)
    assert refused.exit_code == 2
    assert "this call was interrupted" in refused.output
    told = call("answer", "s/r1", "There are 12 sheep.", TEAM, "--store", store)
    assert "triage: So: There are 12 sheep.\n" in told.output
    assert "outcome" not in [each["check"] for each in json.loads(call("doctor", "--json", "--store", store).stdout)]


def test_the_store_of_the_team(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A team that was built with a store that lasts stays on it, unless another is named."""
    file = tmp_path / "own.py"
    file.write_text(
        "from relayline.journal.sqlite import SqliteCheckpointStorage\n"
        "from tests.cli.team import workflow as team\n"
        f"workflow = team.with_store(SqliteCheckpointStorage({str(tmp_path / 'own.db')!r}))\n"
    )
    call("chat", f"{file}:workflow", "--session", "s", lines="order\nmoney\n")
    assert len(journal(tmp_path / "own.db", "s")) == 19
    call("chat", f"{file}:workflow", "--session", "s", "--store", store, lines="hello\n")
    assert len(journal(store, "s")) == 6
    assert "5.00 EUR paid back" in call("approve", "s/r2", f"{file}:workflow").output
    monkeypatch.setenv("RELAYLINE_STORE", str(tmp_path / "environment.db"))
    call("chat", f"{file}:workflow", "--session", "s", lines="hello\n")
    assert len(journal(tmp_path / "environment.db", "s")) == 6


def test_an_id_that_looks_like_an_option(store: Path):
    """Behind -- the request of any session is answered."""
    hold(store, "--help", "order", "money")
    assert "paid back" in call("approve", "--store", store, "--", "--help/r2", TEAM).output


def test_a_call_hides_nothing(store: Path):
    """What is to be approved is shown in full, with everything invisible written out."""
    hold(store, "s", "order", "money")
    asked = ToolCall("t3-s1-c0", "refund", json.dumps({"number": "A\u202e-1" + "x" * 500, "amount": 5}))

    async def rewrite(place):
        from dataclasses import replace

        facts = [each.fact for each in await place.read("s")]
        await place.append("t", [*facts[:-1], replace(facts[-1], call=asked)], after=0)

    inside(store, rewrite)
    shown = call("requests", "--store", store).output
    assert "A\\u202e-1" + "x" * 500 in shown


def test_an_interrupt(store: Path):
    """Ctrl-C while the team works ends with the status shells expect; the answer is kept, the rest goes on later."""
    hold(store, "s", "hello")
    command = [sys.executable, "-m", "relayline.cli", "answer", "s/r1", "sleep", TEAM, "--store", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 30
        while not any(entry.fact.type == "tool_started" for entry in journal(store, "s")):
            assert time.monotonic() < until
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    call("chat", TEAM, "--session", "s", "--store", store)
    assert [each["kind"] for each in parsed("requests", "--store", store)] == ["outcome"]
