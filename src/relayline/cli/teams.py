"""A team as the command line has it at work: with its voice, its store and the threads of its tools."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from relayline.cli import target as targets
from relayline.cli.places import store_place
from relayline.cli.sessions import folded
from relayline.cli.threads import leave
from relayline.cli.voice import given_voice
from relayline.errors import UsageError
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.workflow import Workflow

INTERRUPTED = 130
"""The exit status by which a shell says that Ctrl-C ended a program."""


def at_work(target: str | None, model: str | None, store: str | None, allow: Sequence[str] = ()) -> Workflow:
    """The team of ``target``, with a model for everyone, on ``store`` as `placed` puts it there. ``allow``: what its
    file may name of code.

    Raises:
        UsageError, MissingExtra, WorldError: the team, its model or its store cannot be had.
    """
    return placed(given_voice(targets.load(target, allow), model), store)


def placed(workflow: Workflow, store: str | None) -> Workflow:
    """The team on ``store``.

    Without ``store`` it stays on the one it was built with, if that outlives the process, else it gets that of the
    command line.
    """
    return workflow if brings_a_store(workflow, store) else workflow.with_store(store_place(store).open())


def brings_a_store(workflow: Workflow, store: str | None) -> bool:
    """Whether the team was built with a store that lasts, and no other is named."""
    return store is None and not isinstance(workflow.store, InMemoryCheckpointStorage)


def perform(workflow: Workflow, work: Callable[[], Awaitable[int]]) -> int:
    """Do the work of a command on a team, and let go of what the team has; the exit status."""
    try:
        return asyncio.run(_perform(workflow, work))
    except KeyboardInterrupt:
        return INTERRUPTED


async def check_team(workflow: Workflow, session_id: str) -> None:
    """Refuse to take up a session of another team.

    Raises:
        UsageError: it is of another team.
    """
    team = (await folded(workflow.store, session_id)).workflow
    if team not in ("", workflow.name):
        raise UsageError(
            f"session {session_id!r} belongs to the team {team!r}, not to {workflow.name!r}; "
            "say where that team is, as TARGET at the end of the line"
        )


def who() -> str:
    """The name of whoever sits here, as the system knows them; empty if it does not."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


async def _perform(workflow: Workflow, work: Callable[[], Awaitable[int]]) -> int:
    tools = ThreadPoolExecutor(thread_name_prefix="relayline-tool")
    asyncio.get_running_loop().set_default_executor(tools)
    async with aclosing(workflow.store):
        try:
            status = await work()
        finally:
            if workflow.dispatcher is not None:
                await workflow.dispatcher.aclose()
    leave(tools, status)
    return status
