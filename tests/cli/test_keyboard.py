"""The chat on a real terminal, driven as a person would."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.cli.conftest import PEOPLE, SHORT, TEAM

pexpect: Any = pytest.importorskip("pexpect", reason="a pseudo-terminal is needed")

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals"),
    # The child replaces itself with another program at once, so a lock held by another thread is no matter.
    pytest.mark.filterwarnings("ignore:.*(fork|forkpty).*:DeprecationWarning"),
]

Terminal: TypeAlias = Any
Chat: TypeAlias = Callable[..., Terminal]
PROMPT = "you \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
JO = "jo \\(a person of the team\\) \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


@pytest.fixture
def chat(store: Path, home: Path) -> Iterator[Chat]:
    """``relayline chat`` with the scripted team, in a terminal of its own."""
    opened: list[Terminal] = []

    def chat(*arguments: str, team: str = TEAM, columns: int = 80, **env: str) -> Terminal:
        command = ["-m", "relayline.cli", "chat", team, "--store", str(store), *arguments]
        # Nobody answers the question where the cursor is.
        environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "PROMPT_TOOLKIT_NO_CPR": "1", **env}
        terminal = pexpect.spawn(
            sys.executable, command, dimensions=(40, columns), env=environment, timeout=20, encoding="utf-8"
        )
        opened.append(terminal)
        terminal.expect(PROMPT) if "--session" not in arguments else None
        return terminal

    yield chat
    for terminal in opened:
        terminal.close(force=True)


def ends(terminal: Terminal) -> str:
    """What was shown until the program ended, which it does well."""
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0
    return terminal.before


def test_a_conversation_that_is_killed_and_taken_up_again(chat: Chat):
    """A question, a handoff, a tool and a card; kill -9; the card is there again; approved, the answer comes."""
    terminal = chat("--session", "s")
    terminal.expect("a script")
    terminal.expect(PROMPT)
    terminal.send("where is my order?\r")
    terminal.expect("One moment.")
    terminal.expect("asks about an order")
    terminal.expect('find_order\\(number="A-1"\\)')
    terminal.expect("So: Order A-1 was delivered.")
    terminal.expect(PROMPT)
    terminal.send("money\r")
    terminal.expect("asks to run")
    terminal.expect("y runs it")
    terminal.kill(signal.SIGKILL)
    terminal.wait()

    terminal = chat("--session", "s")
    terminal.expect("So: Order A-1 was delivered.")
    terminal.expect("money")
    terminal.expect("asks to run")
    terminal.expect("y runs it")
    terminal.send("y\r")
    terminal.expect("So: 5.00 EUR paid back for A-1.")
    terminal.expect(PROMPT)
    terminal.sendeof()
    assert "--session s" in ends(terminal)


def test_ctrl_c_stops_a_turn_and_keeps_the_session(chat: Chat):
    """Ctrl-C ends a tool that takes for ever; /retry asks what became of it, and the conversation goes on."""
    terminal = chat()
    terminal.send("sleep\r")
    terminal.expect("count_sheep")
    terminal.sendintr()
    terminal.expect("Stopped.")
    terminal.expect(PROMPT)
    terminal.send("/retry\r")
    terminal.expect("was interrupted")
    terminal.expect("r runs it again")
    terminal.send("it got to 42\r")
    terminal.expect("So: it got to 42")
    terminal.expect(PROMPT)
    terminal.send("/quit\r")
    ends(terminal)


def test_leaving_a_tool_that_cannot_be_stopped(chat: Chat):
    """A tool in a thread is waited for at the end, which is said; Ctrl-C leaves without it."""
    terminal = chat()
    terminal.send("work\r")
    terminal.expect("work_hard")
    terminal.sendintr()
    terminal.expect(PROMPT)
    terminal.sendeof()
    terminal.expect("Ctrl-C leaves it behind")
    terminal.sendintr()
    assert "Traceback" not in ends(terminal)


def test_ctrl_c_at_the_prompt(chat: Chat):
    """At the prompt the first Ctrl-C throws the line away and the second one leaves."""
    terminal = chat()
    terminal.send("half a thou")
    terminal.sendintr()
    terminal.expect("Ctrl-C again")
    terminal.sendintr()
    assert "triage" not in ends(terminal)


def test_arguments_are_edited_until_they_fit(chat: Chat):
    """Edited arguments that are no JSON, or not what the tool takes, are explained and stay to be edited."""
    terminal = chat()
    terminal.send("order\r")
    terminal.expect("delivered")
    terminal.expect(PROMPT)
    terminal.send("money\r")
    terminal.expect("y runs it")
    terminal.send("e\r")
    terminal.expect('"amount": 5')
    terminal.send("\x1b[F,\r")  # End, and a comma too many
    terminal.expect("this is not JSON")
    terminal.expect("edit and press Enter")
    terminal.expect('"amount"')  # the prompt is drawn, so the terminal is its own
    terminal.sendintr()
    terminal.send('{"number": "A-1", "amount": "lots"}\r')
    terminal.expect("the request stays open")
    terminal.expect("edit and press Enter")
    terminal.expect('"amount"')  # the prompt is drawn, so the terminal is its own
    terminal.sendintr()
    terminal.send('{"number": "A-1", "amount": 2}\r')
    terminal.expect("2.00 EUR paid back")


def test_a_refusal_with_a_reason(chat: Chat):
    """What is typed behind the n is the reason the agent reads; something else is explained."""
    terminal = chat()
    terminal.send("order\r")
    terminal.expect("delivered")
    terminal.expect(PROMPT)
    terminal.send("money\r")
    terminal.expect("y runs it")
    terminal.send("perhaps\r")
    terminal.expect("none of the choices")
    terminal.expect("y runs it")
    terminal.send("n not today\r")
    terminal.expect("So: Not run: a person refused it. Reason: not today")


def test_nobody_approves_what_they_have_not_seen(chat: Chat):
    """What was typed before the card was there is no answer to it."""
    terminal = chat()
    terminal.send("order\r")
    terminal.expect("delivered")
    terminal.expect(PROMPT)
    terminal.send("money\ry\r")
    terminal.expect("y runs it")
    terminal.send("e\r")
    assert terminal.expect(["paid back", '"amount": 5']) == 1


def test_pasted_lines_are_one_message(chat: Chat):
    """Several lines pasted at once are sent together, with the Enter that follows."""
    terminal = chat()
    terminal.send("\x1b[200~one\ntwo\nthree\x1b[201~")
    terminal.send("\r")
    terminal.expect("You said 13 characters.")


def test_the_commands(chat: Chat):
    """Each slash command says its piece; Tab completes it; one that does not exist is answered with those that do."""
    terminal = chat()
    for command, answer in {
        "/help": "/retry",
        "/state": "begins with your first message",
        "/gra\t": "team desk",
        "/model": "a script",
        "/sessions": "No session is kept",
        "/dance": "There is no /dance; there is /help",
    }.items():
        terminal.send(f"{command}\r")
        terminal.expect(answer)
        terminal.expect(PROMPT)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": ""}, {"PYTHONIOENCODING": "ascii"}])
def test_plainer_terminals(chat: Chat, env: dict[str, str]):
    """A dumb terminal, one with colours and one without Unicode hold the same conversation."""
    terminal = chat("--session", "s", columns=30, **env)
    terminal.expect("lists the commands")
    terminal.send("order\r")
    terminal.expect("One moment.")
    terminal.expect("delivered")


def test_what_was_typed_is_remembered(chat: Chat, home: Path):
    """The history is kept in the data folder, for its owner's eyes only."""
    terminal = chat()
    terminal.send("hello\r")
    terminal.expect("You said 5 characters.")
    terminal.expect(PROMPT)
    terminal.sendeof()
    ends(terminal)
    kept = home / "relayline" / "chat-history"
    if sys.platform != "darwin":
        assert "hello" in kept.read_text()
        assert kept.stat().st_mode & 0o077 == 0


