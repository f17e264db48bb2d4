"""What waits in teams of the other patterns, and in teams within teams, is listed, answered and shown like all else."""

from pathlib import Path

import pytest

from relayline.cli.voice import about
from tests.cli import patterns
from tests.cli.kept import call, inside, parsed

TEAMS = {each.name: each for each in (patterns.reviewed, patterns.signed, patterns.nested)}


@pytest.fixture
def waiting(store: Path) -> Path:
    """A store in which each of the teams waits for a person."""
    for name, team in TEAMS.items():
        inside(store, lambda place, name=name, team=team: team.with_store(place).run("Write.", session_id=name))
    return store


def test_all_that_waits_is_listed(waiting: Path):
    """A look at what an agent said, a value that a function wants, and an approval in a team within a team."""
    found = {each["request_id"]: each for each in parsed("requests", "--store", waiting)}
    assert {key: (each["kind"], each["agent"]) for key, each in found.items()} == {
        "reviewed/r1": ("review", "writer"),
        "signed/r1": ("value", "sign"),
        "nested/t2.r1": ("approval", "refunds/clerk"),
    }
    assert found["reviewed/r1"]["words"] == "A draft."
    assert found["signed/r1"]["data"] == {"text": "A draft."}
    shown = call("requests", "--store", waiting).stdout
    assert all(each in shown for each in ("A draft.", '{"text": "A draft."}', 'refund(number="A-1", amount=5)'))
    where = {each["session_id"]: (each["state"], each["agent"]) for each in parsed("sessions", "--store", waiting)}
    assert where == {
        "reviewed": ("waiting for a review", "writer"),
        "signed": ("waiting for a value", "sign"),
        "nested": ("waiting for approval", "refunds/clerk"),
    }
    kinds = [each["requests"][0]["kind"] for each in parsed("checkpoints", "list", "--store", waiting)]
    assert kinds == ["review", "value", "approval"]
    assert "problem" not in call("doctor", "--store", waiting).stdout


def test_all_that_waits_is_answered(waiting: Path):
    """Feedback makes the agent speak again, a value lets the function go on, an approval runs the call deep within."""

    def decide(*words: str) -> str:
        return call(*words, "--store", waiting).output

    target = "tests.cli.patterns"
    assert "(reviewed/r2)" in decide("deny", "reviewed/r1", f"{target}:reviewed", "--reason", "shorter")
    assert parsed("requests", "--store", waiting)[-1]["words"] == "Shorter."
    decide("approve", "reviewed/r2", f"{target}:reviewed")
    asked_again = decide("answer", "signed/r1", "perhaps", f"{target}:signed")
    assert "does not fit" in asked_again
    assert "(signed/r2)" in asked_again
    assert "Signed: True" in decide("answer", "signed/r2", "true", f"{target}:signed")
    assert "5.00 EUR paid back" in decide("approve", "nested/t2.r1", f"{target}:nested")
    assert {each["state"] for each in parsed("sessions", "--store", waiting) if each["session_id"] != "nested"} == {
        "finished"
    }


def test_what_is_said_and_done_within_a_team_is_shown(waiting: Path):
    """By the path of who did it; also in the journal, in the difference, and in its requests' ids."""
    call("approve", "nested/t2.r1", "tests.cli.patterns:nested", "--store", waiting)
    shown = call("sessions", "show", "nested", "--store", waiting).stdout
    assert "-- t2.r1 approved" in shown
    assert 'refund(number="A-1", amount=5) = 5.00 EUR paid back for A-1.' in shown
    assert "refunds/clerk: Done: 5.00 EUR" in shown
    assert "t2.tool_started" in call("sessions", "show", "nested", "--facts", "--store", waiting).stdout
    assert "+ refunds/clerk: Done" in call("checkpoints", "diff", "nested@10", "nested", "--store", waiting).stdout


def test_who_speaks_for_whom():
    """A function is no person, and a team within a team has voices of its own."""
    assert about(patterns.signed) == "writer: a script\nsign: a function"
    assert about(patterns.nested) == "a script"
