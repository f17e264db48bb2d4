"""Journals of every release, replayed by this one. `tests.record` says how one gets here."""

from pathlib import Path
from typing import get_args

import pytest

from relayline.events import Answered, Ask, Asked, Ending, Fact, Finished, Settled, ToolReturned
from relayline.messages import Outcome, Part
from relayline.testing import assert_replays, read_recorded
from tests.record import FOLDER, SCENARIOS, record_missing

RECORDED = sorted(FOLDER.glob("*.jsonl"))

FACTS = [entry.fact for path in RECORDED for entry in read_recorded(path)]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_every_recorded_journal_replays(path: Path):
    """What a release once wrote, this one reads, folds at every position, and would write the same way."""
    assert_replays(path)


def test_the_recordings_hold_every_fact():
    """No fact is without a journal that proves it stays readable."""
    assert {type(fact) for fact in FACTS} == set(get_args(Fact))


def test_the_recordings_hold_every_meaning_of_a_fact():
    """Every kind of question, of answer, of ending, of outcome and of message part is in some journal."""
    assert {fact.ask for fact in FACTS if isinstance(fact, Asked)} == set(get_args(Ask))
    assert {fact.settled for fact in FACTS if isinstance(fact, Answered)} == set(get_args(Settled))
    assert {fact.reason for fact in FACTS if isinstance(fact, Finished)} == set(get_args(Ending))
    assert {fact.result.outcome for fact in FACTS if isinstance(fact, ToolReturned)} == set(get_args(Outcome))
    messages = [
        message for fact in FACTS if (message := getattr(fact, "message", None)) and not isinstance(message, str)
    ]
    parts = {type(part) for message in messages for part in message.parts} | {
        type(fact.result) for fact in FACTS if isinstance(fact, ToolReturned)
    }
    assert parts == set(get_args(Part))


async def test_todays_scenarios_replay(tmp_path: Path):
    """What this release writes, it reads; what is there already is left as it is."""
    written = await record_missing(tmp_path)
    assert len(written) == len(SCENARIOS)
    for path in written:
        assert_replays(path)
    assert await record_missing(tmp_path) == []