def test_a_person_of_the_team(chat: Chat):
    """Whoever sits there has that person's turn at a prompt with their name, and hands back; then they are the user."""
    terminal = chat(team=PEOPLE)
    terminal.send("/back\r")
    terminal.expect("it is nobody's now")
    terminal.expect(PROMPT)
    terminal.send("a person, please\r")
    terminal.expect("wants a person")
    terminal.expect("jo has the conversation: say something, or /handoff triage, /handoff back")
    terminal.expect(JO)
    terminal.send("/handoff nobody\r")
    terminal.expect("no handoff from 'jo' to 'nobody'")
    terminal.expect(JO)
    terminal.send("/back I signed it.\r")
    terminal.expect("done")
    terminal.expect("triage heard: .jo. is done")
    terminal.expect(PROMPT)
    terminal.send("/quit\r")
    ends(terminal)


def test_what_was_typed_as_the_user_is_not_said_as_another(chat: Chat):
    """Lines typed ahead of a person's turn are no words of theirs; lines pasted after /handoff go with it."""
    terminal = chat(team=PEOPLE)
    terminal.send("a person, please\rand quickly\r")
    terminal.expect("jo has the conversation")
    terminal.expect(JO)
    terminal.send("\x1b[200~/handoff back office one\ntwo\x1b[201~")
    terminal.send("\r")
    terminal.expect("back office heard: .jo. handed")
    assert "quickly" not in terminal.before
    terminal.expect("The team is done")


def test_a_budget_that_is_used_up(chat: Chat):
    """It is said which one, /continue goes on, and who comes back is not charged unasked."""
    terminal = chat("--session", "s", team=SHORT)
    terminal.expect(PROMPT)
    terminal.send("a person, please\r")
    terminal.expect(JO)
    terminal.send("/back\r")
    terminal.expect("Stopped: the budget of turns is used up")
    terminal.expect(PROMPT)
    terminal.send("/state\r")
    terminal.expect("stopped, out of budget")
    terminal.kill(signal.SIGKILL)
    terminal.wait()
    terminal = chat("--session", "s", team=SHORT)
    terminal.expect("Stopped: the budget of turns is used up")
    terminal.expect(PROMPT)
    terminal.send("/continue\r")
    terminal.expect("triage heard")
