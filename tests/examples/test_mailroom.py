"""The team of examples/mailroom.yaml: a graph with teams in it, as declared, and with a script."""

from pathlib import Path

import pytest

import relayline
from relayline import Workflow
from relayline.teamfile.names import Vocabulary
from relayline.teamfile.read import team
from relayline.testing import ScriptedClient

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def mailroom(monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.syspath_prepend(EXAMPLES)
    workflow = relayline.load(EXAMPLES / "mailroom.yaml", allow=["mailroom"])
    return workflow.with_client(ScriptedClient("Until seven."))


def test_it_is_read_as_it_is_written(mailroom: Workflow):
    """Its functions by name, its teams in place."""
    again = team(mailroom.to_yaml(["mailroom"]), "again", Vocabulary(["mailroom"]))
    assert again.machine == mailroom.machine


async def test_a_question_is_answered_and_stamped(mailroom: Workflow):
    """In a sequence within the graph."""
    result = await mailroom.run("How long are you open?")
    assert result.outputs[0].text == "Until seven. (The library, by return of post)"


async def test_a_bill_is_checked_twice_at_once_and_signed(mailroom: Workflow):
    """What both found is one result, which the person is shown."""
    result = await mailroom.run("Bill from Elm: 300 euros")
    assert result.messages[-1].text == ("Elm is nobody we know; 300 euros is more than we agreed on. Will you sign?")
    [turn] = result.requests
    assert turn.executor_id == "ann"
    result = await mailroom.run(responses={turn.request_id: "No."})
    assert [message.text for message in result.outputs] == ["No."]
