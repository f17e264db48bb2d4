"""The support desk with the embedded model: what a newcomer sees first, through pipe and terminal."""

import os
import re
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from relayline.clients import weights
from tests.cli.conftest import Relayline

pexpect: Any = pytest.importorskip("pexpect", reason="a pseudo-terminal is needed")


@pytest.fixture(scope="module", autouse=True)
def model() -> Path:
    """The embedded model, fetched if it is not here."""
    return weights.fetch()


def test_the_desk_answers_hands_over_looks_up_and_asks(run: Relayline, store: Path):
    """A question, a parcel, a return and a refund that a person approves: each goes to the right desk and is done."""
    lines = [
        "what are your opening hours?",
        "where is my order A-1042?",
        "I want to return A-1044, it arrived broken",
        "refund A-1044, please",
        "yes",
    ]
    done = run("chat", "--store", str(store), lines="".join(f"{line}\n" for line in lines))
    said = done.stdout
    assert done.returncode == 0, done.stderr
    assert re.search(r"^triage: .*9:00 to 17:00", said, re.MULTILINE)
    assert re.search(r"^-- triage -> orders", said, re.MULTILINE)
    assert re.search(r'^   (track_shipment|find_order)\(order_number="A-1042"\) = .*A-1042', said, re.MULTILINE)
    assert re.search(r"^-- orders -> returns", said, re.MULTILINE)
    assert re.search(r'^   start_return\(.*"broken on arrival".*\) = ', said, re.MULTILINE)
    assert re.search(r'^\?\? returns: refund\(order_number="A-1044".*\)', said, re.MULTILINE)
    assert re.search(r"^returns: .*was refunded", said, re.MULTILINE)


Spawn: TypeAlias = Callable[..., Any]
PROMPT = "you \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


@pytest.fixture
def chat(store: Path, tmp_path: Path) -> Iterator[Spawn]:
    """``relayline chat`` as a newcomer types it, in a terminal of its own, with a shop of its own."""
    opened: list[Any] = []

    def chat(*arguments: str) -> Any:
        plain = {"TERM": "xterm-256color", "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1"}
        env = {**os.environ, **plain, "RELAYLINE_SHOP": str(tmp_path / "shop.db")}
        command = ["-m", "relayline.cli", "chat", "--store", str(store), *arguments]
        terminal = pexpect.spawn(sys.executable, command, dimensions=(50, 100), env=env, timeout=60, encoding="utf-8")
        opened.append(terminal)
        return terminal

    yield chat
    for terminal in opened:
        terminal.close(force=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.filterwarnings("ignore:.*(fork|forkpty).*:DeprecationWarning")
def test_the_first_minute_on_a_terminal(chat: Spawn):
    """Without any argument there is a prompt, an honest word about the model, and a desk that works."""
    terminal = chat()
    terminal.expect("chooses agents by meaning")
    terminal.expect(PROMPT)
    terminal.send("refund A-1044, please\r")
    terminal.expect("triage[^\\n]*returns")
    terminal.expect("asks to run")
    terminal.expect("y runs it")
    terminal.send("n the parcel is not back yet\r")
    terminal.expect("refused it")
    terminal.expect(PROMPT)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.filterwarnings("ignore:.*(fork|forkpty).*:DeprecationWarning")
def test_a_desk_that_is_killed_before_it_pays_pays_once_when_it_is_back(chat: Spawn, tmp_path: Path):
    """Question, handoff, tool, approval card, kill -9; the card is there again; approved, the money moves, once."""
    terminal = chat("--session", "kim")
    terminal.expect(PROMPT)
    terminal.send("where is my order A-1042?\r")
    terminal.expect("triage[^\\n]*orders")
    terminal.expect("A-1042[^\\n]*\\n[^\\n]*Order A-1042")
    terminal.expect(PROMPT)
    terminal.send("refund A-1044, please\r")
    terminal.expect("orders[^\\n]*returns")
    terminal.expect("y runs it")
    terminal.kill(signal.SIGKILL)
    terminal.expect(pexpect.EOF)

    terminal = chat("--session", "kim")
    terminal.expect("continued")
    terminal.expect("asks to run")
    terminal.expect("y runs it")
    terminal.send("y\r")
    terminal.expect("was refunded")
    terminal.expect(PROMPT)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        refunds = shop.execute("SELECT key FROM refunds WHERE number = 'A-1044'").fetchall()
    assert [key.split("/")[0] for (key,) in refunds] == ["kim"]
