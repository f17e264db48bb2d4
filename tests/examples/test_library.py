"""The team of examples/library.yaml: as declared, with a script, and through a pipe with the embedded model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import relayline
from relayline import Workflow
from relayline.clients import weights
from relayline.testing import ScriptedClient, call, handoff_to

EXAMPLES = Path(__file__).parents[2] / "examples"
LIBRARY = EXAMPLES / "library.yaml"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Workflow:
    monkeypatch.syspath_prepend(EXAMPLES)
    return relayline.load(LIBRARY, allow=["shelves"])


def test_nothing_about_it_looks_like_a_mistake(library: Workflow):
    """And what is written of it is read as the same team."""
    assert library.warnings == ()
    assert "shelves:is_extended" in library.to_yaml(["shelves"])


async def test_a_loan_is_extended_once_and_then_the_librarian_is_asked(library: Workflow):
    """The person approves, the way to the librarian opens, and the answer goes back to who asked."""
    case = {"title": "Emma", "matter": "wants it for even longer"}
    script = {
        "desk": [[handoff_to("loans")]],
        "loans": [call("extend_loan", title="Emma"), [handoff_to("ann", payload=case)], "Ann says yes."],
    }
    workflow = library.with_client(ScriptedClient(script))
    [approval] = (await workflow.run("May I keep Emma?", session_id="s")).requests
    assert "handoff_to_ann" not in {tool.name for tool in (await workflow.preview("s", "loans")).tools}
    [turn] = (await workflow.run(responses={approval.request_id: True})).requests
    result = await workflow.run(responses={turn.request_id: "Once more, then."})
    assert result.text == "Once more, then.\nAnn says yes."
    assert [each.source for each in (await workflow.session("s")).handoffs] == ["desk", "loans", "ann"]


def test_it_is_talked_to_in_a_pipe(tmp_path: Path):
    """`relayline chat examples/library.yaml --allow shelves`, from anywhere: its code lies beside it."""
    weights.fetch()
    source = str(Path(relayline.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "relayline.cli", "chat", str(LIBRARY), "--allow", "shelves"],
        input='when are you open?\nwhere do I find the book "Moby Dick"?\n',
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": source, "XDG_DATA_HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=True,
    )
    assert "desk: We are open from 9 to 19, and closed on Sundays." in done.stdout
    assert 'shelves: "Moby Dick" is on shelf 1, second floor.' in done.stdout
    assert "--allow shelves --session library-" in done.stderr
