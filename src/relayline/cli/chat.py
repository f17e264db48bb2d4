"""``relayline chat``: the pieces of a conversation put together."""

import asyncio
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from functools import partial

from relayline.cli.conversation import Conversation, Opening, look
from relayline.cli.places import history_path, resume_line, worker_line
from relayline.cli.plain import PipedPerson, PlainScreen
from relayline.cli.slash import Slash
from relayline.cli.teams import at_work, perform, who
from relayline.cli.voice import about, warm_up
from relayline.cli.worker import engine
from relayline.errors import UsageError
from relayline.workflow import Workflow

HEAD_START = 0.1  # seconds for the prompt to be drawn, before loading the model competes with it


def chat(
    target: str | None,
    model: str | None,
    session: str | None,
    store: str | None,
    allow: Sequence[str] = (),
    engine_word: str | None = None,
) -> int:
    """Hold a conversation; returns the exit status."""
    if session is not None and (not session or not session.isprintable()):
        raise UsageError(f"a session id is a printable, non-empty string; got {session!r}")
    workflow = at_work(target, model, store, allow)
    if engine_word is not None:
        workflow = workflow.with_dispatcher(engine(engine_word, workflow.name))
    again = partial(resume_line, target, model, store, allow=allow, engine=engine_word)
    worker = worker_line(target, model, store, allow, engine_word) if engine_word is not None else ""
    return perform(workflow, lambda: _talk(workflow, session, again, worker))


async def _talk(workflow: Workflow, session: str | None, resume: Callable[[str], str], worker: str) -> int:
    session_id = session or await _new_id(workflow)
    known = await look(workflow, session_id) is not None
    opening = Opening(workflow, about(workflow), session_id, not known, resume(session_id), who(), worker)
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
        if await look(workflow, session_id) is None:
            return session_id
