"""The shop of the handoff tutorial, with the embedded model: through a pipe, as a script, and edge by edge."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from inline_snapshot import snapshot

import relayline
from examples.shop import shop
from relayline import InMemoryCheckpointStorage
from relayline.clients import weights
from relayline.testing import ScriptedClient, handoff_to

SHOP = Path(__file__).parents[2] / "examples" / "shop.py"


@pytest.fixture(scope="module", autouse=True)
def model() -> Path:
    return weights.fetch()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Python with these arguments, ``lines`` on its standard input and a data folder of its own."""

    def run(*arguments: str, lines: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        source = str(Path(relayline.__file__).parents[1])
        env = {"PYTHONPATH": source, "XDG_DATA_HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
        return subprocess.run(
            [sys.executable, *arguments],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, **env},
            timeout=60,
            check=False,
        )

    return run


def chat(run, *lines: str) -> str:
    done = run("-m", "relayline.cli", "chat", str(SHOP), lines=lines)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_broken_device_is_refunded_once_a_person_agrees(run):
    """Question, test, refund with an approval; and the next matter begins at the front desk."""
    lines = ["my headphones make no sound", "B-2001", "I want my money back", "yes", "when does my parcel B-2002 come?"]
    assert chat(run, *lines) == snapshot("""\
-- triage -> technical (the user said: my headphones make no sound)
technical: I need the order number (for example B-2001) for that.
   check_device(order="B-2001") = The self-test of the device from order B-2001: left side silent: broken.
technical: The self-test of the device from order B-2001: left side silent: broken.
-- technical -> refunds (the user said: I want my money back)
?? refunds: refund(order="B-2001") (may it run? yes, or no REASON)
   refund(order="B-2001") = The money for order B-2001 is on its way back.
refunds: The money for order B-2001 is on its way back.
-- triage -> orders (the user said: when does my parcel B-2002 come?)
   find_order(order="B-2002") = Order B-2002: speaker Boom, 149 euros, comes on Friday.
orders: Order B-2002: speaker Boom, 149 euros, comes on Friday.
""")


def test_a_device_that_works_is_not_refunded(run):
    """The way to refunds is shut, also after another device was found to be broken."""
    said = chat(run, "my headphones make no sound", "B-2001", "my speaker makes no sound either: B-2002", "money back!")
    assert said.count("check_device") == 2
    assert "refunds" not in said.split("B-2002")[-1]


def test_nobody_gets_to_refunds_without_a_number(run):
    """It is asked for before the handoff, and what the customer wanted goes with it; a refusal is told."""
    said = chat(run, "I want my money back", "B-2002", "no not yet", "hello")
    assert "orders: I need the number of the order (for example B-2001) for that." in said
    assert "-- orders -> refunds (the user said: I want my money back)" in said
    assert "refunds: That was not done (refund): a person refused it. Reason: not yet" in said
    assert re.search("^triage: Hello", said, re.MULTILINE)


def test_nonsense_moves_nobody(run):
    assert re.fullmatch("triage: I am not sure .*\ntriage: I am not sure .*\n", chat(run, "asdf qwer", "B-9999"))


def test_as_a_script(run):
    """It asks at its own prompt, and ends with its input."""
    done = run(str(SHOP), lines=["please refund B-2001", "yes"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == snapshot("""\
you: -- triage -> orders
-- orders -> refunds
?? refunds: refund {"order": "B-2001"}
yes, or anything to refuse: refunds: The money for order B-2001 is on its way back.
you: \
""")


def test_the_team_is_as_the_page_says(run):
    done = run("-m", "relayline.cli", "graph", str(SHOP), "--check")
    assert (done.returncode, done.stdout) == (0, "shop: no warnings\n")
    assert {(edge.source, edge.target) for edge in shop.pattern.edges} == {
        ("triage", "orders"),
        ("triage", "technical"),
        ("orders", "technical"),
        ("technical", "orders"),
        ("orders", "refunds"),
        ("technical", "refunds"),
    }
    assert len(SHOP.read_text("utf-8").splitlines()) <= 80


async def test_a_model_that_ignores_the_edges(run):
    """No edge, a shut one, a payload that does not fit: each is told to the model, and nobody moves."""
    bad = [handoff_to("refunds", payload={"order": "my last one"}), handoff_to("triage"), "Which order?"]
    client = ScriptedClient({"triage": [handoff_to("refunds"), handoff_to("orders")], "orders": bad})
    team = shop.with_client(client, override=True).with_store(InMemoryCheckpointStorage())
    result = await team.run("Give me money!")
    outcomes = [each.outcome for message in result.messages for each in message.tool_results]
    assert outcomes == ["error", "transferred", "error", "error"]
    assert result.text == "Which order?"
    client.assert_done()
