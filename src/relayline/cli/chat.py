"""``relayline chat``: the pieces of a conversation put together."""

import asyncio
import getpass
import re
import secrets
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

from relayline.cli import target as targets
from relayline.cli.conversation import Conversation, Opening, look
from relayline.cli.places import command, history_path, store_path
from relayline.cli.plain import PipedPerson, PlainScreen
from relayline.cli.slash import Slash
from relayline.cli.threads import leave
from relayline.cli.voice import about, given_voice, warm_up
from relayline.errors import UsageError
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.journal.store import Store
from relayline.workflow import Workflow

HEAD_START = 0.1  # seconds for the prompt to be drawn, before loading the model competes with it
INTERRUPTED = 130  # as a shell says that Ctrl-C ended a program


def chat(
    target: str | None, model: str | None, session: str | None, store: Path | None, allow: Sequence[str] = ()
) -> int:
    """Hold a conversation; returns the exit status."""
    if session is not None and (not session or not session.isprintable()):
        raise UsageError(f"a session id is a printable, non-empty string; got {session!r}")
    workflow = given_voice(targets.load(target, allow), model)
    place = SqliteCheckpointStorage(store_path(store))
    again = [target or "", *_options(model, store, allow)]
    try:
        return asyncio.run(_hold(workflow.with_store(place), place, session, again))
    except KeyboardInterrupt:
        return INTERRUPTED


async def _hold(workflow: Workflow, store: Store, session: str | None, again: list[str]) -> int:
    tools = ThreadPoolExecutor(thread_name_prefix="relayline-tool")
    asyncio.get_running_loop().set_default_executor(tools)
    status = await _talk(workflow, store, session, again)
    leave(tools, status)
    return status


async def _talk(workflow: Workflow, store: Store, session: str | None, again: list[str]) -> int:
    async with aclosing(store):
        session_id = session or await _new_id(workflow)
        known = await look(workflow, session_id) is not None
        resume = shlex.join([command(), "chat", *filter(None, again), "--session", session_id])
        opening = Opening(workflow, about(workflow), session_id, not known, resume, _who())
        if sys.stdin.isatty() and sys.stdout.isatty():
            return await _at_the_terminal(opening)
        return await _in_a_pipe(opening)


async def _at_the_terminal(opening: Opening) -> int:
    from relayline.cli.keyboard import Keyboard, on_interrupt
    from relayline.cli.terminal import TerminalScreen, console

    screen = TerminalScreen(
        console(), [agent.name for agent in opening.workflow.agents], opening.workflow.machine.people
    )
    person = Keyboard(screen, history_path())
    asyncio.get_running_loop().call_later(HEAD_START, warm_up, opening.workflow)
    with on_interrupt():  # a Ctrl-C that falls between a turn and a prompt is nobody's
        await Conversation(opening, screen, person, Slash(opening.workflow, opening.about)).hold()
    return 0


async def _in_a_pipe(opening: Opening) -> int:
    screen = PlainScreen(sys.stdout, sys.stderr)
    person = PipedPerson(sys.stdin, screen)
    conversation = Conversation(opening, screen, person, Slash(opening.workflow, opening.about))
    await conversation.hold()
    return int(conversation.failed or person.misread)


async def _new_id(workflow: Workflow) -> str:
    """A session id that is short enough to type and free in this store."""
    name = re.sub(r"[^a-z0-9]+", "-", workflow.name.lower()).strip("-")[:40] or "session"
    while True:
        session_id = f"{name}-{secrets.token_hex(3)}"
        if not await workflow.store.read(session_id, upto=1):
            return session_id


def _who() -> str:
    """The name of whoever sits here, as the system knows them; empty if it does not."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def _options(model: str | None, store: Path | None, allow: Sequence[str]) -> list[str]:
    options = [word for each in allow for word in ("--allow", each)]
    options += [] if model is None else ["--model", model]
    return options if store is None else [*options, "--store", str(store)]
